#include "quantization/kernels.h"

#include "compress/data/torch.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <vector>

#include "compress/base/kernel.h"

// Plain loops that the compiler turns into vectors. Their cost is small beside the matrix products
// that they feed, so the baseline instruction set will do; but integer products are fast enough to
// wait for what rounds their inputs (quantize_rows).

namespace compress::constraint::kernels {

namespace {

using c10::BFloat16;

constexpr int64_t grain = 1 << 15;
// Adding and taking away 1.5 * 2^23 rounds |x| < 2^22 to the nearest integer, ties to even; zeros
// come out as +0.
constexpr float rounder = 12582912.0f;

// The bit pattern as float32.
COMPRESS_INLINE int32_t bits_at(const float* x) {
  int32_t bits;
  std::memcpy(&bits, x, sizeof bits);
  return bits;
}
COMPRESS_INLINE int32_t bits_at(const BFloat16* x) {
  uint16_t bits;
  std::memcpy(&bits, x, sizeof bits);
  return static_cast<int32_t>(static_cast<uint32_t>(bits) << 16);
}
template <class T>
COMPRESS_INLINE float value_at(const T* x) {
  return std::bit_cast<float>(bits_at(x));
}
inline void put(float x, float* out) {
  std::memcpy(out, &x, sizeof x);
}
// Rounds to nearest even; a NaN stays one.
inline void put(float x, BFloat16* out) {
  uint32_t bits = std::bit_cast<uint32_t>(x);
  uint32_t rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
  auto half = static_cast<uint16_t>((bits & 0x7FFFFFFFu) > 0x7F800000u ? 0x7FC0u : rounded);
  std::memcpy(static_cast<void*>(out), &half, sizeof half);
}

// clamp(v, -128, 127) on the bit pattern: comparisons of floats may trap, so that GCC keeps loops
// with them scalar. NaN passes.
COMPRESS_INLINE float clamped(float v) {
  constexpr int32_t infinity = 0x7F800000, at_127 = 0x42FE0000, at_128 = 0x43000000;
  const int32_t bits = std::bit_cast<int32_t>(v), size = bits & 0x7FFFFFFF;
  const int32_t limit = at_127 + ((bits >> 31) & (at_128 - at_127));
  const int32_t least = size < limit ? size : limit;
  const int32_t kept = size > infinity ? size : least;
  return std::bit_cast<float>(kept | (bits & ~0x7FFFFFFF));
}
inline float steps(float v) {
  return (clamped(v) + rounder) - rounder;
}

// Whether divided() is a division for all of a row whose largest magnitude is `most`: scale,
// inverse and what is left of a quotient that matters are normal numbers, and no quotient is too
// large to be rounded. False for NaN.
inline bool divides(float most, float scale) {
  constexpr float least = 0x1p-100f, largest_scale = 0x1p100f, largest_quotient = 0x1p20f;
  return scale >= least && scale <= largest_scale && most < scale * largest_quotient;
}
// x / scale to the bit, by `inverse` = 1 / scale: what is left of x behind a quotient corrects it,
// once to less than a unit of the last place, then as a division rounds (Markstein 1990, IBM J.
// Res. Dev. 34). An instruction that divides takes longer than all of this.
COMPRESS_INLINE float divided(float x, float scale, float inverse) {
  float q = x * inverse;
  q = __builtin_fmaf(__builtin_fmaf(-q, scale, x), inverse, q);
  return __builtin_fmaf(__builtin_fmaf(-q, scale, x), inverse, q);
}

// The last byte of a float near `rounder` is the integer. Clamped as bits, which order like values.
COMPRESS_INLINE int8_t rounded_byte(float v) {
  constexpr int32_t zero = 0x4B400000;  // of `rounder`
  int32_t bits = std::bit_cast<int32_t>(v + rounder);
  bits = bits < zero + 127 ? bits : zero + 127;
  bits = bits > zero - 128 ? bits : zero - 128;
  return static_cast<int8_t>(bits);
}

// Magnitudes order like their bit patterns, and NaN comes out above all.
template <class T>
COMPRESS_INLINE float largest(const T* x, int64_t count) {
  int32_t most = 0;
  for (int64_t i = 0; i < count; ++i) {
    int32_t bits = bits_at(x + i) & 0x7FFFFFFF;
    most = bits > most ? bits : most;
  }
  return std::bit_cast<float>(most);
}

// `out` may be `in`: no iteration reads what another one wrote.
template <class T>
void by_scale(const T* in, T* out, int64_t count, float scale) {
#pragma GCC ivdep
  for (int64_t i = 0; i < count; ++i) put(steps(value_at(in + i) / scale) * scale, out + i);
}
template <class T>
void by_grid(const T* in, T* out, int64_t count, Grid grid) {
  const float scale = grid.scale;
  const auto zero = static_cast<float>(grid.zero);
#pragma GCC ivdep
  for (int64_t i = 0; i < count; ++i)
    put((steps(value_at(in + i) / scale + zero) - zero) * scale, out + i);
}

template <class T>
void rows_by_amax(const T* in, T* out, int64_t rows, int64_t width, float* scales) {
  for (int64_t r = 0; r < rows; ++r) {
    const float scale = scale_of(largest(in + r * width, width));
    by_scale(in + r * width, out + r * width, width, scale);
    if (scales != nullptr) scales[r] = scale;
  }
}

template <class T>
void mark_inside(const T* in, uint8_t* inside, int64_t count, Grid grid) {
  const float scale = grid.scale;
  const auto zero = static_cast<float>(grid.zero);
#pragma GCC ivdep
  for (int64_t i = 0; i < count; ++i) {
    float v = value_at(in + i) / scale + zero;
    inside[i] = static_cast<uint8_t>((v >= -128.0f) & (v <= 127.0f));
  }
}

// Floats order like these integers, which vector units compare without regard to NaN and order of
// evaluation. -0 comes below +0.
inline int32_t ordered(int32_t bits) {
  return bits ^ ((bits >> 31) & 0x7FFFFFFF);
}
inline float unordered(int32_t key) {
  return std::bit_cast<float>(key ^ ((key >> 31) & 0x7FFFFFFF));
}
template <class T>
Range low_high(const T* x, int64_t count) {
  int32_t low = std::numeric_limits<int32_t>::max(), high = std::numeric_limits<int32_t>::min();
  for (int64_t i = 0; i < count; ++i) {
    int32_t key = ordered(bits_at(x + i));
    low = key < low ? key : low;
    high = key > high ? key : high;
  }
  return {unordered(low), unordered(high)};
}

template <class T>
void by_grid(const T* in, T* out, uint8_t* inside, int64_t count, Grid grid) {
  if (inside != nullptr) mark_inside(in, inside, count, grid);
  by_grid(in, out, count, grid);
}

// Runs body(begin, end) over [0, count) in parallel.
template <class Body>
void spread(int64_t count, int64_t size, const Body& body) {
  at::parallel_for(0, count, std::max<int64_t>(1, size), body);
}

// Blocks are fixed, so that partial results do not depend on threads.
template <class T>
Range range_of(const T* x, int64_t count) {
  std::vector<Range> parts(static_cast<size_t>((count + grain - 1) / grain));
  spread(static_cast<int64_t>(parts.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b)
      parts[static_cast<size_t>(b)] = low_high(x + b * grain, std::min(grain, count - b * grain));
  });
  Range range = parts[0];
  for (const Range& part : parts)
    range = {std::min(range.low, part.low), std::max(range.high, part.high)};
  return range;
}

template <class T>
void spread_rows(const T* in, T* out, int64_t rows, int64_t width, float* scales = nullptr) {
  spread(rows, grain / std::max<int64_t>(1, width), [&](int64_t begin, int64_t end) {
    rows_by_amax(in + begin * width, out + begin * width, end - begin, width,
                 scales != nullptr ? scales + begin : nullptr);
  });
}

template <class T>
void spread_grid(const T* in, T* out, uint8_t* inside, int64_t count, Grid grid) {
  spread(count, grain, [&](int64_t begin, int64_t end) {
    by_grid(in + begin, out + begin, inside != nullptr ? inside + begin : nullptr, end - begin,
            grid);
  });
}

}  // namespace

