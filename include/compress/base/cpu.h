#pragma once
// Which of the processor's vector instructions this program's kernels use.

#include <string>
#include <vector>

namespace compress::cpu {

// In order of preference; a processor need not have all that stand before its best one. Float32
// kernels know plain, avx2 and avx512 only (float_set()); the others add products of bytes.
enum class Set {
  plain,  // SSE2 on x86-64, NEON on aarch64: 16-byte vectors of whatever the compiler's target has
  dotprod,  // aarch64: plain and the dot products of ARMv8.2
  avx2,     // AVX2 and FMA
  avxvnni,  // avx2 and AVX-VNNI
  avx512,   // AVX-512 F, BW, VL and DQ; with VNNI and bf16 where the processor has them
  amx,      // avx512 with VNNI, and AMX tiles of bytes that the system lets us use
};

const char* name(Set set);  // "plain", "dotprod", "avx2" ...

// The sets that this processor can run, in order.
std::vector<Set> available();
// Whether kernels of the set were ever tested on a processor, not under emulation alone.
bool was_run(Set set);

// The set that kernels use: the processor's best, or what COMPRESS_CPU or a Limit holds it to.
Set set();
// plain, avx2 or avx512: that of float32 kernels.
Set float_set();
// Whether 8-bit integer products (AVX-512 VNNI) and bf16 products (AVX-512 bf16) may be used.
bool has_vnni();
bool has_bf16();
// Whether bf16 products in AMX tiles may be used.
bool has_amx();

// Holds all kernels to a set while it lives, for tests; the best that the processor has up to it.
// Not for several threads at once.
class Limit {
 public:
  explicit Limit(Set most);
  ~Limit();
  Limit(const Limit&) = delete;
  Limit& operator=(const Limit&) = delete;

 private:
  Set before_;
};

// Reads COMPRESS_CPU (the name of a set; unset or empty: no limit), holds the kernels to it,
// and says the same to LibTorch's libraries through their own variables, unless those are set. To
// be called first of all. Error{device} for another value, and for a set that the processor lacks.
void limit_from_environment();

}  // namespace compress::cpu
