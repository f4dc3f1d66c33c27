#pragma once
// What all products of panels share: how a task's rows are cut into tiles of registers, and what
// happens to finished sums. To be inlined into kernels of several instruction sets.

#include <cstring>

#include "kernels/activations.h"
#include "kernels/simd.h"
#include "products/panels.h"

namespace compress::nn::panels {

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

// What a tile of products of integers leaves for finish_rows(); `shifted`: less the task's offsets.
template <int lanes, int rows, int vectors, bool shifted>
COMPRESS_INLINE void store_sums(const Task& task, int64_t column,
                                const IntVec<lanes> (&sum)[rows][vectors], float* sums) {
#pragma GCC unroll 4
  for (int v = 0; v < vectors; ++v) {
    IntVec<lanes> offset = {};
    if constexpr (shifted) std::memcpy(&offset, task.offsets + column + v * lanes, sizeof offset);
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r)
      simd::store(sums + r * width + column + v * lanes,
                  __builtin_convertvector(sum[r][v] - offset, Vec<lanes>));
  }
}

// A tile of integers, of which those of 32 bits (two words, or four bytes) are multiplied at once:
// Products::add(sum, value, weight) adds what they give in each lane.
template <int lanes, class Input, class Products>
struct IntegerTile {
  template <int rows, int vectors>
  COMPRESS_INLINE void run(const Task& task, int64_t row, int64_t column, float* sums) const {
    using I = IntVec<lanes>;
    constexpr int64_t together = sizeof(int32_t) / sizeof(Input);
    const Input* x = static_cast<const Input*>(task.x) + row * task.x_stride;
    const Input* w = static_cast<const Input*>(task.weight) + column * together;
    I sum[rows][vectors] = {};
    for (int64_t i = 0; i < task.depth; ++i) {
      I weight[vectors];
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v)
        std::memcpy(&weight[v], w + (i * width + v * lanes) * together, sizeof weight[v]);
#pragma GCC unroll 16
      for (int r = 0; r < rows; ++r) {
        int32_t some;
        std::memcpy(&some, x + r * task.x_stride + i * together, sizeof some);
        const I value = some - I{};
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v) Products::add(sum[r][v], value, weight[v]);
      }
    }
    store_sums<lanes, rows, vectors, sizeof(Input) == 1>(task, column, sum, sums);
  }
};

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

}  // namespace compress::nn::panels
