// `bloom_probe` for the CPU.
#include <vector>

#include "native/ffi.h"
#include "native/program.h"

namespace silver {
namespace {

// Queries whose programs run over one cluster while its bit rows are in the cache.
constexpr int64_t kQueries = 32;
// Words of answer worth waking another thread for.
constexpr int64_t kWordsPerThread = 1 << 14;

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
  auto body = [&](int64_t task) {
    const int64_t end = N * (task + 1) / tasks;
    for (int64_t b0 = 0; b0 < B; b0 += kQueries) {
      for (int64_t n = N * task / tasks; n < end; ++n) {
        for (int64_t b = b0; b < std::min(B, b0 + kQueries); ++b) {
          const int64_t c = all ? n : clusters.typed_data()[b * N + n];
          uint32_t* to = out->typed_data() + (b * N + n) * W;
          if (c < 0 || c >= C) {
            std::fill(to, to + W, 0u);
            continue;
          }
          const Program& one = programs[b];
          kernels->evaluate(one.steps.data(), static_cast<int64_t>(one.steps.size()),
                            one.rows.data(), words.typed_data() + c * R * W, W, to);
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
