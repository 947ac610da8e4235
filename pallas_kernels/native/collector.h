// The best entries of a stream: score descending, then key ascending. No key comes twice.
//
// What scores below the threshold never enters. What enters is appended; when the list is full, the
// best `keep` are selected (no heap: its branches are unpredictable) and the last of them becomes
// the threshold. The order is total, so the result does not depend on the order of the stream.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "kernels.h"
#include "radix_sort.h"

namespace silver {

// A float as an integer of the same order, and back; see `place_of` in kernels_common.h.
inline int32_t order_of(float value) {
  const int32_t bits = std::bit_cast<int32_t>(value);
  return bits ^ ((bits >> 31) & 0x7fffffff);
}
inline float float_at(int32_t order) {
  return std::bit_cast<float>(order ^ ((order >> 31) & 0x7fffffff));
}

// For a filter that reads nothing from afar.
struct NothingAhead {
  static constexpr int kSteps = 0;
  void operator()(int, uint32_t) const {}
};

class Collector {
 public:
  static constexpr int64_t kKeysAhead = 8;
  static constexpr int64_t kMargin = 48;  // most entries that one append writes

  // `room` is how many entries may gather before the best are selected.
  explicit Collector(int64_t keep, int64_t room = 0)
      : keep_(keep),
        full_(std::max(2 * keep + 256, room)),
        scores_(std::make_unique_for_overwrite<float[]>(full_ + kMargin)),
        keys_(std::make_unique_for_overwrite<uint32_t[]>(full_ + kMargin)) {}

  // The lowest finite number at first: -inf stands for nothing, so nothing scores it.
  float threshold = std::numeric_limits<float>::lowest();

  float* score_end() { return scores_.get() + count_; }
  uint32_t* key_end() { return keys_.get() + count_; }
  int64_t count() const { return count_; }
  bool full() const { return count_ > full_; }
  // Whether entries were dropped that might have been wanted later.
  bool dropped() const { return dropped_; }

  // Drops everything.
  void restart(float least) {
    threshold = least;
    count_ = 0;
    dropped_ = false;
  }

  // The lowest score.
  float least() const { return *std::min_element(scores_.get(), scores_.get() + count_); }

  void added(int64_t more) { count_ += more; }

  void add(float score, uint32_t key) {
    scores_[count_] = score;
    keys_[count_++] = key;
  }

  // Moves the entries of another collector here.
  void take(const Kernels& kernels, const Collector& other) {
    for (int64_t i = 0; i < other.count_; ++i) {
      if (full()) select(kernels);
      add(other.scores_[i], other.keys_[i]);
    }
    dropped_ |= other.dropped_;
  }

  // Takes the `count` values of a row, with their indices as keys. There is room for all of them.
  void take_row(const Kernels& kernels, const float* values, int64_t count) {
    const int32_t least = std::numeric_limits<int32_t>::min();
    count_ = kernels.append_values(values, count, least, scores_.get(), keys_.get());
  }

  // Keeps the entries from `from` on that `admits(key)`. `ahead(step, key)` hears of each key at
  // `Ahead::kSteps` moments before its turn.
  template <class Admits, class Ahead = NothingAhead>
  void filter(int64_t from, const Admits& admits, const Ahead& ahead = {}) {
    int64_t kept = from;
    for (int64_t i = from - Ahead::kSteps * kKeysAhead; i < count_; ++i) {
      for (int step = 0; step < Ahead::kSteps; ++step) {
        const int64_t later = i + (Ahead::kSteps - step) * kKeysAhead;
        if (later >= from && later < count_) ahead(step, keys_[later]);
      }
      if (i < from) continue;
      if (!admits(keys_[i])) continue;
      scores_[kept] = scores_[i];
      keys_[kept++] = keys_[i];
    }
    count_ = kept;
  }

  // Keeps the best `keep` and raises the threshold to the last of them.
  void select(const Kernels& kernels) {
    if (count_ <= keep_) return;
    dropped_ = true;
    if (!places_) places_ = std::make_unique_for_overwrite<int32_t[]>(full_ + kMargin);
    int64_t reached;
    const int32_t least = kernels.split(scores_.get(), count_, keep_, places_.get(), &reached);
    count_ = kernels.compact(scores_.get(), keys_.get(), count_, least);
    if (reached > keep_) drop_ties(least, reached - keep_);
    threshold = std::max(threshold, float_at(least));
  }

  // An entry as a number: the better one is the smaller.
  static uint64_t packed(float score, uint32_t key) {
    return uint64_t{~(static_cast<uint32_t>(order_of(score)) ^ 0x80000000u)} << 32 | key;
  }

  // Selects, and returns the entries packed, the best first.
  const std::vector<uint64_t>& sorted(const Kernels& kernels) {
    select(kernels);
    order_.resize(count_);
    for (int64_t i = 0; i < count_; ++i) order_[i] = packed(scores_[i], keys_[i]);
    constexpr int64_t kFew = 128;  // counting takes n * n / 8 steps without a branch
    if (count_ <= kFew) {
      ranked_.resize(count_);
      kernels.rank_sort(order_.data(), count_, ranked_.data());
      return ranked_;
    }
    radix_sort(order_, ranked_);
    return order_;
  }

  static float score_of(uint64_t packed) {
    return float_at(static_cast<int32_t>(~static_cast<uint32_t>(packed >> 32) ^ 0x80000000u));
  }
  static uint32_t key_of(uint64_t packed) { return static_cast<uint32_t>(packed); }

 private:
  // Drops the `surplus` highest keys among the entries that tie for the last places.
  void drop_ties(int32_t least, int64_t surplus) {
    std::vector<uint32_t> ties;
    for (int64_t i = 0; i < count_; ++i) {
      if (order_of(scores_[i]) == least) ties.push_back(keys_[i]);
    }
    const auto first = static_cast<std::ptrdiff_t>(ties.size()) - surplus;
    std::nth_element(ties.begin(), ties.begin() + first, ties.end());
    const uint32_t dropped = ties[first];
    int64_t kept = 0;
    for (int64_t i = 0; i < count_; ++i) {
      if (order_of(scores_[i]) == least && keys_[i] >= dropped) continue;
      scores_[kept] = scores_[i];
      keys_[kept++] = keys_[i];
    }
    count_ = kept;
  }

  int64_t keep_, full_, count_ = 0;
  bool dropped_ = false;
  std::unique_ptr<float[]> scores_;
  std::unique_ptr<uint32_t[]> keys_;
  std::unique_ptr<int32_t[]> places_;
  std::vector<uint64_t> order_, ranked_;
};

}  // namespace silver
