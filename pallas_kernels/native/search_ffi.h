// What the handlers of both scans read in the same way.
#pragma once

#include "ffi.h"
#include "search.h"

namespace silver {

inline Search search_over(Array<ffi::S8, 3> codes, Array<ffi::F32, 2> scales,
                          Array<ffi::S8, 2> queries, Array<ffi::F32, 1> query_scales,
                          Out<ffi::F32, 2> scores, Out<ffi::S32, 2> slots) {
  Search search;
  search.C = codes.dimensions()[0];
  search.S = codes.dimensions()[1];
  search.D = codes.dimensions()[2];
  search.codes = codes.typed_data();
  search.scales = scales.typed_data();
  search.B = queries.dimensions()[0];
  search.queries = queries.typed_data();
  search.query_scales = query_scales.typed_data();
  search.k = scores->dimensions()[1];
  search.scores = scores->typed_data();
  search.slots = slots->typed_data();
  return search;
}

}  // namespace silver
