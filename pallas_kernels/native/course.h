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
      : kernels_(&kernels), step_(step), tail_(tail), allowed_(allowed) {
    for (int64_t c = 0; c < count; ++c) {
      if (counts[c] == 0 || affinity[c] == -std::numeric_limits<float>::infinity()) continue;
      all_.add(affinity[c], spread[c], counts[c]);
      names_.push_back(static_cast<int32_t>(c));
    }
    affinity_ = all_.affinity.data();
    total_ = all_.size();
    length_ = std::min(most, total_);
    sort_to(step_);
    goal_ = std::min(step_, length_);
  }

  // What to visit next; nothing where the query is done.
  const int32_t* clusters() const { return (clusters_ ? clusters_ : order_.data()) + at_; }
  int64_t count() const { return goal_ - at_; }
  bool first() const { return at_ == 0; }

  // All of it was visited; `enough` were found, the last of them with the score `least`.
  void advance(bool enough, float least) {
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
  struct Clusters {
    std::vector<float> affinity, spread;
    std::vector<int32_t> counts;  // slots that pass
    int64_t size() const { return static_cast<int64_t>(counts.size()); }
    void add(float one_affinity, float one_spread, int32_t one_count) {
      affinity.push_back(one_affinity);
      spread.push_back(one_spread);
      counts.push_back(one_count);
    }
  };

  void advance_for_recall(bool enough, float least) {
    int64_t left = std::numeric_limits<int64_t>::max(), passed = 0;
    for (int64_t j = 0; j < at_; ++j) passed += sorted_.counts[j];
    if (enough) {
      left = expect(all_, least);
      expect(sorted_, least);
      for (int64_t j = 0; j < at_; ++j) left -= expected_[j];
    }
    const int64_t most = kGrowth * passed;
    while (goal_ < length_ && passed < most && left > allowed_) {
      if (goal_ == sorted_.size()) {
        sort_to(goal_ + 1);
        if (enough) expect(sorted_, least);
      }
      passed += sorted_.counts[goal_];
      if (enough) left -= expected_[goal_];
      ++goal_;
    }
  }

  // Slots of each cluster expected over `least`; their sum.
  int64_t expect(const Clusters& clusters, float least) {
    expected_.resize(clusters.size());
    kernels_->expect(clusters.affinity.data(), clusters.spread.data(), clusters.counts.data(),
                     clusters.size(), least, tail_, expected_.data());
    return std::accumulate(expected_.begin(), expected_.end(), int64_t{0});
  }

  // Brings the nearest `wanted` in order, and three times as many more so as to do it seldom.
  void sort_to(int64_t wanted) {
    const auto known = static_cast<int64_t>(order_.size());
    if (wanted <= known || known == total_) return;
    const int64_t most = std::min(known ? std::max(wanted, 4 * known) : wanted, total_);
    Collector collector(most, total_);
    collector.take_row(*kernels_, affinity_, total_);
    order_.clear();
    sorted_ = {};
    for (const uint64_t packed : collector.sorted(*kernels_)) {
      if (Collector::score_of(packed) == -std::numeric_limits<float>::infinity()) {
        total_ = static_cast<int64_t>(order_.size());  // the rest is never visited
        length_ = std::min(length_, total_);
        break;
      }
      const auto at = static_cast<int32_t>(Collector::key_of(packed));
      order_.push_back(tail_ ? names_[at] : at);
      if (tail_) sorted_.add(all_.affinity[at], all_.spread[at], all_.counts[at]);
    }
  }

  const Kernels* kernels_ = nullptr;
  const int32_t* clusters_ = nullptr;  // given, or null
  const float* affinity_ = nullptr;    // [total_]
  int64_t total_ = 0, step_ = 0, length_ = 0;
  int64_t at_ = 0, goal_ = 0;
  std::vector<int32_t> order_;  // the nearest
  // Where only clusters that hold something are visited.
  const int32_t* tail_ = nullptr;
  int64_t allowed_ = 0;
  Clusters all_, sorted_;        // those of `order_` in `sorted_`
  std::vector<int32_t> names_;  // which clusters those of `all_` are
  std::vector<int32_t> expected_;
};

}  // namespace silver
