// What the instruction sets share that cannot compress a register.
#pragma once

#include "kernels_common.h"

namespace silver {
namespace {

void append(const float* slot_scores, uint32_t passed, uint32_t first_key, float* scores,
            uint32_t* keys) {
  for (int64_t i = 0; passed; passed &= passed - 1, ++i) {
    const int r = __builtin_ctz(passed);
    scores[i] = slot_scores[r];
    keys[i] = first_key + static_cast<uint32_t>(r);
  }
}

int64_t append_values(const float* values, int64_t count, int32_t least, float* scores,
                      uint32_t* keys) {
  int64_t found = 0;
  for (int64_t i = 0; i < count; ++i) {
    scores[found] = values[i];
    keys[found] = static_cast<uint32_t>(i);
    found += place_of(values[i]) >= least;
  }
  return found;
}

int64_t compact(float* scores, uint32_t* keys, int64_t count, int32_t least) {
  int64_t kept = 0;
  for (int64_t i = 0; i < count; ++i) {
    const float score = scores[i];
    scores[kept] = score;
    keys[kept] = keys[i];
    kept += place_of(score) >= least;
  }
  return kept;
}

}  // namespace
}  // namespace silver
