#include "panels.h"

#include <algorithm>

#include "activations.h"
#include "simd.h"

#if defined(__x86_64__)
#include <immintrin.h>
#define COMPRESS_X86 1
#define COMPRESS_TARGET(list) __attribute__((target(list)))
#define COMPRESS_INLINE_FOR(list) __attribute__((target(list), always_inline)) inline
#define COMPRESS_AVX2 "avx2,fma"
#define COMPRESS_AVX512 "avx512f,avx512bw,avx512vl,avx512dq"
#define COMPRESS_VNNI "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni"
#endif

namespace compress::nn::panels {

namespace {

using simd::IntVec;
using simd::lanes;
using simd::Vec;

// 0.5 x (1 + erf(x / sqrt 2))
COMPRESS_INLINE Vec gelu(Vec x) {
  Vec density;
  return x * simd::normal_below(x, density);
}

// What happens to 16 sums of a row; `bias` is null or those of its columns.
COMPRESS_INLINE Vec finish(const Task& task, int64_t row, int64_t column, const float* bias,
                           Vec v) {
  if (task.row_scales != nullptr) v *= simd::load(task.scales + column) * task.row_scales[row];
  if (bias != nullptr) v += simd::load(bias + column);
  return task.gelu ? gelu(v) : v;
}

// `sums` is [rows][width].
COMPRESS_INLINE void finish_rows(const Task& task, int64_t row, int64_t rows, const float* sums) {
  if (task.columns == width) {
    for (int64_t r = 0; r < rows; ++r) {
      float* y = task.y + (row + r) * task.y_stride;
      for (int64_t column = 0; column < width; column += lanes)
        simd::store(y + column, finish(task, row + r, column, task.bias,
                                       simd::load(sums + r * width + column)));
    }
    return;
  }
  float bias[width] = {}, y[width];
  const auto bytes = static_cast<size_t>(task.columns) * sizeof(float);
  if (task.bias != nullptr) std::memcpy(bias, task.bias, bytes);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t column = 0; column < width; column += lanes)
      simd::store(y + column,
                  finish(task, row + r, column, bias, simd::load(sums + r * width + column)));
    std::memcpy(task.y + (row + r) * task.y_stride, y, bytes);
  }
}

// `count` vectors of the 32 weights of one input, from column `column` (0 or 16) on.
template <int count>
COMPRESS_INLINE void weights_of(const float* panel, int64_t input, int64_t column, Vec* out) {
#pragma GCC unroll 2
  for (int v = 0; v < count; ++v) out[v] = simd::load(panel + input * width + column + v * lanes);
}
COMPRESS_INLINE Vec floats(IntVec bits) {
  Vec v;
  std::memcpy(&v, &bits, sizeof v);
  return v;
}
template <int count>
COMPRESS_INLINE void weights_of(const Pair* panel, int64_t input, int64_t column, Vec* out) {
  IntVec both;
  std::memcpy(&both, panel + input * pairs, sizeof both);
  const Vec low = floats(both << 16), high = floats(both & -65536);
  out[0] = column == 0 ? low : high;
  if (count > 1) out[count - 1] = high;
}

// How many bytes ahead of the weights to fetch. Reading half as much leaves more arithmetic a byte,
// and with some rows the processor, which looks ahead by itself, sees too few loads; measured on
// Zen 4.
template <class W, int rows>
constexpr int64_t bytes_ahead() {
  return std::is_same_v<W, Pair> && rows >= 3 && rows <= 8 ? 2048 : 0;
}

// `rows` rows and `vectors` vectors of 16 columns from `column` on; W is float or Pair.
template <class W, int rows, int vectors>
COMPRESS_INLINE void float_tile(const Task& task, int64_t row, int64_t column, float* sums) {
  const float* x = static_cast<const float*>(task.x) + row * task.x_stride;
  const W* w = static_cast<const W*>(task.weight);
  Vec sum[rows][vectors] = {};
  for (int64_t i = 0; i < task.depth; ++i) {
    Vec weight[vectors];
    weights_of<vectors>(w, i, column, weight);
    if (constexpr int64_t ahead = bytes_ahead<W, rows>(); ahead > 0)
      __builtin_prefetch(reinterpret_cast<const char*>(w + i * pairs) + ahead);
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
      const float value = x[r * task.x_stride + i];
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) sum[r][v] += value * weight[v];
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) simd::store(sums + r * width + column + v * lanes, sum[r][v]);
}

COMPRESS_CLONES void widen_inputs(const Pair* panel, int64_t depth, float* to) {
  for (int64_t i = 0; i < depth; ++i) {
    Vec weight[2];
    weights_of<2>(panel, i, 0, weight);
    simd::store(to + i * width, weight[0]);
    simd::store(to + i * width + lanes, weight[1]);
  }
}

#ifdef COMPRESS_X86

// sum[c] += the sum over 4 inputs of unsigned value * signed weight, without saturation. As
// assembly: around the intrinsic GCC copies each sum twice, and 24 of them no longer fit into
// registers.
COMPRESS_INLINE_FOR(COMPRESS_VNNI) void multiply_quads(IntVec& sum, IntVec value, IntVec weight) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(value), "v"(weight));
}

