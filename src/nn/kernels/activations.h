#pragma once
// Activation functions of a register, to be inlined into kernels.

#include "kernels/simd.h"

namespace compress::nn::simd {

template <class V>
COMPRESS_INLINE V magnitude(V x) {
  return x < 0.0f ? -x : x;
}

// The normal distribution function, absolute error below 1e-7; `density` receives exp(-x^2 / 2).
// erf by Abramowitz and Stegun 7.1.26.
template <class V>
COMPRESS_INLINE V normal_below(V x, V& density) {
  const V z = magnitude(x) * 0.70710678118654752f;
  const V t = 1.0f / (z * 0.3275911f + 1.0f);
  V p = t * 1.061405429f - 1.453152027f;
  p = p * t + 1.421413741f;
  p = p * t - 0.284496736f;
  p = p * t + 0.254829592f;
  density = exp_negative(-z * z);
  const V half = p * t * density * 0.5f;  // half of 1 - erf(z)
  return x < 0.0f ? half : 1.0f - half;
}

// 1 / (1 + exp(-x))
template <class V>
COMPRESS_INLINE V logistic(V x) {
  const V e = exp_negative(-magnitude(x));
  return (x < 0.0f ? e : splat<V>(1.0f)) / (1.0f + e);
}

// Each: value() and the slope there.
struct Gelu {  // 0.5 x (1 + erf(x / sqrt 2))
  template <class V>
  static COMPRESS_INLINE V value(V x, V& slope) {
    V density;
    const V below = normal_below(x, density);
    slope = below + x * density * 0.39894228040143268f;
    return x * below;
  }
};
struct GeluTanh {  // 0.5 x (1 + tanh(u)) = x logistic(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3)
  template <class V>
  static COMPRESS_INLINE V value(V x, V& slope) {
    constexpr float twice = 1.5957691216057308f;
    const V square = x * x;
    const V s = logistic(x * (square * (0.044715f * twice) + twice));
    slope = s + x * s * (1.0f - s) * (square * (3 * 0.044715f * twice) + twice);
    return x * s;
  }
};
struct Silu {
  template <class V>
  static COMPRESS_INLINE V value(V x, V& slope) {
    const V s = logistic(x);
    slope = s + x * s * (1.0f - s);
    return x * s;
  }
};
struct Relu {
  template <class V>
  static COMPRESS_INLINE V value(V x, V& slope) {
    slope = x > 0.0f ? splat<V>(1.0f) : V{};
    return x > 0.0f ? x : V{};
  }
};

}  // namespace compress::nn::simd
