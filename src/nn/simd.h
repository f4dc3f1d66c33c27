#pragma once
// Small kernels in GCC's vector extensions, compiled for several instruction sets and chosen at run
// time. Everything here is forced inline into functions marked COMPRESS_CLONES.

#include <ATen/ATen.h>
#include <c10/util/BFloat16.h>

#include <cstdint>
#include <cstring>

#include "compress/base/clones.h"
#include "compress/base/hash.h"

// The vectors never cross a call: everything is inlined.
#pragma GCC diagnostic ignored "-Wpsabi"

namespace compress::nn::simd {

constexpr int64_t lanes = 16;
typedef float Vec __attribute__((vector_size(64)));
typedef int32_t IntVec __attribute__((vector_size(64)));
// Half of a Vec, for shuffles: those of larger vectors are slow where registers hold 8 floats.
typedef float Eight __attribute__((vector_size(32)));
typedef int32_t IntEight __attribute__((vector_size(32)));

COMPRESS_INLINE Vec load(const float* p) {
  Vec v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
COMPRESS_INLINE void store(float* p, Vec v) {
  std::memcpy(p, &v, sizeof v);
}
COMPRESS_INLINE Vec splat(float x) {
  return x - Vec{};
}

COMPRESS_INLINE float to_float(float x) {
  return x;
}
COMPRESS_INLINE float to_float(c10::BFloat16 x) {
  uint32_t bits = static_cast<uint32_t>(x.x) << 16;
  float out;
  std::memcpy(&out, &bits, 4);
  return out;
}
COMPRESS_INLINE void from_float(float x, float& out) {
  out = x;
}
// Round to nearest even; a NaN stays one.
COMPRESS_INLINE void from_float(float x, c10::BFloat16& out) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  uint32_t rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
  out.x = static_cast<uint16_t>((bits & 0x7FFFFFFFu) > 0x7F800000u ? 0x7FC0u : rounded);
}

// exp(x) for x <= 0, relative error below 3e-7; 0 below -87.
COMPRESS_INLINE Vec exp_negative(Vec x) {
  Vec clamped = x < -87.0f ? splat(-87.0f) : x;
  Vec scaled = clamped * 1.44269504088896341f;
  IntVec whole = __builtin_convertvector(
      scaled - 0.5f, IntVec);  // truncation of a value <= 0: nearest below or at
  Vec n = __builtin_convertvector(whole, Vec);
  Vec r = clamped - n * 0.693145751953125f;
  r = r - n * 1.428606765330187045e-6f;
  Vec p = splat(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  IntVec power = (whole + 127) << 23;
  Vec factor;
  std::memcpy(&factor, &power, sizeof factor);
  Vec result = p * factor;
  return x < -87.0f ? Vec{} : result;
}

// C[m][n] = A B (or += with `add`): A element (i, k) at a[i * a_row + k * a_col], B and C row-major
// with leading dimensions ldb and ldc; n is a multiple of `lanes`.
template <int rows>
COMPRESS_INLINE void multiply_rows(int64_t n, int64_t k, const float* a, int64_t a_row,
                                   int64_t a_col, const float* b, int64_t ldb, float* c,
                                   int64_t ldc, bool add) {
  for (int64_t j = 0; j < n; j += lanes) {
    Vec sum[rows];
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) sum[r] = add ? load(c + r * ldc + j) : Vec{};
    for (int64_t p = 0; p < k; ++p) {
      Vec bv = load(b + p * ldb + j);
#pragma GCC unroll 8
      for (int r = 0; r < rows; ++r) sum[r] += a[r * a_row + p * a_col] * bv;
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) store(c + r * ldc + j, sum[r]);
  }
}
COMPRESS_INLINE void multiply(int64_t m, int64_t n, int64_t k, const float* a, int64_t a_row,
                              int64_t a_col, const float* b, int64_t ldb, float* c, int64_t ldc,
                              bool add = false) {
  int64_t i = 0;
  for (; i + 6 <= m; i += 6)
    multiply_rows<6>(n, k, a + i * a_row, a_row, a_col, b, ldb, c + i * ldc, ldc, add);
  const float* rest = a + i * a_row;
  float* to = c + i * ldc;
  switch (m - i) {
    case 5:
      return multiply_rows<5>(n, k, rest, a_row, a_col, b, ldb, to, ldc, add);
    case 4:
      return multiply_rows<4>(n, k, rest, a_row, a_col, b, ldb, to, ldc, add);
    case 3:
      return multiply_rows<3>(n, k, rest, a_row, a_col, b, ldb, to, ldc, add);
    case 2:
      return multiply_rows<2>(n, k, rest, a_row, a_col, b, ldb, to, ldc, add);
    case 1:
      return multiply_rows<1>(n, k, rest, a_row, a_col, b, ldb, to, ldc, add);
  }
}

// 16-bit random lanes of elements 4 * block .. 4 * block + 3 of the stream `seed`.
COMPRESS_INLINE uint64_t random_block(uint64_t seed, uint64_t block) {
  return mix64(seed ^ (block * 0xD1B54A32D192ED03ull));
}
// The lanes of `count` elements (a multiple of 4) from element 4 * block of the stream on.
template <int64_t count>
COMPRESS_INLINE void random_lanes(uint64_t seed, uint64_t block, uint16_t* lane) {
  uint64_t words[count / 4];
  for (int64_t i = 0; i < count / 4; ++i)
    words[i] = random_block(seed, block + static_cast<uint64_t>(i));
  std::memcpy(lane, words, sizeof words);
}
// An element is dropped when its lane is below this.
COMPRESS_INLINE uint32_t drop_threshold(double p) {
  return static_cast<uint32_t>(p * 65536.0 + 0.5);
}

// Calls work(value of the element type) for the two types that have kernels.
template <class Work>
void dispatch(c10::ScalarType type, const Work& work) {
  if (type == c10::ScalarType::BFloat16)
    work(c10::BFloat16());
  else
    work(float());
}

}  // namespace compress::nn::simd
