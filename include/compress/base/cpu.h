#pragma once
// Which of the processor's vector instructions this program's kernels use.

#include <string>
#include <vector>

namespace compress::cpu {

// In order: a later set holds the earlier ones. On processors other than x86-64 there is `plain`
// alone, 16-byte vectors of whatever the compiler's target has.
enum class Set {
  plain,   // SSE2
  avx2,    // AVX2 and FMA
  avx512,  // AVX-512 F, BW, VL and DQ; with VNNI and bf16 where the processor has them
};

const char* name(Set set);  // "plain", "avx2", "avx512"

// The sets that this processor can run, lowest first.
std::vector<Set> available();

// The set that kernels use: the processor's best, or what COMPRESS_CPU or a Limit holds it to.
Set set();
// Whether 8-bit integer products (AVX-512 VNNI) and bf16 products (AVX-512 bf16) may be used.
bool has_vnni();
bool has_bf16();
// Whether bf16 products in AMX tiles may be used: a processor that has them, without any limit.
bool has_amx();

// Holds all kernels to a set while it lives, for tests; no more than the processor has. Not for
// several threads at once.
class Limit {
 public:
  explicit Limit(Set most);
  ~Limit();
  Limit(const Limit&) = delete;
  Limit& operator=(const Limit&) = delete;

 private:
  Set before_;
};

// Reads COMPRESS_CPU (avx512, avx2 or plain; unset or empty: no limit), holds the kernels to it,
// and says the same to LibTorch's libraries through their own variables, unless those are set. To
// be called first of all. Error{device} for another value, and for a set that the processor lacks.
void limit_from_environment();

}  // namespace compress::cpu
