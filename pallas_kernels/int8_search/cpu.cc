// `int8_search` for the CPU: the scan of native/search.h with masks that are given.
#include "native/search_ffi.h"

namespace silver {
namespace {

ffi::Error int8_search(ffi::ThreadPool pool, Array<ffi::S8, 3> codes, Array<ffi::F32, 2> scales,
                       Array<ffi::S8, 2> queries, Array<ffi::F32, 1> query_scales,
                       Array<ffi::S32, 2> clusters, Array<ffi::U32, 3> eligible,
                       std::string_view instructions, Out<ffi::F32, 2> scores,
                       Out<ffi::S32, 2> slots) {
  const Kernels* kernels = choose(std::string(instructions).c_str());
  if (!kernels) return no_instructions(instructions);
  Search search = search_over(codes, scales, queries, query_scales, scores, slots);
  search.W = eligible.dimensions()[2];
  search.N = clusters.dimensions()[1];
  search.clusters = clusters.typed_data();
  search.eligible = eligible.typed_data();
  run(search, *kernels, threads_of(pool));
  return ffi::Error::Success();
}

}  // namespace

SILVER_HANDLER(silver_int8_search, int8_search,
               ffi::Ffi::Bind()
                   .Ctx<ffi::ThreadPool>()
                   .Arg<Array<ffi::S8, 3>>()    // codes
                   .Arg<Array<ffi::F32, 2>>()   // scales
                   .Arg<Array<ffi::S8, 2>>()    // queries
                   .Arg<Array<ffi::F32, 1>>()   // query_scales
                   .Arg<Array<ffi::S32, 2>>()   // clusters
                   .Arg<Array<ffi::U32, 3>>()   // eligible
                   .Attr<std::string_view>("instructions")
                   .Ret<Array<ffi::F32, 2>>()   // scores
                   .Ret<Array<ffi::S32, 2>>());  // slots

}  // namespace silver
