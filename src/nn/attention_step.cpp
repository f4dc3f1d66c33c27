// Attention of few queries to many keys: decoding one token after another.

#include "attention_softmax.h"

namespace compress::nn::kernel {

namespace {

using c10::BFloat16;
using simd::lanes;
using simd::Vec;

constexpr int64_t chunk = 64;  // keys that are widened to float at once

// Sums over the lanes of 8 vectors, in order.
COMPRESS_INLINE simd::Eight sum_each(simd::Eight* v) {
  constexpr simd::IntEight ones[] = {{0, 8, 2, 10, 4, 12, 6, 14}, {1, 9, 3, 11, 5, 13, 7, 15}};
  constexpr simd::IntEight twos[] = {{0, 1, 8, 9, 4, 5, 12, 13}, {2, 3, 10, 11, 6, 7, 14, 15}};
  constexpr simd::IntEight fours[] = {{0, 1, 2, 3, 8, 9, 10, 11}, {4, 5, 6, 7, 12, 13, 14, 15}};
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i)
    v[i] = __builtin_shuffle(v[2 * i], v[2 * i + 1], ones[0]) +
           __builtin_shuffle(v[2 * i], v[2 * i + 1], ones[1]);
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i)
    v[i] = __builtin_shuffle(v[2 * i], v[2 * i + 1], twos[0]) +
           __builtin_shuffle(v[2 * i], v[2 * i + 1], twos[1]);
  return __builtin_shuffle(v[0], v[1], fours[0]) + __builtin_shuffle(v[0], v[1], fours[1]);
}
// Of 16 vectors of 16.
COMPRESS_INLINE Vec sum_each(const Vec* v) {
  simd::Eight sums[2];
#pragma GCC unroll 2
  for (int half = 0; half < 2; ++half) {
    simd::Eight parts[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      simd::Eight pair[2];
      std::memcpy(pair, &v[8 * half + i], sizeof pair);
      parts[i] = pair[0] + pair[1];
    }
    sums[half] = sum_each(parts);
  }
  Vec all;
  std::memcpy(&all, sums, sizeof all);
  return all;
}

// Rows first .. first + count - 1 as floats, `ld` apart: where they lie, or in `room`.
COMPRESS_INLINE const float* floats(const float* from, int64_t stride, int64_t, int64_t, float*,
                                    int64_t& ld) {
  ld = stride;
  return from;
}
COMPRESS_INLINE const float* floats(const BFloat16* from, int64_t stride, int64_t count,
                                    int64_t width, float* room, int64_t& ld) {
  for (int64_t i = 0; i < count; ++i)
    for (int64_t d = 0; d < width; ++d) room[i * width + d] = simd::to_float(from[i * stride + d]);
  ld = width;
  return room;
}

// scores[m][16] of `count` keys (1 .. 16) and `heads` queries; scores are `ld` apart.
COMPRESS_INLINE void dots(const float* keys, int64_t stride, int64_t count, int64_t width,
                          const float* queries, int64_t heads, float* scores, int64_t ld) {
  for (int64_t m = 0; m < heads; ++m) {
    Vec sums[lanes];
#pragma GCC unroll 16
    for (int64_t k = 0; k < lanes; ++k) sums[k] = Vec{};
    for (int64_t d = 0; d < width; d += lanes) {
      const Vec query = simd::load(queries + m * width + d);
#pragma GCC unroll 16
      for (int64_t k = 0; k < lanes; ++k)
        sums[k] += query * simd::load(keys + std::min(k, count - 1) * stride + d);
    }
    simd::store(scores + m * ld, sum_each(sums));
  }
}

template <class T>
COMPRESS_INLINE void step_body(const Task& task, const Inputs<T>& in, T* out, int64_t out_stride,
                               float* memory) {
  const int64_t width = task.width, heads = task.queries * task.group;
  const Span seen = visible(task, 0, task.queries);
  const int64_t count = seen.empty() ? 0 : seen.end - seen.begin, columns = padded(count);
  float* queries = memory;                // [queries, group, width], later the output
  float* room = queries + heads * width;  // [chunk, width]
  float* scores = room + chunk * width;   // [queries, group, columns]
  for (int64_t i = 0; i < task.queries; ++i)
    for (int64_t d = 0; d < task.group * width; ++d)
      queries[i * task.group * width + d] = simd::to_float(in.q[i * in.q_stride + d]);
  int64_t ld = 0;
  for (int64_t j = 0; j < count; j += chunk) {
    const int64_t some = std::min(chunk, count - j);
    const float* keys =
        floats(in.k + (seen.begin + j) * in.kv_stride, in.kv_stride, some, width, room, ld);
    for (int64_t k = 0; k < some; k += lanes)
      dots(keys + k * ld, ld, std::min(lanes, some - k), width, queries, heads, scores + j + k,
           columns);
  }
  for (int64_t m = 0; m < heads; ++m) {
    const int64_t i = m / task.group, head = m % task.group;
    float* row = scores + m * columns;
    if (task.bias != nullptr) add_bias(task, head, i, seen.begin, columns, row);
    softmax_row(visible(task, i), task.bias != nullptr ? 1.0f : task.scale, seen.begin, columns,
                row);
  }
  for (int64_t i = 0; i < heads * width; ++i) queries[i] = 0;
  for (int64_t j = 0; j < count; j += chunk) {
    const int64_t some = std::min(chunk, count - j);
    const float* values =
        floats(in.v + (seen.begin + j) * in.kv_stride, in.kv_stride, some, width, room, ld);
    simd::multiply(heads, width, some, scores + j, columns, 1, values, ld, queries, width, true);
  }
  for (int64_t i = 0; i < task.queries; ++i)
    for (int64_t d = 0; d < task.group * width; ++d)
      simd::from_float(queries[i * task.group * width + d], out[i * out_stride + d]);
}

COMPRESS_CLONES void run_step(const Task& task, const Inputs<float>& in, float* out,
                              int64_t out_stride, float* memory) {
  step_body(task, in, out, out_stride, memory);
}
COMPRESS_CLONES void run_step(const Task& task, const Inputs<BFloat16>& in, BFloat16* out,
                              int64_t out_stride, float* memory) {
  step_body(task, in, out, out_stride, memory);
}

}  // namespace

int64_t step_floats(const Task& task) {
  const int64_t heads = task.queries * task.group;
  return heads * (task.width + padded(task.keys)) + chunk * task.width;
}

void step(const Task& task, const Inputs<float>& in, float* out, int64_t out_stride,
          float* memory) {
  run_step(task, in, out, out_stride, memory);
}
void step(const Task& task, const Inputs<BFloat16>& in, BFloat16* out, int64_t out_stride,
          float* memory) {
  run_step(task, in, out, out_stride, memory);
}

}  // namespace compress::nn::kernel
