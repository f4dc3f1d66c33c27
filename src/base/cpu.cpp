#include "compress/base/cpu.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "compress/base/error.h"

namespace compress::cpu {

namespace {

Set best() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
    return Set::avx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return Set::avx2;
#endif
  return Set::plain;
}

bool limited = false;  // by the environment

std::atomic<Set>& current() {
  static std::atomic<Set> set{best()};
  return set;
}

void set_variable(const char* variable, const char* value) {
  ::setenv(variable, value, /*overwrite=*/0);
}

}  // namespace

const char* name(Set set) {
  switch (set) {
    case Set::avx512:
      return "avx512";
    case Set::avx2:
      return "avx2";
    default:
      return "plain";
  }
}

std::vector<Set> available() {
  std::vector<Set> all;
  for (Set set : {Set::plain, Set::avx2, Set::avx512})
    if (set <= best()) all.push_back(set);
  return all;
}

Set set() {
  return current().load(std::memory_order_relaxed);
}

bool has_vnni() {
#if defined(__x86_64__)
  return set() == Set::avx512 && __builtin_cpu_supports("avx512vnni");
#else
  return false;
#endif
}

bool has_bf16() {
#if defined(__x86_64__)
  return set() == Set::avx512 && __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

bool has_amx() {
#if defined(__x86_64__)
  unsigned int a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned int amx_bf16 = 1u << 22;  // CPUID leaf 7, EDX
  return !limited && set() == Set::avx512 && __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 &&
         (d & amx_bf16) != 0;
#else
  return false;
#endif
}

Limit::Limit(Set most) : before_(set()) {
  current().store(std::min(most, best()));
}
Limit::~Limit() {
  current().store(before_);
}

void limit_from_environment() {
  const char* given = std::getenv("COMPRESS_CPU");
  const std::string wanted = given == nullptr ? "" : given;
  if (wanted.empty()) return;
  for (Set set : {Set::plain, Set::avx2, Set::avx512}) {
    if (wanted != name(set)) continue;
    if (set > best())
      throw Error(ErrorKind::device, "this processor does not have COMPRESS_CPU=" + wanted, {},
                  std::string("the most that it has is ") + name(best()));
    current().store(set);
    limited = true;
    const bool avx512 = set == Set::avx512, avx2 = set == Set::avx2;
    set_variable("ATEN_CPU_CAPABILITY", avx512 ? "avx512" : avx2 ? "avx2" : "default");
    set_variable("ONEDNN_MAX_CPU_ISA", avx512 ? "AVX512_CORE_BF16" : avx2 ? "AVX2" : "SSE41");
    set_variable("MKL_ENABLE_INSTRUCTIONS", avx512 ? "AVX512" : avx2 ? "AVX2" : "SSE4_2");
    return;
  }
  throw Error(ErrorKind::device, "COMPRESS_CPU is '" + wanted + "'", {},
              "known: avx512, avx2, plain; unset, the processor decides");
}

}  // namespace compress::cpu
