#include "kernels.h"

#include <cstring>

namespace silver {
namespace {

bool runs(const Kernels& kernels) {
#if defined(__x86_64__)
  if (&kernels == &kAvx512) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni");
  }
  if (&kernels == &kAvx2) return __builtin_cpu_supports("avx2");
#endif
  return &kernels == &kPortable;
}

const Kernels* const kBestFirst[] = {
#if defined(__x86_64__)
    &kAvx512, &kAvx2,
#endif
    &kPortable};

}  // namespace

const Kernels* choose(const char* name) {
  for (const Kernels* kernels : kBestFirst) {
    if (runs(*kernels) && (!*name || !std::strcmp(name, kernels->name))) return kernels;
  }
  return nullptr;
}

}  // namespace silver

// For the Python side: whether this CPU and this build have the instruction set of this name.
extern "C" __attribute__((visibility("default"))) int silver_cpu_runs(const char* name) {
  return silver::choose(name) != nullptr;
}