template <int rows>
COMPRESS_INLINE_FOR(COMPRESS_VNNI)
void int8_tile(const Task& task, int64_t row, float* sums) {
  const uint8_t* x = static_cast<const uint8_t*>(task.x) + row * task.x_stride;
  const int8_t* w = static_cast<const int8_t*>(task.weight);
  IntVec sum[rows][2] = {};
  for (int64_t i = 0; i < task.depth; ++i) {
    IntVec weight[2];
    std::memcpy(weight, w + i * width * quad, sizeof weight);
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
      int32_t four;
      std::memcpy(&four, x + r * task.x_stride + i * quad, sizeof four);
      const IntVec value = four - IntVec{};
      multiply_quads(sum[r][0], value, weight[0]);
      multiply_quads(sum[r][1], value, weight[1]);
    }
  }
  IntVec offset[2];
  std::memcpy(offset, task.offsets, sizeof offset);
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v)
      simd::store(sums + r * width + v * lanes,
                  __builtin_convertvector(sum[r][v] - offset[v], Vec));
}

#endif

// Rows in blocks of nearly equal size.
struct Blocks {
  int64_t rows, count;
  Blocks(int64_t all, int64_t most) : rows(all), count((all + most - 1) / most) {}
  int64_t first(int64_t block) const { return block * rows / count; }
};

using Kernel = void (*)(const Task&);

#define COMPRESS_CASES_6(TILE) \
  case 1:                      \
    TILE(1);                   \
    break;                     \
  case 2:                      \
    TILE(2);                   \
    break;                     \
  case 3:                      \
    TILE(3);                   \
    break;                     \
  case 4:                      \
    TILE(4);                   \
    break;                     \
  case 5:                      \
    TILE(5);                   \
    break;                     \
  case 6:                      \
    TILE(6);                   \
    break;
#define COMPRESS_CASES_12(TILE) \
  COMPRESS_CASES_6(TILE)        \
  case 7:                       \
    TILE(7);                    \
    break;                      \
  case 8:                       \
    TILE(8);                    \
    break;                      \
  case 9:                       \
    TILE(9);                    \
    break;                      \
  case 10:                      \
    TILE(10);                   \
    break;                      \
  case 11:                      \
    TILE(11);                   \
    break;                      \
  case 12:                      \
    TILE(12);                   \
    break;

// 16 vector registers of 8: six rows of one vector of 16.
template <class W>
COMPRESS_INLINE void float_narrow(const Task& task) {
  const Blocks blocks(task.rows, 6);
  float sums[6 * width];
  for (int64_t b = 0; b < blocks.count; ++b) {
    const int64_t row = blocks.first(b), rows = blocks.first(b + 1) - row;
    for (int64_t column = 0; column < width; column += lanes) {
#define COMPRESS_TILE(n) float_tile<W, n, 1>(task, row, column, sums)
      switch (rows) { COMPRESS_CASES_6(COMPRESS_TILE) }
#undef COMPRESS_TILE
    }
    finish_rows(task, row, rows, sums);
  }
}

template <class W>
void float_plain(const Task& task) {
  float_narrow<W>(task);
}

#ifdef COMPRESS_X86

template <class W>
COMPRESS_TARGET(COMPRESS_AVX2)
void float_avx2(const Task& task) {
  float_narrow<W>(task);
}

// 32 vector registers of 16: twelve rows of two.
template <class W>
COMPRESS_TARGET(COMPRESS_AVX512)
void float_avx512(const Task& task) {
  const Blocks blocks(task.rows, 12);
  float sums[12 * width];
  for (int64_t b = 0; b < blocks.count; ++b) {
    const int64_t row = blocks.first(b), rows = blocks.first(b + 1) - row;
#define COMPRESS_TILE(n) float_tile<W, n, 2>(task, row, 0, sums)
    switch (rows) { COMPRESS_CASES_12(COMPRESS_TILE) }
#undef COMPRESS_TILE
    finish_rows(task, row, rows, sums);
  }
}

COMPRESS_TARGET(COMPRESS_VNNI) void int8_vnni(const Task& task) {
  const Blocks blocks(task.rows, 12);
  float sums[12 * width];
  for (int64_t b = 0; b < blocks.count; ++b) {
    const int64_t row = blocks.first(b), rows = blocks.first(b + 1) - row;
#define COMPRESS_TILE(n) int8_tile<n>(task, row, sums)
    switch (rows) { COMPRESS_CASES_12(COMPRESS_TILE) }
#undef COMPRESS_TILE
    finish_rows(task, row, rows, sums);
  }
}

bool avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}
template <class W>
Kernel float_kernel() {
  if (avx512()) return float_avx512<W>;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return float_avx2<W>;
  return float_plain<W>;
}
bool vnni() {
  return avx512() && __builtin_cpu_supports("avx512vnni");
}

#else

template <class W>
Kernel float_kernel() {
  return float_plain<W>;
}
void int8_vnni(const Task&) {}
bool vnni() {
  return false;
}

#endif

}  // namespace

void multiply_float(const Task& task) {
  static const Kernel kernel = float_kernel<float>();
  kernel(task);
}

void multiply_bf16(const Task& task) {
  static const Kernel kernel = float_kernel<Pair>();
  kernel(task);
}

void multiply_int8(const Task& task) {
  int8_vnni(task);
}

void widen(const Pair* panel, int64_t depth, float* to) {
  widen_inputs(panel, depth, to);
}

bool has_int8() {
  static const bool found = vnni();
  return found;
}

}  // namespace compress::nn::panels
