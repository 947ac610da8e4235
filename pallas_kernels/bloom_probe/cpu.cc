// `bloom_probe` for the CPU.
#include <algorithm>
#include <vector>

#include "native/ffi.h"
#include "native/program.h"

namespace silver {
namespace {

// Bytes of bit rows that stay in a core's cache while one program after the other runs over them.
constexpr int64_t kCached = 256 << 10;
// Words that come from memory together.
constexpr int64_t kLine = 16;
// Words of answer worth waking another thread for.
constexpr int64_t kWordsPerThread = 1 << 14;

// Rows that the programs read, row 0 with them, ascending.
std::vector<int64_t> read_by_any(const std::vector<Program>& programs, int64_t rows) {
  std::vector<bool> read(rows);
  read[0] = true;
  for (const Program& one : programs) {
    for (const int32_t row : one.rows) read[row] = true;
  }
  std::vector<int64_t> found;
  for (int64_t row = 0; row < rows; ++row) {
    if (read[row]) found.push_back(row);
  }
  return found;
}

// Reads some words of rows into the cache. Of rows that lie apart the CPU foresees little, and it
// drops prefetches that come by the hundred; loads it cannot.
void bring(const std::vector<int64_t>& rows, const uint32_t* words, int64_t stride, int64_t length) {
  for (const int64_t row : rows) {
    for (int64_t w = 0; w < length; w += kLine) {
      static_cast<void>(*static_cast<const volatile uint32_t*>(words + row * stride + w));
    }
  }
}

// Programs over bit rows [rows, stride].
struct BitRows {
  const Kernels& kernels;
  const std::vector<Program>& programs;
  const uint32_t* words;
  int64_t stride;

  // What program `b` admits of `length` words.
  void evaluate(int64_t b, int64_t first, int64_t length, uint32_t* out) const {
    const Program& one = programs[b];
    kernels.evaluate(one.steps.data(), static_cast<int64_t>(one.steps.size()), one.rows.data(),
                     words + first, stride, length, out);
  }
};

// All words of all programs: some words for one program after the other.
void probe_all(const BitRows& rows, int64_t bit_rows, const Threads& threads, int64_t tasks,
               uint32_t* out) {
  const std::vector<int64_t> read = read_by_any(rows.programs, bit_rows);
  const auto row_count = static_cast<int64_t>(read.size());
  const int64_t together = std::max(kLine, kCached / (row_count * 4) / kLine * kLine);
  const int64_t pieces = (rows.stride + together - 1) / together;
  parallel_for(threads, std::min(tasks, pieces), [&](int64_t task) {
    const int64_t of = std::min(tasks, pieces);
    for (int64_t piece = pieces * task / of; piece < pieces * (task + 1) / of; ++piece) {
      const int64_t first = piece * together;
      const int64_t length = std::min(together, rows.stride - first);
      bring(read, rows.words + first, rows.stride, length);
      for (size_t b = 0; b < rows.programs.size(); ++b) {
        const auto at = static_cast<int64_t>(b);
        rows.evaluate(at, first, length, out + at * rows.stride + first);
      }
    }
  });
}

ffi::Error bloom_probe(ffi::ThreadPool pool, Array<ffi::U32, 3> words, Array<ffi::S32, 3> rows,
                       Array<ffi::S32, 2> modes, Array<ffi::S32, 2> program,
                       Array<ffi::S32, 2> clusters, std::string_view instructions,
                       Out<ffi::U32, 3> out) {
  const Kernels* kernels = choose(std::string(instructions).c_str());
  if (!kernels) return no_instructions(instructions);
  const int64_t R = words.dimensions()[0], C = words.dimensions()[1], W = words.dimensions()[2];
  const int64_t B = out->dimensions()[0], N = out->dimensions()[1];
  const bool all = clusters.dimensions()[0] != B || clusters.dimensions()[1] != N;  // none given
  const PlanArrays plan{rows.typed_data(),      modes.typed_data(),   program.typed_data(),
                        rows.dimensions()[1],   rows.dimensions()[2], program.dimensions()[1]};
  if (const std::string what = complaint(plan, B); !what.empty()) {
    return ffi::Error::InvalidArgument(what);
  }
  std::vector<Program> programs(B);
  for (int64_t b = 0; b < B; ++b) programs[b].compile(plan, b, R);
  const Threads pooled = threads_of(pool);
  const int64_t useful = std::clamp<int64_t>(B * N * W / kWordsPerThread, 1, pooled.count);
  const Threads threads{useful, pooled.schedule};
  const int64_t tasks = useful == 1 ? 1 : 4 * useful;
  const BitRows bits{*kernels, programs, words.typed_data(), C * W};
  if (all) {
    probe_all(bits, R, threads, tasks, out->typed_data());
    return ffi::Error::Success();
  }
  parallel_for(threads, std::min(tasks, B * N), [&](int64_t task) {
    const int64_t of = std::min(tasks, B * N);
    for (int64_t probe = B * N * task / of; probe < B * N * (task + 1) / of; ++probe) {
      const int64_t c = clusters.typed_data()[probe];
      uint32_t* to = out->typed_data() + probe * W;
      if (c >= 0 && c < C) {
        bits.evaluate(probe / N, c * W, W, to);
      } else {
        std::fill(to, to + W, 0u);
      }
    }
  });
  return ffi::Error::Success();
}

}  // namespace

SILVER_HANDLER(silver_bloom_probe, bloom_probe,
               ffi::Ffi::Bind()
                   .Ctx<ffi::ThreadPool>()
                   .Arg<Array<ffi::U32, 3>>()   // words
                   .Arg<Array<ffi::S32, 3>>()   // plan.rows
                   .Arg<Array<ffi::S32, 2>>()   // plan.modes
                   .Arg<Array<ffi::S32, 2>>()   // plan.program
                   .Arg<Array<ffi::S32, 2>>()   // clusters; [0, 0] stands for all of them
                   .Attr<std::string_view>("instructions")
                   .Ret<Array<ffi::U32, 3>>());

}  // namespace silver
