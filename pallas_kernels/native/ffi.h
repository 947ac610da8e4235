// What the handlers of the ops share.
#pragma once

#include <string>
#include <string_view>

#include "kernels.h"
#include "parallel.h"
#include "xla/ffi/api/ffi.h"

namespace silver {

namespace ffi = xla::ffi;

template <ffi::DataType dtype, size_t rank>
using Array = ffi::Buffer<dtype, rank>;
template <ffi::DataType dtype, size_t rank>
using Out = ffi::Result<ffi::Buffer<dtype, rank>>;

inline Threads threads_of(ffi::ThreadPool& pool) {
  return {std::max<int64_t>(1, pool.num_threads()),
          [&pool](std::function<void()> task) { pool.Schedule(std::move(task)); }};
}

inline ffi::Error no_instructions(std::string_view name) {
  return ffi::Error::InvalidArgument("this CPU or this build lacks the instruction set '" +
                                     std::string(name) + "'; unset PALLAS_KERNELS_CPU");
}

}  // namespace silver

// Handlers are found by name in the library, whatever the visibility of the rest. The binding comes
// last because it holds commas.
#define SILVER_HANDLER(name, function, ...)                                                  \
  extern "C" __attribute__((visibility("default"))) XLA_FFI_Error* name(XLA_FFI_CallFrame*); \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(name, function, (__VA_ARGS__))
