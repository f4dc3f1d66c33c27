#pragma once
// What attention's kernels share: which keys a query sees, and rows of scores.

#include <algorithm>

#include "attention_kernel.h"
#include "simd.h"

namespace compress::nn::kernel {

COMPRESS_INLINE int64_t padded(int64_t n) {
  return (n + simd::lanes - 1) / simd::lanes * simd::lanes;
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
// Those that one of the queries first .. last - 1 sees, from a multiple of `lanes` on.
COMPRESS_INLINE Span visible(const Task& task, int64_t first, int64_t last) {
  return {visible(task, first).begin / simd::lanes * simd::lanes, visible(task, last - 1).end};
}

// row = row * scale + bias of query i; `columns` scores from key `first` on.
COMPRESS_INLINE void add_bias(const Task& task, int64_t head, int64_t i, int64_t first,
                              int64_t columns, float* row) {
  const float* bias =
      task.bias + head * task.bias_stride + task.reach - (task.keys - task.queries + i) + first;
  for (int64_t j = 0; j < columns; j += simd::lanes)
    simd::store(row + j, simd::load(row + j) * task.scale + simd::load(bias + j));
}

// Scores of keys first .. first + columns - 1 become probabilities of `seen`, 0 elsewhere.
COMPRESS_INLINE void softmax_row(Span seen, float scale, int64_t first, int64_t columns,
                                 float* row) {
  using simd::Vec;
  if (seen.empty()) {
    for (int64_t j = 0; j < columns; ++j) row[j] = 0;
    return;
  }
  for (int64_t j = 0; j < seen.begin - first; ++j) row[j] = -1e30f;
  for (int64_t j = seen.end - first; j < columns; ++j) row[j] = -1e30f;
  Vec top = simd::load(row) * scale;
  for (int64_t j = simd::lanes; j < columns; j += simd::lanes) {
    Vec v = simd::load(row + j) * scale;
    top = v > top ? v : top;
  }
  float largest = top[0];
  for (int l = 1; l < simd::lanes; ++l) largest = top[l] > largest ? top[l] : largest;
  Vec sum{};
  for (int64_t j = 0; j < columns; j += simd::lanes) {
    Vec e = simd::exp_negative(simd::load(row + j) * scale - largest);
    simd::store(row + j, e);
    sum += e;
  }
  float total = 0;
  for (int l = 0; l < simd::lanes; ++l) total += sum[l];
  Vec inverse = simd::splat(1.0f / total);
  for (int64_t j = 0; j < columns; j += simd::lanes)
    simd::store(row + j, simd::load(row + j) * inverse);
}

}  // namespace compress::nn::kernel
