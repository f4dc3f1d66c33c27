#pragma once
// Products of integers in the lanes of a register (x86-64): two 16-bit ones, or four bytes.

#include "kernels/simd.h"

#ifdef COMPRESS_X86
#include <immintrin.h>

#define COMPRESS_TARGET_VNNI \
  __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma")))

namespace compress::nn::panels {

using simd::IntVec;

// The sum of two products of 16-bit numbers in each lane: exact in 32 bits. Inlined into functions
// of the same target.
template <int lanes>
struct Couples;
template <>
struct Couples<4> {
  static inline IntVec<4> multiply(IntVec<4> a, IntVec<4> b) {
    return reinterpret_cast<IntVec<4>>(
        _mm_madd_epi16(reinterpret_cast<__m128i>(a), reinterpret_cast<__m128i>(b)));
  }
};
template <>
struct Couples<8> {
  COMPRESS_TARGET_AVX2 static inline IntVec<8> multiply(IntVec<8> a, IntVec<8> b) {
    return reinterpret_cast<IntVec<8>>(
        _mm256_madd_epi16(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
  }
};
template <>
struct Couples<16> {
  COMPRESS_TARGET_AVX512 static inline IntVec<16> multiply(IntVec<16> a, IntVec<16> b) {
    return reinterpret_cast<IntVec<16>>(
        _mm512_madd_epi16(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
  }
};

// By AVX-512 VNNI, or by AVX-VNNI, in whose encoding only the first 16 registers have names.
enum class Encoding { avx512, avx };

// sum[c] += the sum over 4 inputs of unsigned value * signed weight, without saturation. As
// assembly: around the intrinsic GCC copies each sum twice, and they no longer fit into registers;
// and without a target of its own, so that it can be inlined everywhere.
template <Encoding encoding, int lanes>
COMPRESS_INLINE void add_quads(IntVec<lanes>& sum, IntVec<lanes> value, IntVec<lanes> weight) {
  if constexpr (encoding == Encoding::avx512)
    asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(value), "v"(weight));
  else
    asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(value), "x"(weight));
}

}  // namespace compress::nn::panels

#endif
