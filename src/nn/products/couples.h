#pragma once
// Products of 16-bit integers in the lanes of a register (x86-64).

#include "kernels/simd.h"

#ifdef COMPRESS_X86
#include <immintrin.h>

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

}  // namespace compress::nn::panels

#endif
