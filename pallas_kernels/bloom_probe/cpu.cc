// `bloom_probe` for the CPU.
#include <algorithm>
#include <vector>

#include "native/bit_rows.h"
#include "native/ffi.h"

namespace silver {
namespace {

// Words of answer worth waking another thread for.
constexpr int64_t kWordsPerThread = 1 << 14;

// All words of all programs: some words for one program after the other.
void probe_all(const BitRows& bits, const std::vector<Program>& programs, int64_t stride,
               const Threads& threads, int64_t tasks, uint32_t* out) {
  const std::vector<int64_t> read = bits.read_by(programs);
  const int64_t together = BitRows::together(read.size());
  const int64_t pieces = (stride + together - 1) / together;
  parallel_for(threads, std::min(tasks, pieces), [&](int64_t task) {
    const int64_t of = std::min(tasks, pieces);
    for (int64_t piece = pieces * task / of; piece < pieces * (task + 1) / of; ++piece) {
      const int64_t first = piece * together;
      const int64_t length = std::min(together, stride - first);
      bits.bring(read, first, length);
      for (size_t b = 0; b < programs.size(); ++b) {
        bits.evaluate(programs[b], first, length, out + static_cast<int64_t>(b) * stride + first);
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
  const Threads threads = threads_of(pool).for_work(B * N * W, kWordsPerThread);
  const int64_t tasks = threads.tasks();
  const BitRows bits(*kernels, words.typed_data(), R, C * W);
  if (all) {
    probe_all(bits, programs, C * W, threads, tasks, out->typed_data());
    return ffi::Error::Success();
  }
  parallel_for(threads, std::min(tasks, B * N), [&](int64_t task) {
    const int64_t of = std::min(tasks, B * N);
    for (int64_t probe = B * N * task / of; probe < B * N * (task + 1) / of; ++probe) {
      const int64_t c = clusters.typed_data()[probe];
      uint32_t* to = out->typed_data() + probe * W;
      if (c >= 0 && c < C) {
        bits.evaluate(programs[probe / N], c * W, W, to);
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
