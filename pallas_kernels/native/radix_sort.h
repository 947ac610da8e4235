// Sorts 64-bit numbers by their bytes, the lowest first: no branch depends on the data, and bytes that
// all numbers share, which of scores and slots are several, cost nothing.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace silver {

// `aside` is room to work in.
inline void radix_sort(std::vector<uint64_t>& values, std::vector<uint64_t>& aside) {
  constexpr int kBytes = 8, kValues = 256;
  std::array<std::array<uint32_t, kValues>, kBytes> count{};
  uint64_t all = ~uint64_t{0}, any = 0;
  for (const uint64_t value : values) {
    all &= value;
    any |= value;
    for (int byte = 0; byte < kBytes; ++byte) ++count[byte][value >> 8 * byte & 0xff];
  }
  aside.resize(values.size());
  for (int byte = 0; byte < kBytes; ++byte) {
    if (((all ^ any) >> 8 * byte & 0xff) == 0) continue;
    uint32_t start = 0;
    for (uint32_t& one : count[byte]) {
      const uint32_t own = one;
      one = start;
      start += own;
    }
    for (const uint64_t value : values) aside[count[byte][value >> 8 * byte & 0xff]++] = value;
    values.swap(aside);
  }
}

}  // namespace silver
