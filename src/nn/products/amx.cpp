// Products of bytes by AMX: tiles of 16 rows of 64 bytes. A tile of weights is 16 quads of inputs
// by 16 columns, which is how they lie in a panel.

#include "products/bytes.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <algorithm>

#include "products/in_tiles.h"

#define COMPRESS_TARGET_TILES __attribute__((target("amx-tile,amx-int8")))

namespace compress::nn::panels {

namespace {

constexpr int64_t tile_rows = rows_a_tile, tile_bytes = 64;
constexpr int64_t panel_row = width * quad;  // bytes of all columns' quads
constexpr int64_t step = stride_quads * panel_row;

// Tiles 0 to 3: sums, two of rows by two of columns; 4 and 5: rows; 6 and 7: weights.
struct alignas(64) Shapes {
  uint8_t palette = 1, start = 0, reserved[14] = {};
  uint16_t bytes[16] = {tile_bytes, tile_bytes, tile_bytes, tile_bytes,
                        tile_bytes, tile_bytes, tile_bytes, tile_bytes};
  uint8_t rows[16] = {tile_rows, tile_rows, tile_rows, tile_rows,
                      tile_rows, tile_rows, tile_rows, tile_rows};
};
constexpr Shapes shapes;

COMPRESS_TARGET_TILES inline void clear_sums() {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
}
COMPRESS_TARGET_TILES inline void keep_sums(int32_t* sums) {
  constexpr int64_t row = width * sizeof(int32_t);
  _tile_stored(0, sums, row);
  _tile_stored(1, sums + tile_rows, row);
  _tile_stored(2, sums + tile_rows * width, row);
  _tile_stored(3, sums + tile_rows * width + tile_rows, row);
}

// 32 rows.
COMPRESS_TARGET_TILES inline void sum_two(const uint8_t* x, int64_t x_stride, const int8_t* w,
                                          int64_t steps, int32_t* sums) {
  clear_sums();
  for (int64_t s = 0; s < steps; ++s, x += tile_bytes, w += step) {
    _tile_loadd(6, w, panel_row);
    _tile_loadd(4, x, x_stride);
    _tile_loadd(7, w + tile_bytes, panel_row);
    _tile_dpbusd(0, 4, 6);
    _tile_loadd(5, x + tile_rows * x_stride, x_stride);
    _tile_dpbusd(1, 4, 7);
    _tile_dpbusd(2, 5, 6);
    _tile_dpbusd(3, 5, 7);
  }
  keep_sums(sums);
}

// 16 rows; the sums of every other step apart, so that each product waits for fewer.
COMPRESS_TARGET_TILES inline void sum_one(const uint8_t* x, int64_t x_stride, const int8_t* w,
                                          int64_t steps, int32_t* sums) {
  clear_sums();
  int64_t s = 0;
  for (; s + 2 <= steps; s += 2, x += 2 * tile_bytes, w += 2 * step) {
    _tile_loadd(4, x, x_stride);
    _tile_loadd(6, w, panel_row);
    _tile_loadd(7, w + tile_bytes, panel_row);
    _tile_dpbusd(0, 4, 6);
    _tile_dpbusd(1, 4, 7);
    _tile_loadd(5, x + tile_bytes, x_stride);
    _tile_loadd(6, w + step, panel_row);
    _tile_loadd(7, w + step + tile_bytes, panel_row);
    _tile_dpbusd(2, 5, 6);
    _tile_dpbusd(3, 5, 7);
  }
  if (s < steps) {
    _tile_loadd(4, x, x_stride);
    _tile_loadd(6, w, panel_row);
    _tile_loadd(7, w + tile_bytes, panel_row);
    _tile_dpbusd(0, 4, 6);
    _tile_dpbusd(1, 4, 7);
  }
  keep_sums(sums);
}

// The sums of `rows` rows, those of every other step added, become what task.y wants.
COMPRESS_TARGET_AVX512 void finish_tiles(const Task& task, int64_t row, int64_t rows, bool halves,
                                         const int32_t* from) {
  constexpr int lanes = 16;
  alignas(64) float sums[2 * tile_rows * width];
  for (int64_t column = 0; column < width; column += lanes) {
    IntVec<lanes> offset;
    std::memcpy(&offset, task.offsets + column, sizeof offset);
    for (int64_t r = 0; r < rows; ++r) {
      IntVec<lanes> sum, other{};
      std::memcpy(&sum, from + r * width + column, sizeof sum);
      if (halves) std::memcpy(&other, from + (tile_rows + r) * width + column, sizeof other);
      simd::store(sums + r * width + column,
                  __builtin_convertvector(sum + other - offset, Vec<lanes>));
    }
  }
  finish_rows<lanes>(task, row, rows, sums);
}

}  // namespace

COMPRESS_TARGET_TILES void begin_tiles() {
  _tile_loadconfig(&shapes);
}
COMPRESS_TARGET_TILES void end_tiles() {
  _tile_release();
}

COMPRESS_TARGET_TILES void bytes_by_tiles(const Task& task) {
  const int64_t steps = (task.depth + stride_quads - 1) / stride_quads;
  const auto* x = static_cast<const uint8_t*>(task.x);
  const auto* w = static_cast<const int8_t*>(task.weight);
  alignas(64) int32_t sums[2 * tile_rows * width];
  for (int64_t row = 0; row < task.rows; row += 2 * tile_rows) {
    const int64_t rows = std::min(2 * tile_rows, task.rows - row);
    const bool one = rows <= tile_rows;
    if (one)
      sum_one(x + row * task.x_stride, task.x_stride, w, steps, sums);
    else
      sum_two(x + row * task.x_stride, task.x_stride, w, steps, sums);
    finish_tiles(task, row, rows, one, sums);
  }
}

}  // namespace compress::nn::panels

#endif
