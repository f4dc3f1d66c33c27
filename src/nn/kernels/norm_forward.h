#pragma once
// norm(residual + dropout(x)), row by row: forward.

#include <cmath>
#include <type_traits>

#include "kernels/elements.h"

namespace compress::nn {

// What all rows have in common.
struct NormTask {
  int64_t width;
  float eps;
  uint32_t threshold;  // of dropout; 0 = none
  float keep_scale;
  uint64_t seed;
  // The number of row r among those that the draws count: first_row + (places ? places[r] : r).
  int64_t first_row;
  const int64_t* places;
  bool rms;  // no mean
};

// factor[j] = 0 or keep_scale for the elements of row `row`; the same draws as dropout().
COMPRESS_INLINE void draw(const NormTask& task, int64_t row, float* factor) {
  constexpr int64_t chunk = 64;
  const int64_t place = task.places == nullptr ? row : task.places[row];
  const auto first = static_cast<uint64_t>((task.first_row + place) * task.width / 4);
  uint16_t random[chunk];
  for (int64_t at = 0; at < task.width; at += chunk) {
    simd::random_lanes<chunk>(task.seed, first + static_cast<uint64_t>(at / 4), random);
    const int64_t count = std::min(chunk, task.width - at);
    for (int64_t i = 0; i < count; ++i)
      factor[at + i] = random[i] >= task.threshold ? task.keep_scale : 0.0f;
  }
}

template <int lanes>
COMPRESS_INLINE float total(const float* x, int64_t count) {
  using V = simd::Vec<lanes>;
  V sums{};
  int64_t j = 0;
  for (; j + lanes <= count; j += lanes) sums += simd::load<V>(x + j);
  float sum = simd::sum(sums);
  for (; j < count; ++j) sum += x[j];
  return sum;
}

// `sum` keeps residual + dropout(x) as it was stored, so that backward sees what forward saw;
// without a residual it is x itself and is not written. `work` holds two rows of floats.
template <int lanes, class T>
COMPRESS_INLINE void forward_row(const NormTask& task, int64_t row, const T* x, const T* residual,
                                 const float* gain, const float* bias, T* sum, T* y, float* stats,
                                 float* work) {
  const int64_t n = task.width;
  float* value = work;
  float* other = work + n;
  if (residual == nullptr) {
    for (int64_t j = 0; j < n; ++j) value[j] = simd::to_float(x[j]);
  } else {
    if (task.threshold > 0) {
      draw(task, row, other);
      for (int64_t j = 0; j < n; ++j)
        value[j] = simd::to_float(x[j]) * other[j] + simd::to_float(residual[j]);
    } else {
      for (int64_t j = 0; j < n; ++j) value[j] = simd::to_float(x[j]) + simd::to_float(residual[j]);
    }
    for (int64_t j = 0; j < n; ++j) simd::from_float(value[j], sum[j]);
    for (int64_t j = 0; j < n; ++j) value[j] = simd::to_float(sum[j]);
  }
  const float mean = task.rms ? 0.0f : total<lanes>(value, n) / static_cast<float>(n);
  for (int64_t j = 0; j < n; ++j) {
    value[j] -= mean;
    other[j] = value[j] * value[j];
  }
  const float inverse = 1.0f / std::sqrt(total<lanes>(other, n) / static_cast<float>(n) + task.eps);
  for (int64_t j = 0; j < n; ++j) simd::from_float(value[j] * inverse * gain[j] + bias[j], y[j]);
  stats[0] = mean;
  stats[1] = inverse;
}

// Where a batch's rows lie; `residual` (with `sum`) may be null.
template <class T>
struct ForwardRows {
  const T *x, *residual;
  const float *gain, *bias;
  T *sum, *y;
  float* stats;
};

// forward_row() of `rows` rows of floats from the one `first` on, without draws, in registers: of
// several, so that none waits for its own sums alone. `width` is whole registers. The same to the
// bit.
template <int lanes, int rows>
COMPRESS_INLINE void forward_together(const NormTask& task, int64_t first,
                                      const ForwardRows<float>& of) {
  using V = simd::Vec<lanes>;
  const int64_t n = task.width, at = first * n;
  const auto count = static_cast<float>(n);
  const float* from = of.x + at;
  V sums[rows] = {};
  if (of.residual != nullptr) {
    float* sum = of.sum + at;
    for (int64_t j = 0; j < n; j += lanes)
#pragma GCC unroll 4
      for (int r = 0; r < rows; ++r) {
        const V v = simd::load<V>(from + r * n + j) + simd::load<V>(of.residual + at + r * n + j);
        simd::store(sum + r * n + j, v);
        sums[r] += v;
      }
    from = sum;
  } else {
    for (int64_t j = 0; j < n; j += lanes)
#pragma GCC unroll 4
      for (int r = 0; r < rows; ++r) sums[r] += simd::load<V>(from + r * n + j);
  }
  float mean[rows], inverse[rows];
  for (int r = 0; r < rows; ++r) mean[r] = task.rms ? 0.0f : simd::sum(sums[r]) / count;
  V squares[rows] = {};
  for (int64_t j = 0; j < n; j += lanes)
#pragma GCC unroll 4
    for (int r = 0; r < rows; ++r) {
      const V v = simd::load<V>(from + r * n + j) - mean[r];
      squares[r] += simd::rounded(v * v);
    }
  for (int r = 0; r < rows; ++r)
    inverse[r] = 1.0f / std::sqrt(simd::sum(squares[r]) / count + task.eps);
  for (int64_t j = 0; j < n; j += lanes) {
    const V gain = simd::load<V>(of.gain + j), bias = simd::load<V>(of.bias + j);
#pragma GCC unroll 4
    for (int r = 0; r < rows; ++r) {
      const V v = simd::load<V>(from + r * n + j) - mean[r];
      simd::store(of.y + at + r * n + j, v * inverse[r] * gain + bias);
    }
  }
  for (int r = 0; r < rows; ++r) {
    of.stats[2 * (first + r)] = mean[r];
    of.stats[2 * (first + r) + 1] = inverse[r];
  }
}

template <int lanes>
COMPRESS_INLINE void forward_plain_rows(const NormTask& task, int64_t begin, int64_t end,
                                        const ForwardRows<float>& rows) {
  constexpr int together = 4;
  int64_t r = begin;
  for (; r + together <= end; r += together) forward_together<lanes, together>(task, r, rows);
  for (; r < end; ++r) forward_together<lanes, 1>(task, r, rows);
}

}  // namespace compress::nn
