#pragma once
// Matrix products with a weight that lies in panels: 32 of its rows (columns of the result) side by
// side, in the order in which a kernel reads them.
//   float32: [panel][in][32]
//   bf16:    [panel][in][16] pairs, of weights that are float32 numbers with 16 zero bits: half the
//            memory to read, widened in the kernel, the same results to the bit
//   int8:    [panel][in / 4][32][4], `in` padded with zeros: an instruction takes 4 inputs at once
// Each sum runs over `in` in order, so results do not depend on how rows are grouped.

#include <cstdint>

namespace compress::nn::panels {

constexpr int64_t width = 32;        // outputs of a panel
constexpr int64_t quad = 4;          // inputs that an int8 instruction takes
using Pair = uint32_t;               // bf16 weights of columns c (lower half) and c + 16
constexpr int64_t pairs = 16;        // of a panel and input
constexpr uint8_t zero_point = 128;  // int8 inputs are stored as this much more, unsigned

// y[r][c] = finish(sum over i of x[r][i] * w[c][i]) for `rows` rows and one panel, of which
// `columns` are wanted. finish(s) = s * row_scales[r] * scales[c] + bias[c], then GELU when asked
// for.
struct Task {
  int64_t rows = 0, columns = 0;
  int64_t depth = 0;                  // inputs (float32, bf16), inputs / 4 rounded up (int8)
  const void* x = nullptr;            // float, or uint8 (value + zero_point) padded to whole quads
  int64_t x_stride = 0;               // elements from row to row
  const void* weight = nullptr;       // the panel
  const float* row_scales = nullptr;  // null: no scales
  const float* scales = nullptr;      // [width]
  const int32_t* offsets = nullptr;   // int8: [width], zero_point * sum over i of w[c][i]
  const float* bias = nullptr;        // [columns]; null: none
  bool gelu = false;                  // 0.5 v (1 + erf(v / sqrt 2)), error below 3e-7 |v|
  float* y = nullptr;
  int64_t y_stride = 0;
};

void multiply_float(const Task& task);
void multiply_bf16(const Task& task);
// A panel of bf16 as one of float32.
void widen(const Pair* panel, int64_t depth, float* to);
// Integer sums are exact. Call only where has_int8().
void multiply_int8(const Task& task);
// Whether the processor multiplies int8 faster than float32 (AVX-512 VNNI).
bool has_int8();

}  // namespace compress::nn::panels
