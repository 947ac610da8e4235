// `gather_dot` for the CPU: a batch is cut into runs of rows, which threads take in turn.
#include "native/ffi.h"
#include "native/gather.h"

namespace silver {
namespace {

// Rows of a task: enough that asking for them ahead pays, and that the vectors are made ready once.
constexpr int64_t kRowsPerTask = 256;
// Codes worth waking another thread for.
constexpr int64_t kCodesPerThread = 1 << 20;

ffi::Error gather_dot(ffi::ThreadPool pool, Array<ffi::S8, 3> codes, Array<ffi::F32, 2> scales,
                      Array<ffi::S32, 2> rows, Array<ffi::S8, 4> vectors,
                      Array<ffi::F32, 3> vector_scales, std::string_view instructions,
                      Out<ffi::F32, 4> out) {
  const Kernels* kernels = choose(std::string(instructions).c_str());
  if (!kernels) return no_instructions(instructions);
  const auto sizes = vectors.dimensions();
  const int64_t B = sizes[0], G = sizes[1], V = sizes[2], M = sizes[3];
  const int64_t K = rows.dimensions()[1];
  const CodeTable table{codes.typed_data(), scales.typed_data(), codes.dimensions()[0], G, M};
  const int64_t runs = (K + kRowsPerTask - 1) / kRowsPerTask;
  const Threads threads = threads_of(pool).for_work(B * K * G * V * M, kCodesPerThread);
  parallel_for(threads, B * runs, [&](int64_t task) {
    const int64_t b = task / runs, first = task % runs * kRowsPerTask;
    const Codes ready(vectors.typed_data() + b * G * V * M, G * V, M);
    gather_dots(*kernels, table, rows.typed_data() + b * K + first,
                std::min(kRowsPerTask, K - first), ready, vector_scales.typed_data() + b * G * V, V,
                out->typed_data() + b * G * V * K + first, K);
  });
  return ffi::Error::Success();
}

}  // namespace

SILVER_HANDLER(silver_gather_dot, gather_dot,
               ffi::Ffi::Bind()
                   .Ctx<ffi::ThreadPool>()
                   .Arg<Array<ffi::S8, 3>>()    // codes
                   .Arg<Array<ffi::F32, 2>>()   // scales
                   .Arg<Array<ffi::S32, 2>>()   // rows
                   .Arg<Array<ffi::S8, 4>>()    // vectors
                   .Arg<Array<ffi::F32, 3>>()   // vector_scales
                   .Attr<std::string_view>("instructions")
                   .Ret<Array<ffi::F32, 4>>());  // out

}  // namespace silver
