#include "kernels/panels.h"

#include <algorithm>

#include "kernels/activations.h"
#include "kernels/simd.h"

#ifdef COMPRESS_X86
#include <immintrin.h>
#define COMPRESS_TARGET_VNNI \
  __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma")))
#endif

namespace compress::nn::panels {

namespace {

using simd::IntVec;
using simd::Vec;

// 0.5 x (1 + erf(x / sqrt 2))
template <class V>
COMPRESS_INLINE V gelu(V x) {
  V density;
  return x * simd::normal_below(x, density);
}

// What happens to a register of sums of a row; `bias` is null or that of the panel's columns.
template <class V>
COMPRESS_INLINE V finish(const Task& task, int64_t row, int64_t column, const float* bias, V v) {
  if (task.row_scales != nullptr) v *= simd::load<V>(task.scales + column) * task.row_scales[row];
  if (bias != nullptr) v += simd::load<V>(bias + column);
  return task.gelu ? gelu(v) : v;
}

// `sums` is [rows][width].
template <int lanes>
COMPRESS_INLINE void finish_rows(const Task& task, int64_t row, int64_t rows, const float* sums) {
  using V = Vec<lanes>;
  if (task.columns == width) {
    for (int64_t r = 0; r < rows; ++r) {
      float* y = task.y + (row + r) * task.y_stride;
      for (int64_t column = 0; column < width; column += lanes)
        simd::store(y + column, finish(task, row + r, column, task.bias,
                                       simd::load<V>(sums + r * width + column)));
    }
    return;
  }
  float bias[width] = {}, y[width];
  const auto bytes = static_cast<size_t>(task.columns) * sizeof(float);
  if (task.bias != nullptr) std::memcpy(bias, task.bias, bytes);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t column = 0; column < width; column += lanes)
      simd::store(y + column,
                  finish(task, row + r, column, bias, simd::load<V>(sums + r * width + column)));
    std::memcpy(task.y + (row + r) * task.y_stride, y, bytes);
  }
}

// The weights of one input for a register of columns from `column` on.
template <int lanes>
COMPRESS_INLINE Vec<lanes> weights_of(const float* panel, int64_t input, int64_t column) {
  return simd::load<Vec<lanes>>(panel + input * width + column);
}
template <int lanes>
COMPRESS_INLINE Vec<lanes> weights_of(const Pair* panel, int64_t input, int64_t column) {
  IntVec<lanes> both;
  std::memcpy(&both, panel + input * pairs + column % pairs, sizeof both);
  const IntVec<lanes> bits = column < pairs ? both << 16 : both & -65536;
  Vec<lanes> v;
  std::memcpy(&v, &bits, sizeof v);
  return v;
}

// How many bytes ahead of the weights to fetch. Reading half as much leaves more arithmetic a byte,
// and with some rows the processor, which looks ahead by itself, sees too few loads; measured on
// Zen 4.
template <class W, int rows>
constexpr int64_t bytes_ahead() {
  return std::is_same_v<W, Pair> && rows >= 3 && rows <= 8 ? 2048 : 0;
}

// `rows` rows and `vectors` registers of columns from `column` on; W is float or Pair.
template <int lanes, class W, int rows, int vectors>
COMPRESS_INLINE void float_tile(const Task& task, int64_t row, int64_t column, float* sums) {
  using V = Vec<lanes>;
  const float* x = static_cast<const float*>(task.x) + row * task.x_stride;
  const W* w = static_cast<const W*>(task.weight);
  V sum[rows][vectors] = {};
  for (int64_t i = 0; i < task.depth; ++i) {
    V weight[vectors];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) weight[v] = weights_of<lanes>(w, i, column + v * lanes);
    if constexpr (constexpr int64_t ahead = bytes_ahead<W, rows>(); ahead > 0)
      __builtin_prefetch(reinterpret_cast<const char*>(w + i * pairs) + ahead);
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
      const float value = x[r * task.x_stride + i];
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) sum[r][v] += value * weight[v];
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) simd::store(sums + r * width + column + v * lanes, sum[r][v]);
}

