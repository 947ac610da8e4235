// AVX-512 with VNNI. vpdpbusd adds four products of an unsigned and a signed byte to each of 16
// 32-bit lanes, without saturation. Item codes become unsigned by flipping their highest bit, which
// adds 128 to each; starting the sum at -128 * sum(query) takes it off again.
//
// Codes stay in memory as the index has them, row by row: a masked scan then reads the rows it
// needs and no others, and nothing is held twice. Where several queries share a word of 32 rows, it
// is transposed once to [dim / 4][32 rows][4 dims] in the L1 cache, and every query reads that.
#include <immintrin.h>

#include "kernels_common.h"

namespace silver {
namespace {

struct Register {
  static constexpr int kWords = 16;
  __m512i bits;
  static __mmask16 tail(int64_t left) {
    return left >= kWords ? __mmask16(0xffff) : __mmask16((1u << left) - 1u);
  }
  static Register load(const uint32_t* at, int64_t left) {
    return {_mm512_maskz_loadu_epi32(tail(left), at)};
  }
  void store(uint32_t* at, int64_t left) const { _mm512_mask_storeu_epi32(at, tail(left), bits); }
  static Register ones() { return {_mm512_set1_epi32(-1)}; }
  static Register zeros() { return {_mm512_setzero_si512()}; }
  Register operator&(Register o) const { return {_mm512_and_si512(bits, o.bits)}; }
  Register operator|(Register o) const { return {_mm512_or_si512(bits, o.bits)}; }
  Register operator~() const { return {_mm512_xor_si512(bits, _mm512_set1_epi32(-1))}; }
};

constexpr int kChunk = 64;  // dimensions in a register
constexpr int kHalf = 16;   // rows in a register of sums

int64_t scratch_bytes(int64_t dim) { return kWord * round_up(dim, kChunk); }

__mmask64 chunk_mask(int64_t left) {
  return left >= kChunk ? ~__mmask64(0) : (__mmask64(1) << left) - 1;
}

__m512i offset(__m512i codes) { return _mm512_xor_si512(codes, _mm512_set1_epi8(-128)); }

// 64 codes of a row as unsigned bytes; where not all are wanted, the others are 128, and the query
// is 0 there.
template <bool kAll>
__m512i offset_codes(const int8_t* at, __mmask64 wanted) {
  return offset(kAll ? _mm512_loadu_si512(at) : _mm512_maskz_loadu_epi8(wanted, at));
}

// Sums of 16 registers, in their order. The loops over registers must be unrolled, or GCC keeps the
// arrays in memory.
inline __m512i totals(const __m512i* x) {
  __m512i y[8], z[4], u[2];
#pragma GCC unroll 16
  for (int i = 0; i < 8; ++i) {
    y[i] = _mm512_add_epi32(_mm512_unpacklo_epi32(x[2 * i], x[2 * i + 1]),
                            _mm512_unpackhi_epi32(x[2 * i], x[2 * i + 1]));
  }
#pragma GCC unroll 16
  for (int i = 0; i < 4; ++i) {
    z[i] = _mm512_add_epi32(_mm512_unpacklo_epi64(y[2 * i], y[2 * i + 1]),
                            _mm512_unpackhi_epi64(y[2 * i], y[2 * i + 1]));
  }
#pragma GCC unroll 16
  for (int i = 0; i < 2; ++i) {
    u[i] = _mm512_add_epi32(_mm512_shuffle_i32x4(z[2 * i], z[2 * i + 1], 0x88),
                            _mm512_shuffle_i32x4(z[2 * i], z[2 * i + 1], 0xdd));
  }
  return _mm512_add_epi32(_mm512_shuffle_i32x4(u[0], u[1], 0x88),
                          _mm512_shuffle_i32x4(u[0], u[1], 0xdd));
}

// Scales of up to 32 rows.
struct Scales {
  __m512 low, high;
  Scales(const float* scales, int count)
      : low(_mm512_maskz_loadu_ps(Register::tail(count), scales)),
        high(count > kHalf ? _mm512_maskz_loadu_ps(Register::tail(count - kHalf), scales + kHalf)
                           : _mm512_setzero_ps()) {}
};

// Scores of 32 sums, stored where any of them passes.
inline void finish(__m512i low, __m512i high, const Scales& own, Job* job, float* scores) {
  const __m512 scale = _mm512_set1_ps(job->scale), least = _mm512_set1_ps(job->threshold);
  __m512 a = _mm512_mul_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(low), own.low), scale);
  __m512 b = _mm512_mul_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(high), own.high), scale);
  a = _mm512_add_ps(a, _mm512_setzero_ps());
  b = _mm512_add_ps(b, _mm512_setzero_ps());
  const uint32_t enough = _mm512_cmp_ps_mask(a, least, _CMP_GE_OQ) |
                          uint32_t{_mm512_cmp_ps_mask(b, least, _CMP_GE_OQ)} << kHalf;
  job->passed = enough & job->mask;
  if (!job->passed) return;
  _mm512_storeu_ps(scores, a);
  _mm512_storeu_ps(scores + kHalf, b);
}

