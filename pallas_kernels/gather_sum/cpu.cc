// `gather_sum` for the CPU: threads take the requests of a batch in turn.
#include <vector>

#include "native/ffi.h"

namespace silver {
namespace {

// Products worth waking another thread for.
constexpr int64_t kProductsPerThread = 1 << 20;

ffi::Error gather_sum(ffi::ThreadPool pool, Array<ffi::S8, 3> codes, Array<ffi::F32, 2> scales,
                      Array<ffi::S32, 2> rows, Array<ffi::F32, 3> weights,
                      std::string_view instructions, Out<ffi::F32, 4> out) {
  const Kernels* kernels = choose(std::string(instructions).c_str());
  if (!kernels) return no_instructions(instructions);
  const auto sizes = out->dimensions();
  const int64_t B = sizes[0], G = sizes[1], V = sizes[2], M = sizes[3];
  const int64_t H = rows.dimensions()[1];
  const CodeTable table{codes.typed_data(), scales.typed_data(), codes.dimensions()[0], G, M};
  const Threads threads = threads_of(pool).for_work(B * H * G * V * M, kProductsPerThread);
  parallel_for(threads, B, [&](int64_t b) {
    std::vector<float> room(H * M);
    kernels->gather_sum(table, rows.typed_data() + b * H, H, weights.typed_data() + b * V * H, V,
                        room.data(), out->typed_data() + b * G * V * M);
  });
  return ffi::Error::Success();
}

}  // namespace

SILVER_HANDLER(silver_gather_sum, gather_sum,
               ffi::Ffi::Bind()
                   .Ctx<ffi::ThreadPool>()
                   .Arg<Array<ffi::S8, 3>>()    // codes
                   .Arg<Array<ffi::F32, 2>>()   // scales
                   .Arg<Array<ffi::S32, 2>>()   // rows
                   .Arg<Array<ffi::F32, 3>>()   // weights
                   .Attr<std::string_view>("instructions")
                   .Ret<Array<ffi::F32, 4>>());  // out

}  // namespace silver
