// The scan: nearest clusters, eligibility, int8 scores, exact check and the best k in one pass.
#pragma once

#include <cstdint>

#include "kernels.h"
#include "parallel.h"
#include "program.h"

namespace silver {

// Everything is borrowed. Notation: C clusters of S slots, D dimensions, W = ceil(S / 32) words of
// R bit rows; B queries that probe N clusters each.
struct Search {
  // The index.
  int64_t C = 0, S = 0, D = 0, R = 0, W = 0;
  const int8_t* codes = nullptr;      // [C, S, D]
  const float* scales = nullptr;      // [C, S]
  const uint32_t* words = nullptr;    // [R, C, W]; row 0 has the live slots
  const int32_t* names = nullptr;     // [C, S], of the slots; may be null

  // The queries.
  int64_t B = 0, N = 0, k = 0;
  const int8_t* queries = nullptr;        // [B, D]
  const float* query_scales = nullptr;    // [B]

  // Which clusters they probe. Either `clusters`, or the N of highest affinity; where those hold
  // fewer than k slots that pass, the next N, and so on up to `most`. With `spread`, queries that
  // have a filter go on by the rule of pallas_kernels/filtered_search/reach.py.
  const int32_t* clusters = nullptr;  // [B, N]; what is no cluster is skipped
  const float* affinity = nullptr;    // [B, C]; -inf is never probed
  int64_t most = 0;
  const float* spread = nullptr;      // [B, C]
  const int32_t* tail = nullptr;      // [2 * kTailEnd]
  int64_t allowed = 0;                // expected slots that may be left unseen

  // Which slots count. Either `eligible`, beside `clusters` (ties then go to the earlier probe), or
  // `words` with what narrows them.
  const uint32_t* eligible = nullptr;  // [B, N, W]
  const PlanArrays* plan = nullptr;
  const ExactArrays* exact = nullptr;
  const int32_t* excluded = nullptr;   // [B, X] slots; -1 is none
  int64_t X = 0;

  // The answer.
  float* scores = nullptr;           // [B, k], best first; -inf past the end
  int32_t* slots = nullptr;          // [B, k], or their names; -1 past the end
  int32_t* live_count = nullptr;     // [B], may be null: live slots of the probed clusters
  int32_t* eligible_count = nullptr; // [B], may be null: those that the words admit
};

// `bytes_per_thread`: codes worth waking another thread for (about 15 microseconds of scanning).
// `kept_bytes`: how much of what the filters admit may be kept from the count to the visits.
void run(const Search& search, const Kernels& kernels, const Threads& threads,
         int64_t bytes_per_thread = 1 << 19, int64_t kept_bytes = 32 << 20);

}  // namespace silver
