#include "products/panels.h"

#include <algorithm>

#include "products/couples.h"
#include "products/in_tiles.h"

namespace compress::nn::panels {

namespace {

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
struct WordProducts {
  COMPRESS_INLINE static void add(IntVec<lanes>& sum, IntVec<lanes> value, IntVec<lanes> weight) {
    sum += Couples<lanes>::multiply(value, weight);
  }
};
template <int lanes>
COMPRESS_INLINE void in_words_body(const Task& task) {
  in_tiles<lanes>(task, IntegerTile<lanes, int16_t, WordProducts<lanes>>());
}
COMPRESS_KERNEL(in_words, (const Task& task), (task))

constexpr bool words = true;

#else

void in_words(const Task&) {}
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

void widen(const Pair* panel, int64_t depth, float* to) {
  widen_inputs(panel, depth, to);
}

bool has_words() {
  return words;
}

}  // namespace compress::nn::panels
