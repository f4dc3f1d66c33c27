#pragma once
// Activation functions of 16 values, to be inlined into kernels.

#include "simd.h"

namespace compress::nn::simd {

COMPRESS_INLINE Vec magnitude(Vec x) {
  return x < 0.0f ? -x : x;
}

// The normal distribution function, absolute error below 1e-7; `density` receives exp(-x^2 / 2).
// erf by Abramowitz and Stegun 7.1.26.
COMPRESS_INLINE Vec normal_below(Vec x, Vec& density) {
  const Vec z = magnitude(x) * 0.70710678118654752f;
  const Vec t = 1.0f / (z * 0.3275911f + 1.0f);
  Vec p = t * 1.061405429f - 1.453152027f;
  p = p * t + 1.421413741f;
  p = p * t - 0.284496736f;
  p = p * t + 0.254829592f;
  density = exp_negative(-z * z);
  const Vec half = p * t * density * 0.5f;  // half of 1 - erf(z)
  return x < 0.0f ? half : 1.0f - half;
}

// 1 / (1 + exp(-x))
COMPRESS_INLINE Vec logistic(Vec x) {
  const Vec e = exp_negative(-magnitude(x));
  return (x < 0.0f ? e : splat(1.0f)) / (1.0f + e);
}

// Each: value() and the slope there.
struct Gelu {  // 0.5 x (1 + erf(x / sqrt 2))
  static COMPRESS_INLINE Vec value(Vec x, Vec& slope) {
    Vec density;
    const Vec below = normal_below(x, density);
    slope = below + x * density * 0.39894228040143268f;
    return x * below;
  }
};
struct GeluTanh {  // 0.5 x (1 + tanh(u)) = x logistic(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3)
  static COMPRESS_INLINE Vec value(Vec x, Vec& slope) {
    constexpr float twice = 1.5957691216057308f;
    const Vec square = x * x;
    const Vec s = logistic(x * (square * (0.044715f * twice) + twice));
    slope = s + x * s * (1.0f - s) * (square * (3 * 0.044715f * twice) + twice);
    return x * s;
  }
};
struct Silu {
  static COMPRESS_INLINE Vec value(Vec x, Vec& slope) {
    const Vec s = logistic(x);
    slope = s + x * s * (1.0f - s);
    return x * s;
  }
};
struct Relu {
  static COMPRESS_INLINE Vec value(Vec x, Vec& slope) {
    slope = x > 0.0f ? splat(1.0f) : Vec{};
    return x > 0.0f ? x : Vec{};
  }
};

}  // namespace compress::nn::simd