template <int lanes>
COMPRESS_INLINE void widen_inputs_body(const Pair* panel, int64_t depth, float* to) {
  for (int64_t i = 0; i < depth; ++i)
    for (int64_t column = 0; column < width; column += lanes)
      simd::store(to + i * width + column, weights_of<lanes>(panel, i, column));
}
COMPRESS_KERNEL(widen_inputs, (const Pair* panel, int64_t depth, float* to), (panel, depth, to))

#ifdef COMPRESS_X86

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

template <int lanes, int rows, int vectors>
COMPRESS_INLINE void word_tile(const Task& task, int64_t row, int64_t column, float* sums) {
  using I = IntVec<lanes>;
  const int16_t* x = static_cast<const int16_t*>(task.x) + row * task.x_stride;
  const int16_t* w = static_cast<const int16_t*>(task.weight);
  I sum[rows][vectors] = {};
  for (int64_t i = 0; i < task.depth; ++i) {
    I weight[vectors];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v)
      std::memcpy(&weight[v], w + (i * width + column + v * lanes) * couple, sizeof weight[v]);
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
      int32_t two;
      std::memcpy(&two, x + r * task.x_stride + i * couple, sizeof two);
      const I value = two - I{};
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) sum[r][v] += Couples<lanes>::multiply(value, weight[v]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v)
      simd::store(sums + r * width + column + v * lanes,
                  __builtin_convertvector(sum[r][v], Vec<lanes>));
}

// sum[c] += the sum over 4 inputs of unsigned value * signed weight, without saturation. As
// assembly: around the intrinsic GCC copies each sum twice, and 24 of them no longer fit into
// registers.
COMPRESS_TARGET_VNNI COMPRESS_INLINE void multiply_quads(IntVec<16>& sum, IntVec<16> value,
                                                         IntVec<16> weight) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(value), "v"(weight));
}

template <int rows>
COMPRESS_TARGET_VNNI COMPRESS_INLINE void byte_tile(const Task& task, int64_t row, float* sums) {
  constexpr int lanes = 16;
  using I = IntVec<lanes>;
  const uint8_t* x = static_cast<const uint8_t*>(task.x) + row * task.x_stride;
  const int8_t* w = static_cast<const int8_t*>(task.weight);
  I sum[rows][2] = {};
  for (int64_t i = 0; i < task.depth; ++i) {
    I weight[2];
    std::memcpy(weight, w + i * width * quad, sizeof weight);
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
      int32_t four;
      std::memcpy(&four, x + r * task.x_stride + i * quad, sizeof four);
      const I value = four - I{};
      multiply_quads(sum[r][0], value, weight[0]);
      multiply_quads(sum[r][1], value, weight[1]);
    }
  }
  I offset[2];
  std::memcpy(offset, task.offsets, sizeof offset);
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v)
      simd::store(sums + r * width + v * lanes,
                  __builtin_convertvector(sum[r][v] - offset[v], Vec<lanes>));
}

#endif

// Rows in blocks of nearly equal size.
struct Blocks {
  int64_t rows, count;
  Blocks(int64_t all, int64_t most) : rows(all), count((all + most - 1) / most) {}
  int64_t first(int64_t block) const { return block * rows / count; }
};

#define COMPRESS_CASES_3(TILE) \
  case 1:                      \
    TILE(1);                   \
    break;                     \
  case 2:                      \
    TILE(2);                   \
    break;                     \
  case 3:                      \
    TILE(3);                   \
    break;
#define COMPRESS_CASES_6(TILE) \
  COMPRESS_CASES_3(TILE)       \
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

// How a tile fills the registers. With 32 of 16 floats (AVX-512), 24 hold the sums of twelve rows;
// with 16 smaller ones, 12 hold those of six rows of two registers or of up to three rows of four.
template <int lanes>
constexpr int64_t most_rows = lanes == 16 ? 12 : 6;

