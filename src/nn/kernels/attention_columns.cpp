// Attention whose scores lie in columns, one a query: where all queries see all keys. Softmax goes
// down the columns of a register at once; across rows, sums and largest values over a register's
// lanes took more time than the products of short rows.

#include <algorithm>

#include "kernels/attention_softmax.h"
#include "kernels/transpose.h"

namespace compress::nn::kernel {

namespace {

using c10::BFloat16;

constexpr int64_t most_queries = 96;  // at once

// Columns of whole registers and of whole blocks that are transposed.
template <int lanes>
COMPRESS_INLINE int64_t whole(int64_t columns) {
  constexpr int64_t together = std::max(lanes, 8);
  return (columns + together - 1) / together * together;
}

// simd::multiply() for n of whole registers, two of them at a time as far as they go.
template <int lanes>
COMPRESS_INLINE void products(int64_t m, int64_t n, int64_t k, const float* a, int64_t a_row,
                              int64_t a_col, const float* b, int64_t ldb, float* c, int64_t ldc) {
  const int64_t pairs = n / (2 * lanes) * (2 * lanes);
  if (pairs > 0) simd::multiply<lanes, 2>(m, pairs, k, a, a_row, a_col, b, ldb, c, ldc);
  if (pairs < n)
    simd::multiply<lanes, 1>(m, n - pairs, k, a, a_row, a_col, b + pairs, ldb, c + pairs, ldc);
}

// scores [keys][columns] become probabilities over keys. A sum is that of softmax_row(): over every
// `lanes`-th key first, then over these sums.
template <int lanes>
COMPRESS_INLINE void softmax_columns(int64_t keys, int64_t columns, float scale, float* scores) {
  using V = simd::Vec<lanes>;
  for (int64_t c = 0; c < columns; c += lanes) {
    float* first = scores + c;
    V top = simd::load<V>(first) * scale;
    for (int64_t k = 1; k < keys; ++k) {
      const V v = simd::load<V>(first + k * columns) * scale;
      top = v > top ? v : top;
    }
    for (int64_t k = 0; k < keys; ++k) {
      float* at = first + k * columns;
      simd::store(at, simd::exp_negative(simd::load<V>(at) * scale - top));
    }
    V sum{};
    for (int64_t l = 0; l < std::min<int64_t>(lanes, keys); ++l) {
      V part = simd::load<V>(first + l * columns);
      for (int64_t k = l + lanes; k < keys; k += lanes) part += simd::load<V>(first + k * columns);
      sum += part;
    }
    const V inverse = 1.0f / sum;
    for (int64_t k = 0; k < keys; ++k) {
      float* at = first + k * columns;
      simd::store(at, simd::load<V>(at) * inverse);
    }
  }
}

// Everything is read and written where it lies.
template <int lanes>
COMPRESS_INLINE void run_columns_body(const Task& task, const Inputs<float>& in, float* out,
                                      int64_t out_stride, float* memory) {
  const int64_t most = std::min(task.queries, most_queries), width = task.width;
  float* turned = memory;                               // [width][columns] queries
  float* scores = memory + width * whole<lanes>(most);  // [keys][columns]
  for (int64_t head = 0; head < task.group; ++head)
    for (int64_t first = 0; first < task.queries; first += most) {
      const int64_t rows = std::min(most, task.queries - first), columns = whole<lanes>(rows);
      simd::transpose<lanes>(in.q + first * in.q_stride + head * width, in.q_stride, rows, width,
                             columns, turned);
      products<lanes>(task.keys, columns, width, in.k, in.kv_stride, 1, turned, columns, scores,
                      columns);
      softmax_columns<lanes>(task.keys, columns, task.scale, scores);
      products<lanes>(rows, width, task.keys, scores, 1, columns, in.v, in.kv_stride,
                      out + first * out_stride + head * width, out_stride);
    }
}
COMPRESS_KERNEL(run_columns,
                (const Task& task, const Inputs<float>& in, float* out, int64_t out_stride,
                 float* memory),
                (task, in, out, out_stride, memory))

// Rows of bf16 as floats that lie close, and back.
template <int>
COMPRESS_INLINE void widen_body(const BFloat16* from, int64_t stride, int64_t rows, int64_t width,
                                float* to) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t d = 0; d < width; ++d) to[i * width + d] = simd::to_float(from[i * stride + d]);
}
COMPRESS_KERNEL(widen,
                (const BFloat16* from, int64_t stride, int64_t rows, int64_t width, float* to),
                (from, stride, rows, width, to))
template <int>
COMPRESS_INLINE void narrow_body(const float* from, int64_t rows, int64_t width, BFloat16* to,
                                 int64_t stride) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t d = 0; d < width; ++d) simd::from_float(from[i * width + d], to[i * stride + d]);
}
COMPRESS_KERNEL(narrow,
                (const float* from, int64_t rows, int64_t width, BFloat16* to, int64_t stride),
                (from, rows, width, to, stride))

int64_t own_floats(const Task& task) {
  return (task.width + task.keys) * padded(std::min(task.queries, most_queries));
}

}  // namespace

bool sees_all(const Task& task) {
  return !task.causal && task.window == 0 && task.threshold == 0 && task.bias == nullptr &&
         task.keys > 0 && task.width % simd::padding == 0;
}

int64_t columns_floats(const Task& task) {
  return own_floats(task) + 2 * task.width * (task.group * task.queries + task.keys);
}

void in_columns(const Task& task, const Inputs<float>& in, float* out, int64_t out_stride,
                float* memory) {
  run_columns(task, in, out, out_stride, memory);
}

void in_columns(const Task& task, const Inputs<BFloat16>& in, BFloat16* out, int64_t out_stride,
                float* memory) {
  const int64_t heads = task.group * task.width;
  float* q = memory + own_floats(task);
  float* k = q + task.queries * heads;
  float* v = k + task.keys * task.width;
  float* y = v + task.keys * task.width;
  widen(in.q, in.q_stride, task.queries, heads, q);
  widen(in.k, in.kv_stride, task.keys, task.width, k);
  widen(in.v, in.kv_stride, task.keys, task.width, v);
  run_columns(task, {q, k, v, heads, task.width}, y, heads, memory);
  narrow(y, task.queries, heads, out, out_stride);
}

}  // namespace compress::nn::kernel
