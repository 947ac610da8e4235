// `bloom_probe` for the CPU.
#include <algorithm>
#include <vector>

#include "native/ffi.h"
#include "native/program.h"

namespace silver {
namespace {

// Bytes of bit rows that stay in a core's cache while one program after the other runs over them.
constexpr int64_t kCached = 256 << 10;
// Words that come from memory together, and how many are read in vain rather than passed over.
constexpr int64_t kLine = 16, kGap = 128;
// Words of answer worth waking another thread for.
constexpr int64_t kWordsPerThread = 1 << 14;

// Words of a cluster that follow each other.
struct Words {
  int64_t first, end;
};

// What the programs read of each cluster, row 0 with it, ascending.
std::vector<Words> read_by_any(const std::vector<Program>& programs, int64_t rows, int64_t width) {
  std::vector<bool> read(rows);
  read[0] = true;
  for (const Program& one : programs) {
    for (const int32_t row : one.rows) read[row] = true;
  }
  std::vector<Words> found;
  for (int64_t row = 0; row < rows; ++row) {
    if (!read[row]) continue;
    if (found.empty() || row * width - found.back().end > kGap) found.push_back({row * width, 0});
    found.back().end = (row + 1) * width;
  }
  return found;
}

// Reads the words of some clusters into the cache. Of rows that lie apart the CPU foresees little,
// and it drops prefetches that come by the hundred; loads it cannot.
void bring(const std::vector<Words>& read, const uint32_t* words, int64_t clusters,
           int64_t cluster_words) {
  for (int64_t c = 0; c < clusters; ++c, words += cluster_words) {
    for (const Words& some : read) {
      for (int64_t w = some.first; w < some.end; w += kLine) {
        static_cast<void>(*static_cast<const volatile uint32_t*>(words + w));
      }
    }
  }
}

ffi::Error bloom_probe(ffi::ThreadPool pool, Array<ffi::U32, 3> words, Array<ffi::S32, 3> rows,
                       Array<ffi::S32, 2> modes, Array<ffi::S32, 2> program,
                       Array<ffi::S32, 2> clusters, std::string_view instructions,
                       Out<ffi::U32, 3> out) {
  const Kernels* kernels = choose(std::string(instructions).c_str());
  if (!kernels) return no_instructions(instructions);
  const int64_t C = words.dimensions()[0], R = words.dimensions()[1], W = words.dimensions()[2];
  const int64_t B = out->dimensions()[0], N = out->dimensions()[1];
  const bool all = clusters.dimensions()[0] != B || clusters.dimensions()[1] != N;  // none given
  const PlanArrays plan{rows.typed_data(),      modes.typed_data(),   program.typed_data(),
                        rows.dimensions()[1],   rows.dimensions()[2], program.dimensions()[1]};
  if (const std::string what = complaint(plan, B); !what.empty()) {
    return ffi::Error::InvalidArgument(what);
  }
  std::vector<Program> programs(B);
  for (int64_t b = 0; b < B; ++b) programs[b].compile(plan, b, R);
  const Threads threads = threads_of(pool);
  const int64_t useful = std::clamp<int64_t>(B * N * W / kWordsPerThread, 1, threads.count);
  const int64_t tasks = useful == 1 ? 1 : std::min<int64_t>(N, 4 * useful);
  const std::vector<Words> read = read_by_any(programs, R, W);
  const int64_t together = std::max<int64_t>(1, kCached / (R * W * 4));
  auto body = [&](int64_t task) {
    const int64_t end = N * (task + 1) / tasks;
    for (int64_t first = N * task / tasks; first < end; first += together) {
      const int64_t count = std::min(together, end - first);
      const uint32_t* clusters_at = words.typed_data() + first * R * W;
      if (all) bring(read, clusters_at, count, R * W);
      for (int64_t b = 0; b < B; ++b) {
        uint32_t* to = out->typed_data() + (b * N + first) * W;
        auto evaluate = [&](const uint32_t* from, int64_t some, uint32_t* into) {
          const Program& one = programs[b];
          kernels->evaluate(one.steps.data(), static_cast<int64_t>(one.steps.size()),
                            one.rows.data(), from, some, R, W, into);
        };
        if (all) {
          evaluate(clusters_at, count, to);
          continue;
        }
        for (int64_t n = first; n < first + count; ++n, to += W) {
          const int64_t c = clusters.typed_data()[b * N + n];
          if (c >= 0 && c < C) {
            evaluate(words.typed_data() + c * R * W, 1, to);
          } else {
            std::fill(to, to + W, 0u);
          }
        }
      }
    }
  };
  parallel_for({useful, threads.schedule}, tasks, body);
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
