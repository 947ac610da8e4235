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

// 64 codes of a row as unsigned bytes; past `left` they are 128, where the query is 0.
__m512i offset_codes(const int8_t* at, int64_t left) {
  const __m512i codes =
      left >= kChunk ? _mm512_loadu_si512(at) : _mm512_maskz_loadu_epi8(chunk_mask(left), at);
  return _mm512_xor_si512(codes, _mm512_set1_epi8(-128));
}

// Sums of 16 registers, in their order.
__m512i totals(const __m512i* x) {
  __m512i y[8], z[4], u[2];
  for (int i = 0; i < 8; ++i) {
    y[i] = _mm512_add_epi32(_mm512_unpacklo_epi32(x[2 * i], x[2 * i + 1]),
                            _mm512_unpackhi_epi32(x[2 * i], x[2 * i + 1]));
  }
  for (int i = 0; i < 4; ++i) {
    z[i] = _mm512_add_epi32(_mm512_unpacklo_epi64(y[2 * i], y[2 * i + 1]),
                            _mm512_unpackhi_epi64(y[2 * i], y[2 * i + 1]));
  }
  for (int i = 0; i < 2; ++i) {
    u[i] = _mm512_add_epi32(_mm512_shuffle_i32x4(z[2 * i], z[2 * i + 1], 0x88),
                            _mm512_shuffle_i32x4(z[2 * i], z[2 * i + 1], 0xdd));
  }
  return _mm512_add_epi32(_mm512_shuffle_i32x4(u[0], u[1], 0x88),
                          _mm512_shuffle_i32x4(u[0], u[1], 0xdd));
}

// One query, straight from the rows. Rows past the last repeat it: their sums are not read.
void direct(const Rows& rows, const QueryCodes& query, int32_t* dots) {
  for (int half = 0; half < rows.count; half += kHalf) {
    __m512i sum[kHalf];
    for (int r = 0; r < kHalf; ++r) sum[r] = _mm512_setzero_si512();
    const int last = rows.count - 1 - half;
    for (int64_t d = 0; d < rows.dim; d += kChunk) {
      const __m512i q = _mm512_loadu_si512(query.codes + d);
      const int8_t* at = rows.codes + half * rows.dim + d;
      for (int r = 0; r < kHalf; ++r) {
        const int row = r < last ? r : last;
        sum[r] = _mm512_dpbusd_epi32(sum[r], offset_codes(at + row * rows.dim, rows.dim - d), q);
      }
    }
    const __m512i dot = _mm512_add_epi32(totals(sum), _mm512_set1_epi32(query.correction));
    _mm512_storeu_si512(dots + half, dot);
  }
}

