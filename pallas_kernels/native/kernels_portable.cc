// Plain C++ for any CPU; the compiler vectorises it for its baseline.
#include "kernels_scalar.h"

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

void score_picked(const int8_t* codes, int64_t dim, const float* scales, const uint32_t* slots,
                  int rows, Job* jobs, int count, float* scores) {
  for (Job* job = jobs; job < jobs + count; ++job, scores += kWord) {
    job->passed = 0;
    for (int i = 0; i < rows; ++i) {
      const int64_t slot = slots[i];
      const int32_t sum = dot(codes + slot * dim, job->query->wide, dim);
      scores[i] = score_of(sum, scales[slot], job->scale);
      job->passed |= static_cast<uint32_t>(scores[i] >= job->threshold) << i;
    }
  }
}

void score(const Rows& rows, const float* scales, Job* jobs, int count, uint8_t*, float* scores) {
  for (int j = 0; j < count; ++j) {
    Job& job = jobs[j];
    job.passed = 0;
    for (uint32_t mask = job.mask; mask; mask &= mask - 1) {
      const int r = __builtin_ctz(mask);
      const int32_t sum = dot(rows.codes + r * rows.dim, job.query->wide, rows.dim);
      const float one = score_of(sum, scales[r], job.scale);
      scores[j * kWord + r] = one;
      job.passed |= static_cast<uint32_t>(one >= job.threshold) << r;
    }
  }
}

}  // namespace

const Kernels kPortable = {
    "portable", scratch_bytes, score,     score_picked,       append,          append_values,
    split,    compact,       rank_sort, evaluate<Register>, count_bits, expect,
    reach,    gather_sum,
};

}  // namespace silver
