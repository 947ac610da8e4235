// The inner loops, once per instruction set; `choose` picks a table of them when a call runs.
//
// A word of eligibility bits covers 32 slots, so 32 rows of codes are the unit of work everywhere.
#pragma once

#include <cstdint>

namespace silver {

constexpr int kWord = 32;        // slots per word of bits
constexpr int kStackDepth = 8;   // pallas_kernels/bloom_probe/plan.py: STACK_DEPTH
constexpr int kQueryPadding = 64;  // query codes are followed by zeros up to a multiple of this

// Reads one value, for what that brings: the cache line and the address of its page. A CPU may drop
// prefetches of pages whose address it does not have at hand (an AMD EPYC does), and with an index
// of many megabytes those are most.
template <class T>
inline void touch(const T* at) {
  static_cast<void>(*static_cast<const volatile T*>(at));
}

// A query as the dot products read it.
struct QueryCodes {
  const int8_t* codes;    // [dim padded to kQueryPadding]
  const int16_t* wide;    // the same in 16 bits
  int32_t correction;     // -128 * sum(codes): undoes the offset that makes item codes unsigned
};

// Up to 32 rows of item codes that follow each other.
struct Rows {
  const int8_t* codes;  // [count, dim]
  int64_t dim;
  int count;            // 1 to 32
};

// What pallas_kernels/filtered_search/reach.py fixes of the table `tail`: steps per standard
// deviation, steps to either side of the affinity, slots of a cluster that count.
constexpr int32_t kTailSteps = 8, kTailEnd = 40, kCounted = 1 << 14;

// One step of a filter program, made by `Program::compile`.
struct Step {
  enum Kind : int32_t { kPush, kAndLeaf, kOrLeaf, kAnd, kOr } kind;
  int32_t mode;   // of the leaf: plan.py ROWS, COMPLEMENT, ONES, ZEROS
  int32_t first;  // into the rows of the program
  int32_t count;
};

// A query that wants the slots of `mask`, a bit for each of the rows at hand.
struct Job {
  const QueryCodes* query;
  float scale;      // of the query
  float threshold;  // scores below it are of no use
  uint32_t mask;
  uint32_t passed;  // out: slots of `mask` that score `threshold` or more
};

// Rows of `groups` codes of `dim` bytes each, a scale for each code.
struct CodeTable {
  const int8_t* codes;  // [rows, groups, dim]
  const float* scales;  // [rows, groups]
  int64_t rows, groups, dim;
};

struct Kernels {
  const char* name;

  // Bytes of scratch that `score` wants.
  int64_t (*scratch_bytes)(int64_t dim);

  // scores[j * 32 + r] = (float(row r . query j) * scales[r]) * scale of the query, for the slots
  // that passed; the others are undefined.
  void (*score)(const Rows& rows, const float* scales, Job* jobs, int count, uint8_t* scratch,
                float* scores);

  // The same of `rows` (1 to 32) slots anywhere: scores[j * 32 + i] is that of slots[i], bit i of
  // the mask and of what passed stands for it.
  void (*score_picked)(const int8_t* codes, int64_t dim, const float* scales,
                       const uint32_t* slots, int rows, Job* jobs, int count, float* scores);

  // Appends the scores of the slots that passed, and their keys; writes up to 48 entries.
  void (*append)(const float* slot_scores, uint32_t passed, uint32_t first_key, float* scores,
                 uint32_t* keys);

  // Appends value and index of the values[i], i < count, whose place in the total order of floats
  // is `least` or higher; returns how many. Writes up to `count` and 16 more.
  int64_t (*append_values)(const float* values, int64_t count, int32_t least, float* scores,
                           uint32_t* keys);

  // The highest place in the total order that `keep` or more of the values reach (keep <= count),
  // and how many reach it. `places` has room for `count`.
  int32_t (*split)(const float* values, int64_t count, int64_t keep, int32_t* places,
                   int64_t* reached);

  // Keeps the entries whose score has place `least` or higher, in their order; returns how many.
  int64_t (*compact)(float* scores, uint32_t* keys, int64_t count, int32_t least);

  // Sorts different numbers by counting those that are smaller.
  void (*rank_sort)(const uint64_t* in, int64_t count, uint64_t* out);

  // Runs a program over `length` words of bit rows, of which row r is at words + r * stride, and
  // ANDs row 0.
  void (*evaluate)(const Step* steps, int64_t count, const int32_t* rows, const uint32_t* words,
                   int64_t stride, int64_t length, uint32_t* out);

  // Bits of each of the clusters [clusters, width]; of its last word only those of `last`.
  void (*count_bits)(const uint32_t* words, int64_t clusters, int64_t width, uint32_t last,
                     int32_t* counts);

  // The rule of pallas_kernels/filtered_search/reach.py: how many of the slots of each cluster are
  // expected to score over `least`.
  void (*expect)(const float* affinity, const float* spread, const int32_t* counts, int64_t clusters,
                 float least, const int32_t* tail, int32_t* expected);

  // How high the scores of clusters reach, and their standard deviations: pallas_kernels/affinity.
  void (*reach)(const float* means, const float* radii, int64_t count, float along,
                float deviations, float* reached, float* spread);

  // out[g, v] = sum over i of weights[v, i] * (code g of row rows[i] * its scale), in their order;
  // rows outside the table add nothing. `out` is [groups, count_v, dim], `room` [count, dim].
  void (*gather_sum)(const CodeTable& table, const int32_t* rows, int64_t count,
                     const float* weights, int64_t count_v, float* room, float* out);
};

extern const Kernels kPortable;
#if defined(__x86_64__)
extern const Kernels kAvx2;
extern const Kernels kAvx512;
#endif

// The table of this name, or the best one where `name` is empty; null where this CPU or this build
// lacks it.
const Kernels* choose(const char* name);

}  // namespace silver
