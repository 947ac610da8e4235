// Inner products with rows that lie anywhere in a table.
#pragma once

#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

#include "codes.h"
#include "kernels.h"

namespace silver {

// out[(g * count_v + v) * stride + i] = (code g of row rows[i] . vectors[g, v]) * both scales, and 0
// for rows outside the table; `vectors` and their scales are [groups, count_v].
inline void gather_dots(const Kernels& kernels, const CodeTable& table, const int32_t* rows,
                        int64_t count, const Codes& vectors, const float* scales, int64_t count_v,
                        float* out, int64_t stride) {
  const int64_t width = table.groups * table.dim;
  const auto known = [&](int64_t i) { return rows[i] >= 0 && rows[i] < table.rows; };
  // A row is far from the one before it. What comes two words later is touched, so that the
  // prefetches of the next word find the address of its page.
  const auto ask = [&](int64_t first) {
    for (int64_t i = std::max<int64_t>(first, 0); i < std::min(first + kWord, count); ++i) {
      if (!known(i)) continue;
      for (int64_t d = 0; d < width; d += 64) {
        __builtin_prefetch(table.codes + rows[i] * width + d);
      }
    }
    for (int64_t i = first + kWord; i < std::min(first + 2 * kWord, count); ++i) {
      if (!known(i)) continue;
      touch(table.codes + rows[i] * width);
      touch(table.scales + rows[i] * table.groups);
    }
  };
  ask(-kWord);
  ask(0);
  std::vector<Job> jobs;
  for (int64_t v = 0; v < table.groups * count_v; ++v) {
    jobs.push_back({&vectors[v], scales[v], -std::numeric_limits<float>::infinity(), ~0u, 0});
  }
  std::vector<float> products(count_v * kWord);
  for (int64_t first = 0; first < count; first += kWord) {
    ask(first + kWord);
    const auto own = static_cast<int>(std::min<int64_t>(kWord, count - first));
    for (int64_t g = 0; g < table.groups; ++g) {
      uint32_t slots[kWord];
      for (int i = 0; i < own; ++i) {
        const int64_t row = known(first + i) ? rows[first + i] : 0;
        slots[i] = static_cast<uint32_t>(row * table.groups + g);
      }
      kernels.score_picked(table.codes, table.dim, table.scales, slots, own,
                           jobs.data() + g * count_v, static_cast<int>(count_v), products.data());
      for (int64_t v = 0; v < count_v; ++v) {
        float* to = out + (g * count_v + v) * stride + first;
        std::memcpy(to, products.data() + v * kWord, own * sizeof *to);
        for (int i = 0; i < own; ++i) to[i] = known(first + i) ? to[i] : 0;
      }
    }
  }
}

}  // namespace silver