// Adds 64 dimensions of 16 rows to their sums. Rows past `last` repeat it: nobody wants their sums.
template <bool kAllRows, bool kAllDims>
inline void add_chunk(__m512i* sum, const int8_t* codes, int64_t dim, int last, __mmask64 wanted,
                      __m512i query) {
#pragma GCC unroll 16
  for (int r = 0; r < kHalf; ++r) {
    const int8_t* at = codes + (kAllRows || r < last ? r : last) * dim;
    sum[r] = _mm512_dpbusd_epi32(sum[r], offset_codes<kAllDims>(at, wanted), query);
  }
}

// Sums of 16 rows, straight from the codes.
template <bool kAllRows>
inline __m512i sums(const int8_t* codes, int64_t dim, int last, const QueryCodes& query) {
  __m512i sum[kHalf];
#pragma GCC unroll 16
  for (int r = 0; r < kHalf; ++r) sum[r] = _mm512_setzero_si512();
  if (dim == kChunk) {  // all addresses are then constants away from the first
    add_chunk<kAllRows, true>(sum, codes, kChunk, last, 0, _mm512_loadu_si512(query.codes));
  } else {
    int64_t d = 0;
    for (; d + kChunk <= dim; d += kChunk) {
      const __m512i q = _mm512_loadu_si512(query.codes + d);
      add_chunk<kAllRows, true>(sum, codes + d, dim, last, 0, q);
    }
    if (d < dim) {
      const __m512i q = _mm512_loadu_si512(query.codes + d);
      add_chunk<kAllRows, false>(sum, codes + d, dim, last, chunk_mask(dim - d), q);
    }
  }
  return _mm512_add_epi32(totals(sum), _mm512_set1_epi32(query.correction));
}

inline __m512i direct(const int8_t* codes, int64_t dim, int rows, const QueryCodes& query) {
  return rows >= kHalf ? sums<true>(codes, dim, kHalf - 1, query)
                       : sums<false>(codes, dim, rows - 1, query);
}

