// AVX2: codes widened to 16 bits, multiplied and added in pairs (vpmaddwd), which is exact; the
// 8-bit vpmaddubsw saturates.
#include <immintrin.h>

#include "kernels_scalar.h"

namespace silver {
namespace {

struct Register {
  static constexpr int kWords = 8;
  __m256i bits;
  static __m256i tail(int64_t left) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(left < 8 ? left : 8)), lane);
  }
  static Register load(const uint32_t* at, int64_t left) {
    if (left >= kWords) return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at))};
    return {_mm256_maskload_epi32(reinterpret_cast<const int*>(at), tail(left))};
  }
  void store(uint32_t* at, int64_t left) const {
    _mm256_maskstore_epi32(reinterpret_cast<int*>(at), tail(left), bits);
  }
  static Register ones() { return {_mm256_set1_epi32(-1)}; }
  static Register zeros() { return {_mm256_setzero_si256()}; }
  Register operator&(Register o) const { return {_mm256_and_si256(bits, o.bits)}; }
  Register operator|(Register o) const { return {_mm256_or_si256(bits, o.bits)}; }
  Register operator~() const { return {_mm256_xor_si256(bits, _mm256_set1_epi32(-1))}; }
};

// A word of rows in 16 bits.
int64_t scratch_bytes(int64_t dim) { return kWord * round_up(dim, 16) * 2; }

// One row in 16 bits, followed by zeros up to a multiple of 16 dimensions.
void widen(const int8_t* row, int64_t dim, int16_t* out) {
  int64_t d = 0;
  for (; d + 16 <= dim; d += 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + d));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + d), _mm256_cvtepi8_epi16(bytes));
  }
  if (d < dim) {
    for (int64_t i = 0; i < 16; ++i) out[d + i] = d + i < dim ? row[d + i] : int16_t{0};
  }
}

__m256i partial(const int16_t* row, const int16_t* query, int64_t padded) {
  __m256i sum = _mm256_setzero_si256();
  for (int64_t d = 0; d < padded; d += 16) {
    const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + d));
    const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(query + d));
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
  }
  return sum;
}

int32_t total(__m256i x) {
  __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1));
  return _mm_cvtsi128_si32(sum);
}

// Sums of four registers, in their order.
__m128i totals(__m256i a, __m256i b, __m256i c, __m256i d) {
  const __m256i four = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
  return _mm_add_epi32(_mm256_castsi256_si128(four), _mm256_extracti128_si256(four, 1));
}

// Lanes of a mask of 8 bits.
__m256i lanes(uint32_t mask) {
  const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  const __m256i all = _mm256_and_si256(_mm256_set1_epi32(static_cast<int>(mask)), bit);
  return _mm256_cmpeq_epi32(all, bit);
}

// Scores of 32 sums, and which of them pass.
void finish(const int32_t* dots, const float* scales, Job* job, float* scores) {
  job->passed = 0;
  for (int r = 0; r < kWord; r += 8) {
    const uint32_t byte = job->mask >> r & 0xff;
    if (!byte) continue;
    // The mask also keeps the load of the scales within the cluster.
    const __m256 own = _mm256_maskload_ps(scales + r, lanes(byte));
    const __m256i dot = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(dots + r));
    __m256 score = _mm256_mul_ps(_mm256_cvtepi32_ps(dot), own);
    score = _mm256_mul_ps(score, _mm256_set1_ps(job->scale));
    score = _mm256_add_ps(score, _mm256_setzero_ps());
    const __m256 enough = _mm256_cmp_ps(score, _mm256_set1_ps(job->threshold), _CMP_GE_OQ);
    _mm256_storeu_ps(scores + r, score);
    job->passed |= (static_cast<uint32_t>(_mm256_movemask_ps(enough)) & byte) << r;
  }
}

void score(const Rows& rows, const float* scales, Job* jobs, int count, uint8_t* scratch,
           float* scores) {
  auto* wide = reinterpret_cast<int16_t*>(scratch);
  const int64_t padded = round_up(rows.dim, 16);
  for (int r = 0; r < rows.count; ++r) {
    widen(rows.codes + r * rows.dim, rows.dim, wide + r * padded);
  }
  for (int j = 0; j < count; ++j) {
    const int16_t* query = jobs[j].query->wide;
    alignas(32) int32_t dots[kWord] = {};
    int r = 0;
    for (; r + 4 <= rows.count; r += 4) {
      const int16_t* row = wide + r * padded;
      const __m128i four = totals(
          partial(row, query, padded), partial(row + padded, query, padded),
          partial(row + 2 * padded, query, padded), partial(row + 3 * padded, query, padded));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(dots + r), four);
    }
    for (; r < rows.count; ++r) dots[r] = total(partial(wide + r * padded, query, padded));
    finish(dots, scales, jobs + j, scores + j * kWord);
  }
}

// Inner products of a query with rows that lie anywhere.
void dots_of(const int8_t* codes, int64_t dim, const uint32_t* slots, int rows,
             const int16_t* query, int32_t* dots) {
  for (int i = 0; i < rows; ++i) {
    const int8_t* row = codes + slots[i] * dim;
    __m256i sum = _mm256_setzero_si256();
    int64_t d = 0;
    for (; d + 16 <= dim; d += 16) {
      const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + d));
      const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(query + d));
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_cvtepi8_epi16(bytes), b));
    }
    auto rest = static_cast<uint32_t>(total(sum));
    for (; d < dim; ++d) rest += static_cast<uint32_t>(row[d] * query[d]);
    dots[i] = static_cast<int32_t>(rest);
  }
}

void score_picked(const int8_t* codes, int64_t dim, const float* scales, const uint32_t* slots,
                  int rows, Job* jobs, int count, float* scores) {
  float own[kWord] = {};
  for (int i = 0; i < rows; ++i) own[i] = scales[slots[i]];
  for (int j = 0; j < count; ++j) {
    alignas(32) int32_t dots[kWord] = {};
    dots_of(codes, dim, slots, rows, jobs[j].query->wide, dots);
    finish(dots, own, jobs + j, scores + j * kWord);
  }
}

}  // namespace

const Kernels kAvx2 = {
    "avx2", scratch_bytes, score,     score_picked,       append,          append_values,
    split,    compact,       rank_sort, evaluate<Register>, count_bits, expect,
    reach,    gather_sum,
};

}  // namespace silver
