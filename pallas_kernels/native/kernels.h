// The inner loops, once per instruction set; `choose` picks a table of them when a call runs.
//
// A word of eligibility bits covers 32 slots, so 32 rows of codes are the unit of work everywhere.
#pragma once

#include <cstdint>

namespace silver {

constexpr int kWord = 32;        // slots per word of bits
constexpr int kStackDepth = 8;   // pallas_kernels/bloom_probe/plan.py: STACK_DEPTH
constexpr int kQueryPadding = 64;  // query codes are followed by zeros up to a multiple of this

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

// One step of a filter program, made by `Program::compile`.
struct Step {
  enum Kind : int32_t { kPush, kAndLeaf, kOrLeaf, kAnd, kOr } kind;
  int32_t mode;   // of the leaf: plan.py ROWS, COMPLEMENT, ONES, ZEROS
  int32_t first;  // into the rows of the program
  int32_t count;
};

struct Kernels {
  const char* name;

  // Bytes of scratch that `dots` wants for one word of slots.
  int64_t (*scratch_bytes)(int64_t dim);

  // dots[q * 32 + r] = row r . query q, exact in 32 bits. Entries past `rows.count` are undefined.
  void (*dots)(const Rows& rows, const QueryCodes* const* queries, int count, uint8_t* scratch,
               int32_t* dots);

  // The same for one query and the rows whose bit is set; the other entries are undefined.
  void (*dots_of)(const Rows& rows, const QueryCodes& query, uint32_t mask, int32_t* dots);

  // Appends score and key of the slots of `mask` that score `threshold` or more; returns how
  // many. score = (float(dot) * scale of the slot) * scale of the query. Writes up to 48 entries.
  int (*accept)(const int32_t* dots, const float* scales, float scale, float threshold,
                uint32_t mask, uint32_t first_key, float* scores, uint32_t* keys);

  // Appends value and index of the values[i], i < count, whose place in the total order of floats
  // is `threshold` or higher; both lists have room for `count` and 16 more.
  int (*accept_values)(const float* values, int count, int32_t threshold, uint32_t first_key,
                       float* scores, uint32_t* keys);

  // How many of `places` (floats as integers of the same order) are `least` or more.
  int64_t (*count_from)(const int32_t* places, int64_t count, int32_t least);

  // Runs a program over the bit rows of a cluster ([rows, width] at `words`) and ANDs row 0.
  void (*evaluate)(const Step* steps, int64_t count, const int32_t* rows, const uint32_t* words,
                   int64_t width, uint32_t* out);
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
