#pragma once
// What attention's kernels share: which keys a query sees, and rows of scores.

#include <algorithm>

#include "kernels/attention_kernel.h"
#include "kernels/elements.h"

namespace compress::nn::kernel {

COMPRESS_INLINE int64_t padded(int64_t n) {
  return (n + simd::padding - 1) / simd::padding * simd::padding;
}

struct Span {
  int64_t begin, end;
  bool empty() const { return begin >= end; }
};

// The keys that query i sees.
COMPRESS_INLINE Span visible(const Task& task, int64_t i) {
  const int64_t place = task.keys - task.queries + i;
  return {task.window > 0 ? std::max<int64_t>(0, place - task.window + 1) : 0,
          task.causal ? std::min(task.keys, place + 1) : task.keys};
}
// The keys that one of the queries first .. last - 1 sees, from a multiple of `padding` on.
COMPRESS_INLINE Span visible(const Task& task, int64_t first, int64_t last) {
  return {visible(task, first).begin / simd::padding * simd::padding, visible(task, last - 1).end};
}

// row = row * scale + bias of query i; `columns` scores from key `first` on.
template <int lanes>
COMPRESS_INLINE void add_bias(const Task& task, int64_t head, int64_t i, int64_t first,
                              int64_t columns, float* row) {
  const float* bias =
      task.bias + head * task.bias_stride + task.reach - (task.keys - task.queries + i) + first;
  using V = simd::Vec<lanes>;
  for (int64_t j = 0; j < columns; j += lanes)
    simd::store(row + j, simd::load<V>(row + j) * task.scale + simd::load<V>(bias + j));
}

// Scores of keys first .. first + columns - 1 become probabilities of `seen`, 0 elsewhere.
template <int lanes>
COMPRESS_INLINE void softmax_row(Span seen, float scale, int64_t first, int64_t columns,
                                 float* row) {
  using V = simd::Vec<lanes>;
  if (seen.empty()) {
    for (int64_t j = 0; j < columns; ++j) row[j] = 0;
    return;
  }
  for (int64_t j = 0; j < seen.begin - first; ++j) row[j] = -1e30f;
  for (int64_t j = seen.end - first; j < columns; ++j) row[j] = -1e30f;
  V top = simd::load<V>(row) * scale;
  for (int64_t j = lanes; j < columns; j += lanes) {
    const V v = simd::load<V>(row + j) * scale;
    top = v > top ? v : top;
  }
  const float largest = simd::largest(top);
  V sum{};
  for (int64_t j = 0; j < columns; j += lanes) {
    const V e = simd::exp_negative(simd::load<V>(row + j) * scale - largest);
    simd::store(row + j, e);
    sum += e;
  }
  const V inverse = simd::splat<V>(1.0f / simd::sum(sum));
  for (int64_t j = 0; j < columns; j += lanes)
    simd::store(row + j, simd::load<V>(row + j) * inverse);
}

}  // namespace compress::nn::kernel
