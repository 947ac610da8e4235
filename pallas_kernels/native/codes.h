// Queries as the dot products read them.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "kernels.h"

namespace silver {

// `count` queries [count, dim], padded and widened.
class Codes {
 public:
  Codes(const int8_t* queries, int64_t count, int64_t dim) {
    const int64_t padded = (dim + kQueryPadding - 1) / kQueryPadding * kQueryPadding;
    codes_.resize(count * padded);
    wide_.resize(count * padded);
    queries_.resize(count);
    for (int64_t q = 0; q < count; ++q) {
      int8_t* codes = codes_.data() + q * padded;
      std::memcpy(codes, queries + q * dim, dim);
      uint32_t sum = 0;
      for (int64_t d = 0; d < dim; ++d) {
        wide_[q * padded + d] = codes[d];
        sum += static_cast<uint32_t>(static_cast<int32_t>(codes[d]));
      }
      queries_[q] = {codes, wide_.data() + q * padded, static_cast<int32_t>(0u - 128u * sum)};
    }
  }
  const QueryCodes& operator[](int64_t q) const { return queries_[q]; }

 private:
  std::vector<int8_t> codes_;
  std::vector<int16_t> wide_;
  std::vector<QueryCodes> queries_;
};

}  // namespace silver
