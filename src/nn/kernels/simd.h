#pragma once
// Small kernels in GCC's vector extensions, for registers of 4, 8 or 16 floats
// (compress/base/kernel.h). Everything here is forced inline into such kernels, and compiles
// without LibTorch.

#include <cstdint>
#include <cstring>

#include "compress/base/hash.h"
#include "compress/base/kernel.h"

namespace compress::nn::simd {

// Rows of working memory are padded to multiples of this many floats, whatever a register holds.
constexpr int64_t padding = 16;

// Registers of `lanes` floats, and of as many integers.
template <int lanes>
struct Register {
  typedef float Floats __attribute__((vector_size(4 * lanes)));
  typedef int32_t Integers __attribute__((vector_size(4 * lanes)));
};
template <int lanes>
using Vec = typename Register<lanes>::Floats;
template <int lanes>
using IntVec = typename Register<lanes>::Integers;
template <class V>
constexpr int lanes_of = sizeof(V) / sizeof(float);

template <class V>
COMPRESS_INLINE V load(const float* p) {
  V v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
template <class V>
COMPRESS_INLINE void store(float* p, V v) {
  std::memcpy(p, &v, sizeof v);
}
template <class V>
COMPRESS_INLINE V splat(float x) {
  return x - V{};
}
// The lanes' sum, in order.
template <class V>
COMPRESS_INLINE float sum(V v) {
  float total = 0;
  for (int l = 0; l < lanes_of<V>; ++l) total += v[l];
  return total;
}
template <class V>
COMPRESS_INLINE float largest(V v) {
  float most = v[0];
  for (int l = 1; l < lanes_of<V>; ++l) most = v[l] > most ? v[l] : most;
  return most;
}

// v as it is, but a product stays rounded: it does not become part of a fused multiply-add.
template <class V>
COMPRESS_INLINE V rounded(V v) {
#if defined(__x86_64__)
  asm("" : "+x"(v));
#elif defined(__aarch64__)
  asm("" : "+w"(v));
#endif
  return v;
}

// exp(x) for x <= 0, relative error below 3e-7; 0 below -87.
template <class V>
COMPRESS_INLINE V exp_negative(V x) {
  using I = IntVec<lanes_of<V>>;
  const V clamped = x < -87.0f ? splat<V>(-87.0f) : x;
  const V scaled = clamped * 1.44269504088896341f;
  // Truncation of a value <= 0: nearest below or at.
  const I whole = __builtin_convertvector(scaled - 0.5f, I);
  const V n = __builtin_convertvector(whole, V);
  V r = clamped - n * 0.693145751953125f;
  r = r - n * 1.428606765330187045e-6f;
  V p = splat<V>(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const I power = (whole + 127) << 23;
  V factor;
  std::memcpy(&factor, &power, sizeof factor);
  const V result = p * factor;
  return x < -87.0f ? V{} : result;
}

// Registers of sums beside each other: 16 registers hold six rows of two; of 32, six of one
// measured best in training's products.
constexpr int vectors_of(int lanes) {
  return lanes == 16 ? 1 : 2;
}

// C[m][n] = A B (or += with `add`): A element (i, k) at a[i * a_row + k * a_col], B and C row-major
// with leading dimensions ldb and ldc; n is a multiple of `vectors` registers.
template <int lanes, int rows, int vectors>
COMPRESS_INLINE void multiply_rows(int64_t n, int64_t k, const float* a, int64_t a_row,
                                   int64_t a_col, const float* b, int64_t ldb, float* c,
                                   int64_t ldc, bool add) {
  using V = Vec<lanes>;
  for (int64_t j = 0; j < n; j += vectors * lanes) {
    V sum[rows][vectors];
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v)
        sum[r][v] = add ? load<V>(c + r * ldc + j + v * lanes) : V{};
    for (int64_t p = 0; p < k; ++p) {
      V bv[vectors];
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) bv[v] = load<V>(b + p * ldb + j + v * lanes);
#pragma GCC unroll 8
      for (int r = 0; r < rows; ++r) {
        const float value = a[r * a_row + p * a_col];
#pragma GCC unroll 2
        for (int v = 0; v < vectors; ++v) sum[r][v] += value * bv[v];
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) store(c + r * ldc + j + v * lanes, sum[r][v]);
  }
}
template <int lanes, int vectors = vectors_of(lanes)>
COMPRESS_INLINE void multiply(int64_t m, int64_t n, int64_t k, const float* a, int64_t a_row,
                              int64_t a_col, const float* b, int64_t ldb, float* c, int64_t ldc,
                              bool add = false) {
  int64_t i = 0;
  for (; i + 6 <= m; i += 6)
    multiply_rows<lanes, 6, vectors>(n, k, a + i * a_row, a_row, a_col, b, ldb, c + i * ldc, ldc,
                                     add);
  const float* rest = a + i * a_row;
  float* to = c + i * ldc;
  switch (m - i) {
    case 5:
      return multiply_rows<lanes, 5, vectors>(n, k, rest, a_row, a_col, b, ldb, to, ldc, add);
    case 4:
      return multiply_rows<lanes, 4, vectors>(n, k, rest, a_row, a_col, b, ldb, to, ldc, add);
    case 3:
      return multiply_rows<lanes, 3, vectors>(n, k, rest, a_row, a_col, b, ldb, to, ldc, add);
    case 2:
      return multiply_rows<lanes, 2, vectors>(n, k, rest, a_row, a_col, b, ldb, to, ldc, add);
    case 1:
      return multiply_rows<lanes, 1, vectors>(n, k, rest, a_row, a_col, b, ldb, to, ldc, add);
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

}  // namespace compress::nn::simd
