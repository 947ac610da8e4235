// Rows of bits over all clusters, and how programs run over them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels.h"
#include "program.h"

namespace silver {

// Rows [rows, stride], borrowed.
class BitRows {
 public:
  // Words that come from memory together.
  static constexpr int64_t kLine = 16;

  BitRows(const Kernels& kernels, const uint32_t* words, int64_t rows, int64_t stride)
      : kernels_(kernels), words_(words), rows_(rows), stride_(stride) {}

  // What a program admits of `length` words.
  void evaluate(const Program& program, int64_t first, int64_t length, uint32_t* out) const {
    kernels_.evaluate(program.steps.data(), static_cast<int64_t>(program.steps.size()),
                      program.rows.data(), words_ + first, stride_, length, out);
  }

  // The rows that programs read, row 0 with them, ascending.
  std::vector<int64_t> read_by(const std::vector<Program>& programs) const {
    std::vector<bool> read(rows_);
    read[0] = true;
    for (const Program& one : programs) {
      for (const int32_t row : one.rows) read[row] = true;
    }
    std::vector<int64_t> found;
    for (int64_t row = 0; row < rows_; ++row) {
      if (read[row]) found.push_back(row);
    }
    return found;
  }

  // Words of so many rows that stay in a core's cache while one program after the other runs over
  // them.
  static int64_t together(size_t rows) {
    constexpr int64_t kCached = 512 << 10;
    const auto bytes = static_cast<int64_t>(rows * sizeof(uint32_t));
    return std::max(kLine, kCached / bytes / kLine * kLine);
  }

  // Reads some words of rows into the cache. Of rows that lie apart the CPU foresees little, and it
  // drops prefetches that come by the hundred; loads it cannot.
  void bring(const std::vector<int64_t>& rows, int64_t first, int64_t length) const {
    for (const int64_t row : rows) {
      const uint32_t* words = words_ + row * stride_ + first;
      for (int64_t w = 0; w < length; w += kLine) {
        static_cast<void>(*static_cast<const volatile uint32_t*>(words + w));
      }
    }
  }

 private:
  const Kernels& kernels_;
  const uint32_t* words_;
  const int64_t rows_, stride_;
};

}  // namespace silver
