// `affinity` for the CPU: words of 32 centroids, which threads take in turn, for all queries.
#include <limits>
#include <vector>

#include "native/codes.h"
#include "native/ffi.h"

namespace silver {
namespace {

// Bytes of centroids, times queries, worth waking another thread for.
constexpr int64_t kBytesPerThread = 4 << 20;

ffi::Error affinity(ffi::ThreadPool pool, Array<ffi::S8, 2> centroids, Array<ffi::F32, 1> scales,
                    Array<ffi::F32, 1> radii, Array<ffi::S8, 2> queries,
                    Array<ffi::F32, 1> query_scales, Array<ffi::F32, 1> along, int64_t reach,
                    std::string_view instructions, Out<ffi::F32, 2> reached,
                    Out<ffi::F32, 2> spread) {
  const Kernels* kernels = choose(std::string(instructions).c_str());
  if (!kernels) return no_instructions(instructions);
  const int64_t C = centroids.dimensions()[0], D = centroids.dimensions()[1];
  const int64_t B = queries.dimensions()[0];
  if (B == 0) return ffi::Error::Success();
  const Codes codes(queries.typed_data(), B, D);
  const int64_t words = (C + kWord - 1) / kWord;
  const Threads threads = threads_of(pool).for_work(B * C * D, kBytesPerThread);
  const int64_t tasks = std::min(words, threads.tasks());
  parallel_for(threads, tasks, [&](int64_t task) {
    std::vector<uint8_t> room(kernels->scratch_bytes(D) + 64);
    uint8_t* scratch = room.data() + (-reinterpret_cast<uintptr_t>(room.data()) & 63);
    std::vector<Job> jobs(B);
    for (int64_t b = 0; b < B; ++b) {
      jobs[b].query = &codes[b];
      jobs[b].scale = query_scales.typed_data()[b];
      jobs[b].threshold = -std::numeric_limits<float>::infinity();
    }
    std::vector<float> means(B * kWord);
    for (int64_t word = words * task / tasks; word < words * (task + 1) / tasks; ++word) {
      const int64_t c = word * kWord;
      const auto count = static_cast<int>(std::min<int64_t>(kWord, C - c));
      for (Job& job : jobs) job.mask = ~0u >> (kWord - count);
      kernels->score({centroids.typed_data() + c * D, D, count}, scales.typed_data() + c,
                     jobs.data(), static_cast<int>(B), scratch, means.data());
      for (int64_t b = 0; b < B; ++b) {
        kernels->reach(means.data() + b * kWord, radii.typed_data() + c, count,
                       along.typed_data()[b], static_cast<float>(reach),
                       reached->typed_data() + b * C + c, spread->typed_data() + b * C + c);
      }
    }
  });
  return ffi::Error::Success();
}

}  // namespace

SILVER_HANDLER(silver_affinity, affinity,
               ffi::Ffi::Bind()
                   .Ctx<ffi::ThreadPool>()
                   .Arg<Array<ffi::S8, 2>>()    // centroids
                   .Arg<Array<ffi::F32, 1>>()   // scales
                   .Arg<Array<ffi::F32, 1>>()   // radii
                   .Arg<Array<ffi::S8, 2>>()    // queries
                   .Arg<Array<ffi::F32, 1>>()   // query_scales
                   .Arg<Array<ffi::F32, 1>>()   // along
                   .Attr<int64_t>("reach")
                   .Attr<std::string_view>("instructions")
                   .Ret<Array<ffi::F32, 2>>()    // affinity
                   .Ret<Array<ffi::F32, 2>>());  // spread

}  // namespace silver