// Runs tile<rows, registers>(row, column) over all of a task.
template <int lanes, class Tile>
COMPRESS_INLINE void in_tiles(const Task& task, const Tile& tile) {
  const Blocks blocks(task.rows, most_rows<lanes>);
  float sums[most_rows<lanes> * width];
  for (int64_t b = 0; b < blocks.count; ++b) {
    const int64_t row = blocks.first(b), rows = blocks.first(b + 1) - row;
    if constexpr (lanes == 16) {
#define COMPRESS_TILE(n) tile.template run<n, 2>(task, row, 0, sums)
      switch (rows) { COMPRESS_CASES_12(COMPRESS_TILE) }
#undef COMPRESS_TILE
    } else if (rows <= 3) {
      for (int64_t column = 0; column < width; column += 4 * lanes) {
#define COMPRESS_TILE(n) tile.template run<n, 4>(task, row, column, sums)
        switch (rows) { COMPRESS_CASES_3(COMPRESS_TILE) }
#undef COMPRESS_TILE
      }
    } else {
      for (int64_t column = 0; column < width; column += 2 * lanes) {
#define COMPRESS_TILE(n) tile.template run<n, 2>(task, row, column, sums)
        switch (rows) { COMPRESS_CASES_6(COMPRESS_TILE) }
#undef COMPRESS_TILE
      }
    }
    finish_rows<lanes>(task, row, rows, sums);
  }
}

template <int lanes, class W>
struct FloatTile {
  template <int rows, int vectors>
  COMPRESS_INLINE void run(const Task& task, int64_t row, int64_t column, float* sums) const {
    float_tile<lanes, W, rows, vectors>(task, row, column, sums);
  }
};
template <int lanes>
COMPRESS_INLINE void in_floats_body(const Task& task) {
  in_tiles<lanes>(task, FloatTile<lanes, float>());
}
COMPRESS_KERNEL(in_floats, (const Task& task), (task))

template <int lanes>
COMPRESS_INLINE void in_pairs_body(const Task& task) {
  in_tiles<lanes>(task, FloatTile<lanes, Pair>());
}
COMPRESS_KERNEL(in_pairs, (const Task& task), (task))

#ifdef COMPRESS_X86

template <int lanes>
struct WordTile {
  template <int rows, int vectors>
  COMPRESS_INLINE void run(const Task& task, int64_t row, int64_t column, float* sums) const {
    word_tile<lanes, rows, vectors>(task, row, column, sums);
  }
};
template <int lanes>
COMPRESS_INLINE void in_words_body(const Task& task) {
  in_tiles<lanes>(task, WordTile<lanes>());
}
COMPRESS_KERNEL(in_words, (const Task& task), (task))

COMPRESS_TARGET_VNNI void in_bytes(const Task& task) {
  const Blocks blocks(task.rows, most_rows<16>);
  float sums[most_rows<16> * width];
  for (int64_t b = 0; b < blocks.count; ++b) {
    const int64_t row = blocks.first(b), rows = blocks.first(b + 1) - row;
#define COMPRESS_TILE(n) byte_tile<n>(task, row, sums)
    switch (rows) { COMPRESS_CASES_12(COMPRESS_TILE) }
#undef COMPRESS_TILE
    finish_rows<16>(task, row, rows, sums);
  }
}

constexpr bool words = true;

#else

void in_words(const Task&) {}
void in_bytes(const Task&) {}
constexpr bool words = false;

#endif

}  // namespace

void multiply_float(const Task& task) {
  in_floats(task);
}
void multiply_bf16(const Task& task) {
  in_pairs(task);
}
void multiply_words(const Task& task) {
  in_words(task);
}
void multiply_bytes(const Task& task) {
  in_bytes(task);
}

void widen(const Pair* panel, int64_t depth, float* to) {
  widen_inputs(panel, depth, to);
}

bool has_bytes() {
  return cpu::has_vnni();
}
bool has_words() {
  return words;
}

}  // namespace compress::nn::panels
