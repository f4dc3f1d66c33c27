#include "compress/base/cpu.h"

#include <atomic>
#include <cstdlib>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "compress/base/error.h"

namespace compress::cpu {

namespace {

constexpr Set all[] = {Set::plain, Set::dotprod, Set::avx2, Set::avxvnni, Set::avx512, Set::amx};

#if defined(__x86_64__)

struct Registers {
  unsigned int a = 0, b = 0, c = 0, d = 0;
};
Registers leaf_7(unsigned int subleaf) {
  Registers r;
  return __get_cpuid_count(7, subleaf, &r.a, &r.b, &r.c, &r.d) != 0 ? r : Registers();
}

// Linux gives the state of tiles to a process that asks for it, for all its threads.
bool tiles_permitted() {
#if defined(__linux__)
  constexpr int request_permission = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM
  static const bool permitted = ::syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
  return permitted;
#else
  return false;
#endif
}

bool has_set(Set set) {
  constexpr unsigned int avx_vnni = 1u << 4;                        // leaf 7.1, EAX
  constexpr unsigned int amx_tile = 1u << 24, amx_int8 = 1u << 25;  // leaf 7, EDX
  __builtin_cpu_init();
  switch (set) {
    case Set::plain:
      return true;
    case Set::dotprod:
      return false;
    case Set::avx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case Set::avxvnni:
      return has_set(Set::avx2) && (leaf_7(1).a & avx_vnni) != 0;
    case Set::avx512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    case Set::amx:
      return has_set(Set::avx512) && __builtin_cpu_supports("avx512vnni") &&
             (leaf_7(0).d & amx_tile) != 0 && (leaf_7(0).d & amx_int8) != 0 && tiles_permitted();
  }
  return false;
}

#elif defined(__aarch64__) && defined(__linux__)

bool has_set(Set set) {
  return set == Set::plain || (set == Set::dotprod && (::getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0);
}

#else

bool has_set(Set set) {
  return set == Set::plain;
}

#endif

Set best(Set most = Set::amx) {
  Set found = Set::plain;
  for (Set set : all)
    if (set <= most && has_set(set)) found = set;
  return found;
}

std::atomic<Set>& current() {
  static std::atomic<Set> set{best()};
  return set;
}

void set_variable(const char* variable, const char* value) {
  ::setenv(variable, value, /*overwrite=*/0);
}

// What LibTorch's libraries call the most that a set allows; null: no limit.
struct Names {
  const char *aten, *onednn, *mkl;
};
Names names_of(Set set) {
  switch (set) {
    case Set::amx:
      return {"avx512", nullptr, nullptr};
    case Set::avx512:
      return {"avx512", "AVX512_CORE_BF16", "AVX512"};
    case Set::avxvnni:
      return {"avx2", "AVX2_VNNI", "AVX2"};
    case Set::avx2:
      return {"avx2", "AVX2", "AVX2"};
    default:
      return {"default", "SSE41", "SSE4_2"};
  }
}

}  // namespace

const char* name(Set set) {
  switch (set) {
    case Set::plain:
      return "plain";
    case Set::dotprod:
      return "dotprod";
    case Set::avx2:
      return "avx2";
    case Set::avxvnni:
      return "avxvnni";
    case Set::avx512:
      return "avx512";
    case Set::amx:
      return "amx";
  }
  return "";
}

std::vector<Set> available() {
  std::vector<Set> found;
  for (Set set : all)
    if (has_set(set)) found.push_back(set);
  return found;
}

bool was_run([[maybe_unused]] Set set) {
#if defined(__x86_64__)
  return set != Set::dotprod;
#else
  return false;
#endif
}

Set set() {
  return current().load(std::memory_order_relaxed);
}

Set float_set() {
  const Set now = set();
  return now >= Set::avx512 ? Set::avx512 : now >= Set::avx2 ? Set::avx2 : Set::plain;
}

bool has_vnni() {
#if defined(__x86_64__)
  return set() >= Set::avx512 && __builtin_cpu_supports("avx512vnni");
#else
  return false;
#endif
}

bool has_bf16() {
#if defined(__x86_64__)
  return set() >= Set::avx512 && __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

bool has_amx() {
#if defined(__x86_64__)
  constexpr unsigned int amx_bf16 = 1u << 22;  // leaf 7, EDX
  return set() == Set::amx && (leaf_7(0).d & amx_bf16) != 0;
#else
  return false;
#endif
}

Limit::Limit(Set most) : before_(set()) {
  current().store(best(most));
}
Limit::~Limit() {
  current().store(before_);
}

void limit_from_environment() {
  const char* given = std::getenv("COMPRESS_CPU");
  const std::string wanted = given == nullptr ? "" : given;
  if (wanted.empty()) return;
  std::string known;
  for (Set set : all) {
    known += std::string(known.empty() ? "" : ", ") + name(set);
    if (wanted != name(set)) continue;
    if (!has_set(set))
      throw Error(ErrorKind::device, "this processor does not have COMPRESS_CPU=" + wanted, {},
                  std::string("the most that it has is ") + name(best()));
    current().store(set);
    const Names names = names_of(set);
    set_variable("ATEN_CPU_CAPABILITY", names.aten);
    if (names.onednn != nullptr) set_variable("ONEDNN_MAX_CPU_ISA", names.onednn);
    if (names.mkl != nullptr) set_variable("MKL_ENABLE_INSTRUCTIONS", names.mkl);
    return;
  }
  throw Error(ErrorKind::device, "COMPRESS_CPU is '" + wanted + "'", {},
              "known: " + known + "; unset, the processor decides");
}

}  // namespace compress::cpu
