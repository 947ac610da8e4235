// `filtered_search` for the CPU: eligibility, scores, exact check and top k in one scan.
#include "native/search_ffi.h"

namespace silver {
namespace {

ffi::Error filtered_search(ffi::ThreadPool pool, Array<ffi::S8, 3> codes, Array<ffi::F32, 2> scales,
                           Array<ffi::U32, 3> words, Array<ffi::S8, 2> queries,
                           Array<ffi::F32, 1> query_scales, Array<ffi::F32, 2> affinity,
                           Array<ffi::S32, 3> rows, Array<ffi::S32, 2> modes,
                           Array<ffi::S32, 2> program, Array<ffi::S32, 3> spans,
                           Array<ffi::S32, 1> terms,
                           Array<ffi::S32, 2> leaf_terms, Array<ffi::PRED, 2> negated,
                           Array<ffi::PRED, 1> decided, Array<ffi::S32, 2> excluded,
                           Array<ffi::F32, 2> spread, Array<ffi::S32, 1> tail,
                           Array<ffi::S32, 2> names, int64_t probes,
                           int64_t most, int64_t allowed, bool filters, bool reaches, bool checks,
                           std::string_view instructions,
                           Out<ffi::F32, 2> scores, Out<ffi::S32, 2> slots,
                           Out<ffi::S32, 1> live, Out<ffi::S32, 1> eligible) {
  const Kernels* kernels = choose(std::string(instructions).c_str());
  if (!kernels) return no_instructions(instructions);
  Search search = search_over(codes, scales, queries, query_scales, scores, slots);
  search.R = words.dimensions()[0];
  search.W = words.dimensions()[2];
  search.words = words.typed_data();
  search.N = probes;
  search.affinity = affinity.typed_data();
  search.most = most;
  if (reaches) search.spread = spread.typed_data();
  search.tail = tail.typed_data();
  search.allowed = allowed;
  if (names.element_count() > 0) search.names = names.typed_data();
  const PlanArrays plan{rows.typed_data(),    modes.typed_data(),   program.typed_data(),
                        rows.dimensions()[1], rows.dimensions()[2], program.dimensions()[1]};
  if (filters) {
    if (const std::string what = complaint(plan, search.B); !what.empty()) {
      return ffi::Error::InvalidArgument(what);
    }
    search.plan = &plan;
  }
  const ExactArrays exact{spans.typed_data(),    terms.typed_data(),
                          leaf_terms.typed_data(), negated.typed_data(),
                          decided.typed_data(),  terms.dimensions()[0],
                          leaf_terms.dimensions()[1]};
  if (checks) search.exact = &exact;
  search.X = excluded.dimensions()[1];
  if (search.X > 0) search.excluded = excluded.typed_data();
  search.live_count = live->typed_data();
  search.eligible_count = eligible->typed_data();
  run(search, *kernels, threads_of(pool));
  return ffi::Error::Success();
}

}  // namespace

SILVER_HANDLER(silver_filtered_search, filtered_search,
               ffi::Ffi::Bind()
                   .Ctx<ffi::ThreadPool>()
                   .Arg<Array<ffi::S8, 3>>()    // codes
                   .Arg<Array<ffi::F32, 2>>()   // scales
                   .Arg<Array<ffi::U32, 3>>()   // words
                   .Arg<Array<ffi::S8, 2>>()    // queries
                   .Arg<Array<ffi::F32, 1>>()   // query_scales
                   .Arg<Array<ffi::F32, 2>>()   // affinity
                   .Arg<Array<ffi::S32, 3>>()   // plan.rows
                   .Arg<Array<ffi::S32, 2>>()   // plan.modes
                   .Arg<Array<ffi::S32, 2>>()   // plan.program
                   .Arg<Array<ffi::S32, 3>>()   // exact.spans
                   .Arg<Array<ffi::S32, 1>>()   // exact.terms
                   .Arg<Array<ffi::S32, 2>>()   // exact.leaf_terms
                   .Arg<Array<ffi::PRED, 2>>()  // exact.negated
                   .Arg<Array<ffi::PRED, 1>>()  // exact.decided
                   .Arg<Array<ffi::S32, 2>>()   // excluded
                   .Arg<Array<ffi::F32, 2>>()   // spread
                   .Arg<Array<ffi::S32, 1>>()   // tail
                   .Arg<Array<ffi::S32, 2>>()   // names
                   .Attr<int64_t>("probes")
                   .Attr<int64_t>("most")
                   .Attr<int64_t>("allowed")
                   .Attr<bool>("filters")
                   .Attr<bool>("reaches")
                   .Attr<bool>("checks")
                   .Attr<std::string_view>("instructions")
                   .Ret<Array<ffi::F32, 2>>()   // scores
                   .Ret<Array<ffi::S32, 2>>()   // slots
                   .Ret<Array<ffi::S32, 1>>()   // live
                   .Ret<Array<ffi::S32, 1>>());  // eligible

}  // namespace silver
