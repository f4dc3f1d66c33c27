#pragma once
// CPU kernels for contiguous memory. Results do not depend on the number of threads.

#include <c10/util/BFloat16.h>

#include <cstdint>

namespace compress::constraint::kernels {

// amax / 127.5, or 2^-23 (float32's epsilon) where that is 0. NaN stays NaN.
float scale_of(float amax);

// x[i] = keep[i] ? x[i] : +0.
void mask(const uint8_t* keep, float* x, int64_t count);

// The largest magnitude; NaN when there is one.
float amax(const float* x, int64_t count);
// The smallest and largest value of a non-empty array.
struct Range {
  float low, high;
};
Range range(const float* x, int64_t count);
Range range(const c10::BFloat16* x, int64_t count);

// Fake quantisation of each row by its own scale, which `scales` [rows], unless null, receives.
// `out` may be `in`. In bfloat16 the arithmetic is float32 and the result is rounded once.
void fake_quantize_rows(const float* in, float* out, int64_t rows, int64_t width,
                        float* scales = nullptr);
void fake_quantize_rows(const c10::BFloat16* in, c10::BFloat16* out, int64_t rows, int64_t width);
// What int8 values q stand for: (q - zero) * scale.
struct Grid {
  float scale = 0;
  int32_t zero = 0;  // -128 .. 127
};
// The same by a given grid: q = round_half_even(clamp(x / scale + zero, -128, 127)). `inside`,
// unless null, receives 1 where nothing was clamped.
void fake_quantize(const float* in, float* out, uint8_t* inside, int64_t count, Grid grid);
void fake_quantize(const c10::BFloat16* in, c10::BFloat16* out, uint8_t* inside, int64_t count,
                   Grid grid);
// q of each value; `scale` is finite.
void quantize(const float* in, int8_t* out, int64_t count, float scale);
// q of rows that lie `stride` bytes apart, by each row's own scale (that of `fixed` is 0) or by a
// given grid; in this thread alone. `scales` [rows] receives what was used: NaN for a row with a
// NaN.
void quantize_rows(const float* in, int64_t rows, int64_t width, Grid fixed, int8_t* out,
                   int64_t stride, float* scales);

}  // namespace compress::constraint::kernels
