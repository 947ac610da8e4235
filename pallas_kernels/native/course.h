// The clusters of one query in the order of visiting them, and how far it goes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

#include "collector.h"

namespace silver {

// What pallas_kernels/filtered_search/reach.py fixes.
constexpr int32_t kGrowth = 4;
// Slots that are scanned in a row while one is picked out, and while a cluster is made ready.
constexpr int64_t kPickedAsSlots = 2, kVisitAsSlots = 12;

class Course {
 public:
  // Clusters that are given; `count` of them, all visited at once.
  Course(const int32_t* clusters, int64_t count)
      : clusters_(clusters), length_(count), goal_(count) {}

  // The nearest of `count` clusters, `step` at a time and `most` at most.
  Course(const Kernels& kernels, const float* affinity, int64_t count, int64_t step, int64_t most)
      : kernels_(&kernels), affinity_(affinity), total_(count), step_(step) {
    length_ = std::min(most, total_);
    sort_to(step_);
    goal_ = std::min(step_, length_);
  }

  // The same among those with `counts`, the slots that pass; then on for the sake of recall.
  Course(const Kernels& kernels, const float* affinity, int64_t count, int64_t step, int64_t most,
         const int32_t* counts, const float* spread, const int32_t* tail, int64_t allowed)
      : kernels_(&kernels), affinity_(affinity), step_(step), tail_(tail), allowed_(allowed) {
    sort_those_with(counts, count);
    total_ = static_cast<int64_t>(order_.size());
    values_.resize(total_);
    spread_.resize(total_);
    counts_.resize(total_);
    expected_.resize(total_);
    for (int64_t i = 0; i < total_; ++i) {
      values_[i] = affinity[order_[i]];
      spread_[i] = spread[order_[i]];
      counts_[i] = counts[order_[i]];
    }
    length_ = std::min(most, total_);
    goal_ = std::min(step_, length_);
  }

  // What to visit next; nothing where the query is done.
  const int32_t* clusters() const { return (clusters_ ? clusters_ : order_.data()) + at_; }
  int64_t count() const { return goal_ - at_; }
  bool first() const { return at_ == 0; }
  // Slots of `size` to a cluster that this comes to, about: where few pass they are picked out, which
  // takes each of them as long as some in a row.
  int64_t slots(int64_t size) const {
    int64_t sum = count() * (tail_ ? kVisitAsSlots : size);
    if (!tail_) return sum;
    for (int64_t i = at_; i < goal_; ++i) sum += std::min<int64_t>(size, kPickedAsSlots * counts_[i]);
    return sum;
  }

  // All of it was visited; `enough` were found, the last of them with the score `least`.
  void advance(bool enough, float least) {
    for (int64_t j = at_; j < goal_ && tail_; ++j) passed_ += counts_[j];
    at_ = goal_;
    if (at_ >= length_) return;
    if (tail_) {
      advance_for_recall(enough, least);
    } else if (!enough) {
      goal_ = std::min(at_ + step_, length_);
      sort_to(goal_);
      goal_ = std::min(goal_, length_);
    }
  }

 private:
  void advance_for_recall(bool enough, float least) {
    int64_t left = std::numeric_limits<int64_t>::max();
    if (enough) {
      kernels_->expect(values_.data() + at_, spread_.data() + at_, counts_.data() + at_,
                       total_ - at_, least, tail_, expected_.data() + at_);
      left = std::accumulate(expected_.begin() + at_, expected_.end(), int64_t{0});
    }
    const int64_t most = kGrowth * passed_;
    for (int64_t passed = passed_; goal_ < length_ && passed < most && left > allowed_; ++goal_) {
      passed += counts_[goal_];
      if (enough) left -= expected_[goal_];
    }
  }

  // Brings what holds some and may be visited in order: all of it, as a query that has a filter
  // may go far.
  void sort_those_with(const int32_t* counts, int64_t count) {
    std::vector<uint64_t> packed(count), aside;
    int64_t kept = 0;
    for (int64_t c = 0; c < count; ++c) {  // without a branch: who holds some is anyone's guess
      packed[kept] = Collector::packed(affinity_[c], static_cast<uint32_t>(c));
      kept += (counts[c] != 0) & (affinity_[c] > -std::numeric_limits<float>::infinity());
    }
    packed.resize(kept);
    radix_sort(packed, aside);
    order_.resize(kept);
    for (int64_t i = 0; i < kept; ++i) order_[i] = static_cast<int32_t>(Collector::key_of(packed[i]));
  }

  // Brings the nearest `wanted` in order, and three times as many more so as to do it seldom.
  void sort_to(int64_t wanted) {
    const auto known = static_cast<int64_t>(order_.size());
    if (wanted <= known || known == total_) return;
    const int64_t most = std::min(known ? std::max(wanted, 4 * known) : wanted, total_);
    Collector collector(most, total_);
    collector.take_row(*kernels_, affinity_, total_);
    order_.clear();
    for (const uint64_t packed : collector.sorted(*kernels_)) {
      if (Collector::score_of(packed) == -std::numeric_limits<float>::infinity()) {
        total_ = static_cast<int64_t>(order_.size());  // the rest is never visited
        length_ = std::min(length_, total_);
        break;
      }
      order_.push_back(static_cast<int32_t>(Collector::key_of(packed)));
    }
  }

  const Kernels* kernels_ = nullptr;
  const int32_t* clusters_ = nullptr;  // given, or null
  const float* affinity_ = nullptr;    // of all clusters
  int64_t total_ = 0, step_ = 0, length_ = 0;
  int64_t at_ = 0, goal_ = 0;
  std::vector<int32_t> order_;  // the nearest
  // Where only clusters that hold something are visited: those, in order.
  const int32_t* tail_ = nullptr;
  int64_t allowed_ = 0, passed_ = 0;  // slots that pass among those visited
  std::vector<float> values_, spread_;
  std::vector<int32_t> counts_, expected_;  // slots that pass, and that are expected to be wanted
};

}  // namespace silver
