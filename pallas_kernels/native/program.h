// Filter programs: postfix tokens to steps for `Kernels::evaluate`, and the exact check of an item.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels.h"

namespace silver {

// The arrays of pallas_kernels/bloom_probe/plan.py, borrowed.
struct PlanArrays {
  const int32_t* rows = nullptr;     // [batch, leaves, terms]
  const int32_t* modes = nullptr;    // [batch, leaves]
  const int32_t* program = nullptr;  // [batch, tokens]
  int64_t leaves = 0, terms = 0, tokens = 0;
};

constexpr int32_t kAndToken = -1, kOrToken = -2;  // plan.py: AND, OR; what is lower is a no-op

inline int32_t clamp(int32_t value, int64_t size) {
  return static_cast<int32_t>(std::clamp<int64_t>(value, 0, size - 1));
}

// What is wrong with the programs of a plan, or nothing.
inline std::string complaint(const PlanArrays& plan, int64_t batch) {
  for (int64_t b = 0; b < batch; ++b) {
    int height = 0;
    for (int64_t t = 0; t < plan.tokens; ++t) {
      const int32_t token = plan.program[b * plan.tokens + t];
      if (token < kOrToken) break;
      height += token >= 0 ? 1 : -1;
      if (height > kStackDepth || height < 1) {
        return "the program of query " + std::to_string(b) + " holds " + std::to_string(height) +
               " values at token " + std::to_string(t) + ", limit: 1 to " +
               std::to_string(kStackDepth) + "; make plans with silverjax.compile_filters";
      }
    }
  }
  return "";
}

struct Program {
  std::vector<Step> steps;
  std::vector<int32_t> rows;

  // The program of query `b`; `bit_rows` rows exist.
  void compile(const PlanArrays& plan, int64_t b, int64_t bit_rows) {
    steps.clear();
    rows.clear();
    for (int64_t t = 0; t < plan.tokens; ++t) {
      const int32_t token = plan.program[b * plan.tokens + t];
      if (token < kOrToken) break;
      if (token < 0) {
        const bool is_and = token == kAndToken;
        // A leaf that is combined at once needs no place on the stack.
        if (steps.size() > 1 && steps.back().kind == Step::kPush) {
          steps.back().kind = is_and ? Step::kAndLeaf : Step::kOrLeaf;
        } else {
          steps.push_back({is_and ? Step::kAnd : Step::kOr, 0, 0, 0});
        }
        continue;
      }
      const int64_t leaf = b * plan.leaves + clamp(token, plan.leaves);
      const auto first = static_cast<int32_t>(rows.size());
      for (int64_t k = 0; k < plan.terms; ++k) {
        const int32_t row = clamp(plan.rows[leaf * plan.terms + k], bit_rows);
        // A term with a row of its own names it once per hash.
        if (std::find(rows.begin() + first, rows.end(), row) == rows.end()) rows.push_back(row);
      }
      const auto count = static_cast<int32_t>(rows.size()) - first;
      steps.push_back({Step::kPush, plan.modes[leaf], first, count});
    }
  }
};

// What decides a filter exactly: each slot's list of terms, borrowed.
struct ExactArrays {
  const int32_t* spans = nullptr;       // [clusters * slots, 2]: start and length in `terms`
  const int32_t* terms = nullptr;       // ascending within a list
  const int32_t* leaf_terms = nullptr;  // [batch, leaves]
  const bool* negated = nullptr;        // [batch, leaves]
  const bool* decided = nullptr;        // [batch]: the words alone decide
  int64_t term_count = 0, leaves = 0;
};

// Asks for what `admits` reads of a slot. Each step reads what the one before it asked for.
struct ExactAhead {
  static constexpr int kSteps = 2;
  const ExactArrays& exact;
  void operator()(int step, uint32_t slot) const {
    const int32_t* span = exact.spans + 2 * int64_t{slot};
    if (step == 0) return __builtin_prefetch(span);
    __builtin_prefetch(exact.terms + std::clamp<int64_t>(span[0], 0, exact.term_count - 1));
  }
};

// Whether an ascending list has a term. Lists are short, as a rule, and which half a term is in is
// anyone's guess: looking at all of one has no branch to guess.
inline bool holds(const int32_t* begin, const int32_t* end, int32_t term) {
  constexpr std::ptrdiff_t kShort = 64;
  if (end - begin > kShort) return std::binary_search(begin, end, term);
  int32_t found = 0;
  for (const int32_t* at = begin; at < end; ++at) found |= *at == term;
  return found;
}

// Whether a slot passes the filter of query `b`.
inline bool admits(const ExactArrays& exact, const PlanArrays& plan, int64_t b, int64_t slot) {
  const int64_t start = std::clamp<int64_t>(exact.spans[2 * slot], 0, exact.term_count);
  const int64_t end = std::clamp<int64_t>(start + exact.spans[2 * slot + 1], start,
                                          exact.term_count);
  uint32_t stack = 1;  // bit 0 is the top; the 1 at the bottom admits all where nothing is pushed
  for (int64_t t = 0; t < plan.tokens; ++t) {
    const int32_t token = plan.program[b * plan.tokens + t];
    if (token < kOrToken) break;
    if (token < 0) {
      const uint32_t top = stack & 1;
      stack >>= 1;
      stack = token == kAndToken ? stack & (~1u | top) : stack | top;
      continue;
    }
    const int64_t leaf = b * exact.leaves + clamp(token, exact.leaves);
    const bool has = holds(exact.terms + start, exact.terms + end, exact.leaf_terms[leaf]);
    stack = stack << 1 | static_cast<uint32_t>(has != exact.negated[leaf]);
  }
  return stack & 1;
}

}  // namespace silver
