// What every instruction set shares, compiled once for each of them.
//
// Everything is in an unnamed namespace and nothing of the standard library is used: an inline
// function compiled here for AVX-512 must never be the copy that the linker keeps for all.
#pragma once

#include <stdint.h>

#include "kernels.h"

namespace silver {
namespace {

inline int64_t round_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

// A float as an integer of the same order, the one that jax.lax.top_k sorts by: -0.0 below 0.0, NaN
// above infinity.
inline int32_t place_of(float value) {
  int32_t bits;
  __builtin_memcpy(&bits, &value, sizeof bits);
  return bits ^ ((bits >> 31) & 0x7fffffff);
}

// Adding 0.0 turns -0.0 into 0.0: the two tie.
inline float score_of(int32_t dot, float scale, float query_scale) {
  return (static_cast<float>(dot) * scale) * query_scale + 0.0f;
}

int64_t count_from(const int32_t* places, int64_t count, int32_t least) {
  int32_t found = 0;  // 32 bits wide, so that the loop becomes one compare and one subtraction
  for (int64_t i = 0; i < count; ++i) found += places[i] >= least;
  return found;
}

int32_t split(const float* values, int64_t count, int64_t keep, int32_t* places,
              int64_t* reached) {
  int32_t low = INT32_MAX, high = INT32_MIN;
  for (int64_t i = 0; i < count; ++i) {
    const int32_t place = place_of(values[i]);
    places[i] = place;
    low = place < low ? place : low;
    high = place > high ? place : high;
  }
  // By bisection, which has no branch on the data.
  *reached = count;
  if (count == keep) return low;
  while (low < high) {
    const auto middle = static_cast<int32_t>((int64_t{low} + high + 1) >> 1);
    const int64_t found = count_from(places, count, middle);
    if (found < keep) {
      high = middle - 1;
      continue;
    }
    low = middle;
    *reached = found;
    if (found == keep) break;
  }
  return low;
}

void rank_sort(const uint64_t* in, int64_t count, uint64_t* out) {
  for (int64_t i = 0; i < count; ++i) {
    uint64_t rank = 0;
    for (int64_t j = 0; j < count; ++j) rank += in[j] < in[i];
    out[rank] = in[i];
  }
}

// Register is some consecutive words: load, store, &, |, ~ and the two constants. Two that follow
// each other are a Register again, so that a program is read once for as many words as the CPU can
// hold; the first of them is full. Members, not an array, which GCC would keep in memory.
template <class First, class Second>
struct Joined {
  static constexpr int kWords = First::kWords + Second::kWords;
  First first;
  Second second;
  static Joined load(const uint32_t* at, int64_t left) {
    return {First::load(at, First::kWords), Second::load(at + First::kWords, left - First::kWords)};
  }
  void store(uint32_t* at, int64_t left) const {
    first.store(at, First::kWords);
    second.store(at + First::kWords, left - First::kWords);
  }
  static Joined ones() { return {First::ones(), Second::ones()}; }
  static Joined zeros() { return {First::zeros(), Second::zeros()}; }
  Joined operator&(const Joined& o) const { return {first & o.first, second & o.second}; }
  Joined operator|(const Joined& o) const { return {first | o.first, second | o.second}; }
  Joined operator~() const { return {~first, ~second}; }
};

// Calls body<Some>(at) for each of the registers, one or joined, that cover `width` words.
template <class One, class Body>
void in_registers(int64_t width, const Body& body) {
  using Two = Joined<One, One>;
  using Three = Joined<Two, One>;
  using Four = Joined<Three, One>;
  for (int64_t at = 0; at < width; at += Four::kWords) {
    const int64_t left = width - at;
    if (left <= One::kWords) {
      body.template operator()<One>(at);
    } else if (left <= Two::kWords) {
      body.template operator()<Two>(at);
    } else if (left <= Three::kWords) {
      body.template operator()<Three>(at);
    } else {
      body.template operator()<Four>(at);
    }
  }
}

template <class Register>
[[gnu::always_inline]] inline Register leaf_bits(const Step& step, const int32_t* rows,
                                                 const uint32_t* words, int64_t stride,
                                                 int64_t left) {
  constexpr int kRows = 0, kComplement = 1, kOnes = 2;
  if (step.mode != kRows && step.mode != kComplement) {
    return step.mode == kOnes ? Register::ones() : Register::zeros();
  }
  Register bits = Register::load(words + rows[step.first] * stride, left);
  for (int32_t k = 1; k < step.count; ++k) {
    bits = bits & Register::load(words + rows[step.first + k] * stride, left);
  }
  return step.mode == kComplement ? ~bits : bits;
}

// A register of the words that a program and row 0 admit.
template <class Register>
[[gnu::always_inline]] inline Register admitted(const Step* steps, int64_t count,
                                                const int32_t* rows, const uint32_t* words,
                                                int64_t stride, int64_t left) {
  Register below[kStackDepth + 1];
  Register top = Register::ones();
  int height = 0;
  for (int64_t s = 0; s < count; ++s) {
    const Step& step = steps[s];
    switch (step.kind) {
      case Step::kPush:
        below[height++] = top;
        top = leaf_bits<Register>(step, rows, words, stride, left);
        break;
      case Step::kAndLeaf:
        top = top & leaf_bits<Register>(step, rows, words, stride, left);
        break;
      case Step::kOrLeaf:
        top = top | leaf_bits<Register>(step, rows, words, stride, left);
        break;
      case Step::kAnd:
        top = below[--height] & top;
        break;
      case Step::kOr:
        top = below[--height] | top;
        break;
    }
  }
  return top & Register::load(words, left);
}

template <class Register>
void evaluate(const Step* steps, int64_t count, const int32_t* rows, const uint32_t* words,
              int64_t stride, int64_t length, uint32_t* out) {
  in_registers<Register>(length, [&]<class Some>(int64_t at) {
    admitted<Some>(steps, count, rows, words + at, stride, length - at)
        .store(out + at, length - at);
  });
}

void count_bits(const uint32_t* words, int64_t clusters, int64_t width, uint32_t last,
                int32_t* counts) {
  for (int64_t c = 0; c < clusters; ++c, words += width) {
    int32_t bits = __builtin_popcount(words[width - 1] & last);
    for (int64_t w = 0; w < width - 1; ++w) bits += __builtin_popcount(words[w]);
    counts[c] = bits;
  }
}

void expect(const float* affinity, const float* spread, const int32_t* counts, int64_t clusters,
            float least, const int32_t* tail, int32_t* expected) {
  constexpr float kLow = -kTailEnd, kHigh = kTailEnd - 1;
  for (int64_t c = 0; c < clusters; ++c) {
    float step = __builtin_floorf((least - affinity[c]) / spread[c] * kTailSteps);
    step = step > kLow ? step : kLow;  // a NaN ends here
    step = step < kHigh ? step : kHigh;
    const int32_t slots = counts[c] < kCounted ? counts[c] : kCounted;
    expected[c] = slots * tail[static_cast<int32_t>(step) + kTailEnd];
  }
}

void reach(const float* means, const float* radii, int64_t count, float along, float deviations,
           float* reached, float* spread) {
  constexpr float kTiny = 0x1p-126f, kLowest = -0x1.fffffep127f;
  for (int64_t c = 0; c < count; ++c) {
    float own = along * radii[c];
    own = own < kTiny ? kTiny : own;  // a NaN stays one
    const float sum = (means[c] < kLowest ? kLowest : means[c]) + deviations * own;
    reached[c] = sum == sum ? sum : -__builtin_inff();
    spread[c] = own;
  }
}

void gather_sum(const CodeTable& table, const int32_t* rows, int64_t count, const float* weights,
                int64_t count_v, float* room, float* out) {
  constexpr int64_t kLanes = 64;  // sums that stay in registers
  const int64_t dim = table.dim;
  for (int64_t g = 0; g < table.groups; ++g) {
    for (int64_t i = 0; i < count; ++i) {
      const bool known = rows[i] >= 0 && rows[i] < table.rows;
      const int64_t at = (known ? rows[i] : 0) * table.groups + g;
      const int8_t* codes = table.codes + at * dim;
      const float scale = known ? table.scales[at] : 0;
      for (int64_t d = 0; d < dim; ++d) room[i * dim + d] = static_cast<float>(codes[d]) * scale;
    }
    for (int64_t v = 0; v < count_v; ++v, out += dim) {
      int64_t d = 0;
      for (; d + kLanes <= dim; d += kLanes) {
        float lane[kLanes] = {};
        for (int64_t i = 0; i < count; ++i) {
          const float weight = weights[v * count + i];
          for (int64_t l = 0; l < kLanes; ++l) lane[l] += weight * room[i * dim + d + l];
        }
        for (int64_t l = 0; l < kLanes; ++l) out[d + l] = lane[l];
      }
      for (; d < dim; ++d) {
        out[d] = 0;
        for (int64_t i = 0; i < count; ++i) out[d] += weights[v * count + i] * room[i * dim + d];
      }
    }
  }
}

}  // namespace
}  // namespace silver