float scale_of(float amax) {
  float scale = amax / 127.5f;
  return scale == 0 ? std::numeric_limits<float>::epsilon() : scale;
}

void mask(const uint8_t* keep, float* x, int64_t count) {
  spread(count, grain, [&](int64_t begin, int64_t end) {
#pragma GCC ivdep
    for (int64_t i = begin; i < end; ++i)
      x[i] = std::bit_cast<float>(bits_at(x + i) & -static_cast<int32_t>(keep[i]));
  });
}

float amax(const float* x, int64_t count) {
  std::vector<float> parts(static_cast<size_t>((count + grain - 1) / grain));
  spread(static_cast<int64_t>(parts.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b)
      parts[static_cast<size_t>(b)] = largest(x + b * grain, std::min(grain, count - b * grain));
  });
  return largest(parts.data(), static_cast<int64_t>(parts.size()));
}

Range range(const float* x, int64_t count) {
  return range_of(x, count);
}
Range range(const BFloat16* x, int64_t count) {
  return range_of(x, count);
}

void fake_quantize_rows(const float* in, float* out, int64_t rows, int64_t width, float* scales) {
  spread_rows(in, out, rows, width, scales);
}
void fake_quantize_rows(const BFloat16* in, BFloat16* out, int64_t rows, int64_t width) {
  spread_rows(in, out, rows, width);
}