// 16 rows of 64 codes to [16 groups of 4 dims][16 rows][4 dims]; `stride` bytes between groups.
void transpose(const int8_t* codes, int64_t dim, int last, int64_t left, uint8_t* out,
               int64_t stride) {
  __m512i a[16], b[16];
  for (int r = 0; r < 16; ++r) a[r] = offset_codes(codes + (r < last ? r : last) * dim, left);
  for (int i = 0; i < 8; ++i) {
    b[2 * i] = _mm512_unpacklo_epi32(a[2 * i], a[2 * i + 1]);
    b[2 * i + 1] = _mm512_unpackhi_epi32(a[2 * i], a[2 * i + 1]);
  }
  for (int i = 0; i < 4; ++i) {
    a[4 * i] = _mm512_unpacklo_epi64(b[4 * i], b[4 * i + 2]);
    a[4 * i + 1] = _mm512_unpackhi_epi64(b[4 * i], b[4 * i + 2]);
    a[4 * i + 2] = _mm512_unpacklo_epi64(b[4 * i + 1], b[4 * i + 3]);
    a[4 * i + 3] = _mm512_unpackhi_epi64(b[4 * i + 1], b[4 * i + 3]);
  }
  // a[4 * i + j] holds, in its 128-bit lane l, group 4 * l + j of rows 4 * i to 4 * i + 3.
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

// `kQueries` queries over a transposed word: a load serves all of them, a broadcast both halves.
template <int kQueries>
void tile(const uint8_t* block, int64_t steps, const QueryCodes* const* queries, int32_t* dots) {
  __m512i low[kQueries], high[kQueries];
  for (int q = 0; q < kQueries; ++q) {
    low[q] = high[q] = _mm512_set1_epi32(queries[q]->correction);
  }
  for (int64_t s = 0; s < steps; ++s) {
    const __m512i a = _mm512_load_si512(block + s * 128);
    const __m512i b = _mm512_load_si512(block + s * 128 + 64);
    for (int q = 0; q < kQueries; ++q) {
      int32_t four;
      __builtin_memcpy(&four, queries[q]->codes + 4 * s, sizeof four);
      const __m512i codes = _mm512_set1_epi32(four);
      low[q] = _mm512_dpbusd_epi32(low[q], a, codes);
      high[q] = _mm512_dpbusd_epi32(high[q], b, codes);
    }
  }
  for (int q = 0; q < kQueries; ++q) {
    _mm512_storeu_si512(dots + q * kWord, low[q]);
    _mm512_storeu_si512(dots + q * kWord + kHalf, high[q]);
  }
}

void dots(const Rows& rows, const QueryCodes* const* queries, int count, uint8_t* scratch,
          int32_t* dots) {
  // A transposition costs about as much as two direct passes over each 64 dimensions.
  if (count <= 2 * ((rows.dim + kChunk - 1) / kChunk)) {
    for (int q = 0; q < count; ++q) direct(rows, *queries[q], dots + q * kWord);
    return;
  }
  for (int64_t d = 0; d < rows.dim; d += kChunk) {
    for (int half = 0; half < rows.count; half += kHalf) {
      transpose(rows.codes + half * rows.dim + d, rows.dim, rows.count - 1 - half, rows.dim - d,
                scratch + d * kWord + half * 4, 128);
    }
  }
  const int64_t steps = (rows.dim + 3) / 4;
  int q = 0;
  for (; q + 6 <= count; q += 6) tile<6>(scratch, steps, queries + q, dots + q * kWord);
  switch (count - q) {
    case 5: tile<5>(scratch, steps, queries + q, dots + q * kWord); break;
    case 4: tile<4>(scratch, steps, queries + q, dots + q * kWord); break;
    case 3: tile<3>(scratch, steps, queries + q, dots + q * kWord); break;
    case 2: tile<2>(scratch, steps, queries + q, dots + q * kWord); break;
    case 1: tile<1>(scratch, steps, queries + q, dots + q * kWord); break;
    default: break;
  }
}

void dots_of(const Rows& rows, const QueryCodes& query, uint32_t mask, int32_t* dots) {
  for (; mask; mask &= mask - 1) {
    const int r = __builtin_ctz(mask);
    const int8_t* row = rows.codes + r * rows.dim;
    __m512i sum = _mm512_setzero_si512();
    for (int64_t d = 0; d < rows.dim; d += kChunk) {
      const __m512i q = _mm512_loadu_si512(query.codes + d);
      sum = _mm512_dpbusd_epi32(sum, offset_codes(row + d, rows.dim - d), q);
    }
    dots[r] = _mm512_reduce_add_epi32(sum) + query.correction;
  }
}

int accept(const int32_t* dots, const float* scales, float scale, float threshold, uint32_t mask,
           uint32_t first_key, float* scores, uint32_t* keys) {
  int count = 0;
  for (int half = 0; half < 2; ++half) {
    const __mmask16 wanted = __mmask16(mask >> (half * kHalf));
    if (!wanted) continue;
    // The mask also keeps the load of the scales within the cluster.
    const __m512 own = _mm512_maskz_loadu_ps(wanted, scales + half * kHalf);
    const __m512i dot = _mm512_loadu_si512(dots + half * kHalf);
    __m512 score = _mm512_mul_ps(_mm512_cvtepi32_ps(dot), own);
    score = _mm512_mul_ps(score, _mm512_set1_ps(scale));
    score = _mm512_add_ps(score, _mm512_setzero_ps());
    const __mmask16 found =
        _mm512_mask_cmp_ps_mask(wanted, score, _mm512_set1_ps(threshold), _CMP_GE_OQ);
    if (!found) continue;
    const __m512i key = _mm512_add_epi32(
        _mm512_set1_epi32(static_cast<int>(first_key) + half * kHalf),
        _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    // Compressed in the register and stored whole: a compressing store is slow on AMD.
    _mm512_storeu_ps(scores + count, _mm512_maskz_compress_ps(found, score));
    _mm512_storeu_si512(keys + count, _mm512_maskz_compress_epi32(found, key));
    count += __builtin_popcount(found);
  }
  return count;
}

int accept_values(const float* values, int count, int32_t threshold, uint32_t first_key,
                  float* scores, uint32_t* keys) {
  int found = 0;
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  for (int i = 0; i < count; i += kHalf) {
    const __mmask16 inside = Register::tail(count - i);
    const __m512i bits = _mm512_maskz_loadu_epi32(inside, values + i);
    const __m512i flip =
        _mm512_and_si512(_mm512_srai_epi32(bits, 31), _mm512_set1_epi32(0x7fffffff));
    const __mmask16 keep = _mm512_mask_cmpge_epi32_mask(inside, _mm512_xor_si512(bits, flip),
                                                        _mm512_set1_epi32(threshold));
    if (!keep) continue;
    const __m512i key =
        _mm512_add_epi32(_mm512_set1_epi32(static_cast<int>(first_key) + i), lane);
    _mm512_storeu_si512(scores + found, _mm512_maskz_compress_epi32(keep, bits));
    _mm512_storeu_si512(keys + found, _mm512_maskz_compress_epi32(keep, key));
    found += __builtin_popcount(keep);
  }
  return found;
}

}  // namespace

const Kernels kAvx512 = {"avx512", scratch_bytes, dots,       dots_of,
                         accept,   accept_values, count_from, evaluate<Register>};

}  // namespace silver
