// The most int8 products a core can add up: independent chains of vpdpbusd, all in registers.

#include <immintrin.h>

#include <cstdint>

// Runs `rounds` x 16 instructions of 64 products each; returns a value that depends on them all.
extern "C" int32_t silver_int8_products(int64_t rounds) {
  constexpr int kChains = 16;  // more than latency x throughput of any core so far
  __m512i sums[kChains];
  for (int i = 0; i < kChains; ++i) sums[i] = _mm512_set1_epi32(i);
  __m512i codes = _mm512_set1_epi32(static_cast<int32_t>(rounds | 0x01020304));
  __m512i query = _mm512_set1_epi32(0x04030201);
  for (int64_t round = 0; round < rounds; ++round) {
    // Opaque to the compiler, so that the loop is not folded into one multiplication.
    asm volatile("" : "+v"(codes), "+v"(query));
    for (int i = 0; i < kChains; ++i) sums[i] = _mm512_dpbusd_epi32(sums[i], codes, query);
  }
  for (int i = 1; i < kChains; ++i) sums[0] = _mm512_add_epi32(sums[0], sums[i]);
  return _mm512_reduce_add_epi32(sums[0]);
}