void fake_quantize(const float* in, float* out, uint8_t* inside, int64_t count, Grid grid) {
  spread_grid(in, out, inside, count, grid);
}
void fake_quantize(const BFloat16* in, BFloat16* out, uint8_t* inside, int64_t count, Grid grid) {
  spread_grid(in, out, inside, count, grid);
}

void quantize(const float* in, int8_t* out, int64_t count, float scale) {
  spread(count, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      out[i] = static_cast<int8_t>(static_cast<int32_t>(steps(in[i] / scale)));
  });
}

template <int lanes>
COMPRESS_INLINE void quantize_rows_body(const float* in, int64_t rows, int64_t width, Grid fixed,
                                        int8_t* out, int64_t stride, float* scales) {
  const auto zero = static_cast<float>(fixed.zero);
  for (int64_t r = 0; r < rows; ++r) {
    const float* x = in + r * width;
    int8_t* q = out + r * stride;
    const float most = largest(x, width);
    const float own = most / 127.5f;
    float scale = own == 0 ? std::numeric_limits<float>::epsilon() : own;
    if (fixed.scale != 0) scale = most != most ? most : fixed.scale;
    scales[r] = scale;
    if constexpr (lanes > 4) {  // sets with fused multiply-adds
      if (divides(most, scale)) {
        const float inverse = 1.0f / scale;
#pragma GCC ivdep
        for (int64_t i = 0; i < width; ++i)
          q[i] = rounded_byte(divided(x[i], scale, inverse) + zero);
        continue;
      }
    }
#pragma GCC ivdep
    for (int64_t i = 0; i < width; ++i)  // the last byte of the sum is the integer
      q[i] = static_cast<int8_t>(std::bit_cast<int32_t>(clamped(x[i] / scale + zero) + rounder));
  }
}

COMPRESS_KERNEL(quantize_rows,
                (const float* in, int64_t rows, int64_t width, Grid fixed, int8_t* out,
                 int64_t stride, float* scales),
                (in, rows, width, fixed, out, stride, scales))

}  // namespace compress::constraint::kernels