// 16 rows of 64 codes to [16 groups of 4 dims][16 rows][4 dims]; `stride` bytes between groups.
void transpose(const int8_t* codes, int64_t dim, int last, int64_t left, uint8_t* out,
               int64_t stride) {
  __m512i a[16], b[16];
  if (left >= kChunk) {
#pragma GCC unroll 16
    for (int r = 0; r < 16; ++r) {
      a[r] = offset_codes<true>(codes + (r < last ? r : last) * dim, 0);
    }
  } else {
    const __mmask64 wanted = chunk_mask(left);
#pragma GCC unroll 16
    for (int r = 0; r < 16; ++r) {
      a[r] = offset_codes<false>(codes + (r < last ? r : last) * dim, wanted);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < 8; ++i) {
    b[2 * i] = _mm512_unpacklo_epi32(a[2 * i], a[2 * i + 1]);
    b[2 * i + 1] = _mm512_unpackhi_epi32(a[2 * i], a[2 * i + 1]);
  }
#pragma GCC unroll 16
  for (int i = 0; i < 4; ++i) {
    a[4 * i] = _mm512_unpacklo_epi64(b[4 * i], b[4 * i + 2]);
    a[4 * i + 1] = _mm512_unpackhi_epi64(b[4 * i], b[4 * i + 2]);
    a[4 * i + 2] = _mm512_unpacklo_epi64(b[4 * i + 1], b[4 * i + 3]);
    a[4 * i + 3] = _mm512_unpackhi_epi64(b[4 * i + 1], b[4 * i + 3]);
  }
  // a[4 * i + j] holds, in its 128-bit lane l, group 4 * l + j of rows 4 * i to 4 * i + 3.
#pragma GCC unroll 16
  for (int j = 0; j < 4; ++j) {
    const __m512i low02 = _mm512_shuffle_i32x4(a[j], a[4 + j], 0x88);
    const __m512i low13 = _mm512_shuffle_i32x4(a[j], a[4 + j], 0xdd);
    const __m512i high02 = _mm512_shuffle_i32x4(a[8 + j], a[12 + j], 0x88);
    const __m512i high13 = _mm512_shuffle_i32x4(a[8 + j], a[12 + j], 0xdd);
    _mm512_store_si512(out + j * stride, _mm512_shuffle_i32x4(low02, high02, 0x88));
    _mm512_store_si512(out + (8 + j) * stride, _mm512_shuffle_i32x4(low02, high02, 0xdd));
    _mm512_store_si512(out + (4 + j) * stride, _mm512_shuffle_i32x4(low13, high13, 0x88));
    _mm512_store_si512(out + (12 + j) * stride, _mm512_shuffle_i32x4(low13, high13, 0xdd));
  }
}

// `kJobs` queries over a transposed word: a load serves all of them, a broadcast both halves.
template <int kJobs>
void tile(const uint8_t* block, int64_t steps, const Scales& own, Job* jobs, float* scores) {
  __m512i low[kJobs], high[kJobs];
  const int8_t* codes[kJobs];
#pragma GCC unroll 16
  for (int j = 0; j < kJobs; ++j) {
    low[j] = high[j] = _mm512_set1_epi32(jobs[j].query->correction);
    codes[j] = jobs[j].query->codes;
  }
  for (int64_t s = 0; s < steps; ++s) {
    const __m512i a = _mm512_load_si512(block + s * 128);
    const __m512i b = _mm512_load_si512(block + s * 128 + 64);
#pragma GCC unroll 16
    for (int j = 0; j < kJobs; ++j) {
      int32_t four;
      __builtin_memcpy(&four, codes[j] + 4 * s, sizeof four);
      const __m512i query = _mm512_set1_epi32(four);
      low[j] = _mm512_dpbusd_epi32(low[j], a, query);
      high[j] = _mm512_dpbusd_epi32(high[j], b, query);
    }
  }
#pragma GCC unroll 16
  for (int j = 0; j < kJobs; ++j) finish(low[j], high[j], own, jobs + j, scores + j * kWord);
}

void score(const Rows& rows, const float* scales, Job* jobs, int count, uint8_t* scratch,
           float* scores) {
  const Scales own(scales, rows.count);
  const bool two = rows.count > kHalf;
  // A transposition costs about as much as two direct passes over each 64 dimensions.
  if (count <= 2 * ((rows.dim + kChunk - 1) / kChunk)) {
    for (int j = 0; j < count; ++j) {
      const QueryCodes& query = *jobs[j].query;
      const __m512i low = direct(rows.codes, rows.dim, rows.count, query);
      const __m512i high =
          two ? direct(rows.codes + kHalf * rows.dim, rows.dim, rows.count - kHalf, query) : low;
      finish(low, high, own, jobs + j, scores + j * kWord);
    }
    return;
  }
  for (int64_t d = 0; d < rows.dim; d += kChunk) {
    for (int half = 0; half < rows.count; half += kHalf) {
      transpose(rows.codes + half * rows.dim + d, rows.dim, rows.count - 1 - half, rows.dim - d,
                scratch + d * kWord + half * 4, 128);
    }
  }
  const int64_t steps = (rows.dim + 3) / 4;
  int j = 0;
  for (; j + 6 <= count; j += 6) tile<6>(scratch, steps, own, jobs + j, scores + j * kWord);
  switch (count - j) {
    case 5: tile<5>(scratch, steps, own, jobs + j, scores + j * kWord); break;
    case 4: tile<4>(scratch, steps, own, jobs + j, scores + j * kWord); break;
    case 3: tile<3>(scratch, steps, own, jobs + j, scores + j * kWord); break;
    case 2: tile<2>(scratch, steps, own, jobs + j, scores + j * kWord); break;
    case 1: tile<1>(scratch, steps, own, jobs + j, scores + j * kWord); break;
    default: break;
  }
}

// Adds 64 dimensions of 16 rows that lie anywhere to their sums.
template <bool kAllDims>
inline void add_picked(__m512i* sum, const int8_t* const* rows, int64_t d, __mmask64 wanted,
                       __m512i query) {
#pragma GCC unroll 16
  for (int r = 0; r < kHalf; ++r) {
    sum[r] = _mm512_dpbusd_epi32(sum[r], offset_codes<kAllDims>(rows[r] + d, wanted), query);
  }
}

inline __m512i sums_of(const int8_t* const* rows, int64_t dim, const QueryCodes& query) {
  __m512i sum[kHalf];
#pragma GCC unroll 16
  for (int r = 0; r < kHalf; ++r) sum[r] = _mm512_setzero_si512();
  int64_t d = 0;
  for (; d + kChunk <= dim; d += kChunk) {
    add_picked<true>(sum, rows, d, 0, _mm512_loadu_si512(query.codes + d));
  }
  if (d < dim) {
    add_picked<false>(sum, rows, d, chunk_mask(dim - d), _mm512_loadu_si512(query.codes + d));
  }
  return _mm512_add_epi32(totals(sum), _mm512_set1_epi32(query.correction));
}

void score_picked(const int8_t* codes, int64_t dim, const float* scales, const uint32_t* slots,
                  int rows, Job* jobs, int count, float* scores) {
  const int8_t* at[kWord];
  float own[kWord];
  for (int i = 0; i < kWord; ++i) {  // past the end the last again
    const int64_t slot = slots[i < rows ? i : rows - 1];
    at[i] = codes + slot * dim;
    own[i] = scales[slot];
  }
  const Scales both(own, kWord);
  for (int j = 0; j < count; ++j) {
    const __m512i low = sums_of(at, dim, *jobs[j].query);
    const __m512i high = rows > kHalf ? sums_of(at + kHalf, dim, *jobs[j].query) : low;
    finish(low, high, both, jobs + j, scores + j * kWord);
  }
}

// The chosen lanes of a register go to the front of one that is stored whole: a compressing store
// is slow on AMD.
inline int compress(__mmask16 keep, __m512i scores, __m512i keys, float* score_end,
                    uint32_t* key_end) {
  _mm512_storeu_si512(score_end, _mm512_maskz_compress_epi32(keep, scores));
  _mm512_storeu_si512(key_end, _mm512_maskz_compress_epi32(keep, keys));
  return __builtin_popcount(keep);
}

inline __m512i keys_from(uint32_t first) {
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  return _mm512_add_epi32(_mm512_set1_epi32(static_cast<int>(first)), lane);
}

inline __mmask16 reach(__m512i scores, int32_t least) {
  const __m512i flip =
      _mm512_and_si512(_mm512_srai_epi32(scores, 31), _mm512_set1_epi32(0x7fffffff));
  return _mm512_cmpge_epi32_mask(_mm512_xor_si512(scores, flip), _mm512_set1_epi32(least));
}

void append(const float* slot_scores, uint32_t passed, uint32_t first_key, float* scores,
            uint32_t* keys) {
  for (int half = 0; half < 2; ++half) {
    const int count = compress(__mmask16(passed >> half * kHalf),
                               _mm512_loadu_si512(slot_scores + half * kHalf),
                               keys_from(first_key + half * kHalf), scores, keys);
    scores += count;
    keys += count;
  }
}

int64_t append_values(const float* values, int64_t count, int32_t least, float* scores,
                      uint32_t* keys) {
  int64_t found = 0;
  for (int64_t i = 0; i < count; i += kHalf) {
    const __mmask16 inside = Register::tail(count - i);
    const __m512i bits = _mm512_maskz_loadu_epi32(inside, values + i);
    const __mmask16 keep = reach(bits, least) & inside;
    if (!keep) continue;
    found += compress(keep, bits, keys_from(static_cast<uint32_t>(i)), scores + found,
                      keys + found);
  }
  return found;
}

int64_t compact(float* scores, uint32_t* keys, int64_t count, int32_t least) {
  int64_t kept = 0;
  for (int64_t i = 0; i < count; i += kHalf) {
    const __mmask16 inside = Register::tail(count - i);
    const __m512i bits = _mm512_maskz_loadu_epi32(inside, scores + i);
    const __m512i own = _mm512_maskz_loadu_epi32(inside, keys + i);
    kept += compress(reach(bits, least) & inside, bits, own, scores + kept, keys + kept);
  }
  return kept;
}

}  // namespace

const Kernels kAvx512 = {
    "avx512", scratch_bytes, score,     score_picked,       append,          append_values,
    split,    compact,       rank_sort, evaluate<Register>, count_bits, expect,
    reach,    gather_sum,
};

}  // namespace silver
