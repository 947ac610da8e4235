// The best entries of a stream: score descending, then key ascending.
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

namespace silver {

// A float as an integer of the same order, the one that jax.lax.top_k sorts by: -0.0 below 0.0, NaN
// above infinity.
inline int32_t place_of(float value) {
  const int32_t bits = std::bit_cast<int32_t>(value);
  return bits ^ ((bits >> 31) & 0x7fffffff);
}

inline float float_at(int32_t place) {
  return std::bit_cast<float>(place ^ ((place >> 31) & 0x7fffffff));
}

class Collector {
 public:
  static constexpr int64_t kMargin = 64;  // most entries that one append writes

  explicit Collector(int64_t keep)
      : keep_(keep),
        full_(2 * keep + 256),
        scores_(std::make_unique_for_overwrite<float[]>(full_ + kMargin)),
        keys_(std::make_unique_for_overwrite<uint32_t[]>(full_ + kMargin)) {}

  // The lowest finite number at first: -inf stands for nothing, so nothing scores it.
  float threshold = std::numeric_limits<float>::lowest();

  float* score_end() { return scores_.get() + count_; }
  uint32_t* key_end() { return keys_.get() + count_; }
  const float* scores() const { return scores_.get(); }
  const uint32_t* keys() const { return keys_.get(); }
  int64_t count() const { return count_; }
  int64_t keep() const { return keep_; }
  bool full() const { return count_ > full_; }
  // Whether entries were dropped that might have been wanted later.
  bool dropped() const { return dropped_; }

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

  // Keeps the entries that `admits(key)`.
  template <class Admits>
  void filter(int64_t from, const Admits& admits) {
    int64_t kept = from;
    for (int64_t i = from; i < count_; ++i) {
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
    places_.resize(count_);
    int32_t low = std::numeric_limits<int32_t>::max(), high = std::numeric_limits<int32_t>::min();
    for (int64_t i = 0; i < count_; ++i) {
      places_[i] = place_of(scores_[i]);
      low = std::min(low, places_[i]);
      high = std::max(high, places_[i]);
    }
    // The largest place that `keep` or more entries reach, by bisection: no branch on the data.
    while (low < high) {
      const int32_t middle = static_cast<int32_t>((int64_t{low} + high + 1) >> 1);
      const int64_t reached = kernels.count_from(places_.data(), count_, middle);
      if (reached >= keep_) {
        low = middle;
        if (reached == keep_) break;
      } else {
        high = middle - 1;
      }
    }
    uint32_t last = std::numeric_limits<uint32_t>::max();
    if (kernels.count_from(places_.data(), count_, low) > keep_) {
      // Of those that tie for the last places, the lowest keys.
      ties_.clear();
      int64_t above = 0;
      for (int64_t i = 0; i < count_; ++i) {
        above += places_[i] > low;
        if (places_[i] == low) ties_.push_back(keys_[i]);
      }
      std::nth_element(ties_.begin(), ties_.begin() + (keep_ - above - 1), ties_.end());
      last = ties_[keep_ - above - 1];
    }
    int64_t kept = 0;
    int32_t least = std::numeric_limits<int32_t>::max();
    for (int64_t i = 0; i < count_; ++i) {
      const bool stays = places_[i] > low || (places_[i] == low && keys_[i] <= last);
      // A key may come twice: what it ties with is itself, so any of them may go.
      if (!stays || kept == keep_) continue;
      least = std::min(least, places_[i]);
      scores_[kept] = scores_[i];
      keys_[kept++] = keys_[i];
    }
    count_ = kept;
    threshold = std::max(threshold, float_at(least));
    threshold_place = least;
  }

  // As `threshold`, in the total order of floats.
  int32_t threshold_place = std::numeric_limits<int32_t>::min();

  // Selects, and returns the entries in order: place and key packed so that the best comes last.
  const std::vector<uint64_t>& sorted(const Kernels& kernels) {
    select(kernels);
    order_.resize(count_);
    for (int64_t i = 0; i < count_; ++i) {
      const uint32_t place = static_cast<uint32_t>(place_of(scores_[i])) ^ 0x80000000u;
      order_[i] = uint64_t{~place} << 32 | keys_[i];
    }
    std::sort(order_.begin(), order_.end());
    return order_;
  }

  static float score_of(uint64_t packed) {
    return float_at(static_cast<int32_t>(~static_cast<uint32_t>(packed >> 32) ^ 0x80000000u));
  }
  static uint32_t key_of(uint64_t packed) { return static_cast<uint32_t>(packed); }

  // Takes the `count` values of a row, with their indices as keys.
  void take_values(const Kernels& kernels, const float* values, int64_t count) {
    constexpr int64_t kStretch = kMargin - 16;  // accept_values writes up to 16 more
    for (int64_t at = 0; at < count; at += kStretch) {
      const int stretch = static_cast<int>(std::min(kStretch, count - at));
      count_ += kernels.accept_values(values + at, stretch, threshold_place,
                                      static_cast<uint32_t>(at), score_end(), key_end());
      if (full()) select(kernels);
    }
  }

 private:
  int64_t keep_, full_, count_ = 0;
  bool dropped_ = false;
  std::unique_ptr<float[]> scores_;
  std::unique_ptr<uint32_t[]> keys_;
  std::vector<int32_t> places_;
  std::vector<uint32_t> ties_;
  std::vector<uint64_t> order_;
};

}  // namespace silver
