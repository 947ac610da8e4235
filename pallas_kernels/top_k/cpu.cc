// `top_k` for the CPU: a threshold instead of a sort.
#include "native/collector.h"
#include "native/ffi.h"

namespace silver {
namespace {

// Values worth waking another thread for.
constexpr int64_t kValuesPerThread = 1 << 16;

ffi::Error top_k(ffi::ThreadPool pool, Array<ffi::F32, 2> values, std::string_view instructions,
                 Out<ffi::F32, 2> best, Out<ffi::S32, 2> indices) {
  const Kernels* kernels = choose(std::string(instructions).c_str());
  if (!kernels) return no_instructions(instructions);
  const int64_t B = values.dimensions()[0], n = values.dimensions()[1];
  const int64_t k = best->dimensions()[1];
  const Threads threads = threads_of(pool).for_work(B * n, kValuesPerThread);
  const int64_t tasks = std::min(B, threads.tasks());
  auto body = [&](int64_t task) {
    for (int64_t b = B * task / tasks; b < B * (task + 1) / tasks; ++b) {
      Collector collector(k, n);
      const float* row = values.typed_data() + b * n;
      collector.take_row(*kernels, row, n);
      int64_t i = b * k;
      for (const uint64_t packed : collector.sorted(*kernels)) {
        // The value itself, not the packed copy: a NaN keeps its bits.
        best->typed_data()[i] = row[Collector::key_of(packed)];
        indices->typed_data()[i++] = static_cast<int32_t>(Collector::key_of(packed));
      }
    }
  };
  parallel_for(threads, tasks, body);
  return ffi::Error::Success();
}

}  // namespace

SILVER_HANDLER(silver_top_k, top_k,
               ffi::Ffi::Bind()
                   .Ctx<ffi::ThreadPool>()
                   .Arg<Array<ffi::F32, 2>>()   // values
                   .Attr<std::string_view>("instructions")
                   .Ret<Array<ffi::F32, 2>>()   // best
                   .Ret<Array<ffi::S32, 2>>());  // indices

}  // namespace silver
