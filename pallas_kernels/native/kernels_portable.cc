// Plain C++ for any CPU; the compiler vectorises it for its baseline.
#include "kernels_common.h"

namespace silver {
namespace {

struct Register {
  static constexpr int kWords = 1;
  uint32_t bits;
  static Register load(const uint32_t* at, int64_t) { return {*at}; }
  void store(uint32_t* at, int64_t) const { *at = bits; }
  static Register ones() { return {~0u}; }
  static Register zeros() { return {0u}; }
  Register operator&(Register o) const { return {bits & o.bits}; }
  Register operator|(Register o) const { return {bits | o.bits}; }
  Register operator~() const { return {~bits}; }
};

int64_t scratch_bytes(int64_t) { return 0; }

int32_t dot(const int8_t* row, const int16_t* query, int64_t dim) {
  // Unsigned, because a sum over very many dimensions wraps, as it does in XLA.
  uint32_t sum = 0;
  for (int64_t d = 0; d < dim; ++d) sum += static_cast<uint32_t>(row[d] * query[d]);
  return static_cast<int32_t>(sum);
}

void dots(const Rows& rows, const QueryCodes* const* queries, int count, uint8_t*,
          int32_t* dots) {
  for (int q = 0; q < count; ++q) {
    for (int r = 0; r < rows.count; ++r) {
      dots[q * kWord + r] = dot(rows.codes + r * rows.dim, queries[q]->wide, rows.dim);
    }
  }
}

void dots_of(const Rows& rows, const QueryCodes& query, uint32_t mask, int32_t* dots) {
  for (; mask; mask &= mask - 1) {
    const int r = __builtin_ctz(mask);
    dots[r] = dot(rows.codes + r * rows.dim, query.wide, rows.dim);
  }
}

int accept(const int32_t* dots, const float* scales, float scale, float threshold, uint32_t mask,
           uint32_t first_key, float* scores, uint32_t* keys) {
  int count = 0;
  for (; mask; mask &= mask - 1) {
    const int r = __builtin_ctz(mask);
    const float score = score_of(dots[r], scales[r], scale);
    if (score >= threshold) {
      scores[count] = score;
      keys[count++] = first_key + static_cast<uint32_t>(r);
    }
  }
  return count;
}

int accept_values(const float* values, int count, int32_t threshold, uint32_t first_key,
                  float* scores, uint32_t* keys) {
  int found = 0;
  for (int i = 0; i < count; ++i) {
    scores[found] = values[i];
    keys[found] = first_key + static_cast<uint32_t>(i);
    found += place_of(values[i]) >= threshold;
  }
  return found;
}

}  // namespace

const Kernels kPortable = {"portable", scratch_bytes, dots,       dots_of,
                           accept,     accept_values, count_from, evaluate<Register>};

}  // namespace silver
