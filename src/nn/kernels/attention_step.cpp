// Attention of few queries to many keys: decoding one token after another.

#include "kernels/attention_softmax.h"

namespace compress::nn::kernel {

namespace {

using c10::BFloat16;
using Eight = simd::Vec<8>;
using IntEight = simd::IntVec<8>;

constexpr int64_t chunk = 64;  // keys that are widened to float at once

// The sums over the lanes of each of 8 registers, in their order.
COMPRESS_INLINE Eight sum_eight(Eight* v) {
  constexpr IntEight ones[] = {{0, 8, 2, 10, 4, 12, 6, 14}, {1, 9, 3, 11, 5, 13, 7, 15}};
  constexpr IntEight twos[] = {{0, 1, 8, 9, 4, 5, 12, 13}, {2, 3, 10, 11, 6, 7, 14, 15}};
  constexpr IntEight fours[] = {{0, 1, 2, 3, 8, 9, 10, 11}, {4, 5, 6, 7, 12, 13, 14, 15}};
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
// The sums over the lanes of each of `lanes` registers, in their order.
template <int lanes>
COMPRESS_INLINE simd::Vec<lanes> sum_each(simd::Vec<lanes>* v) {
  if constexpr (lanes == 8) {
    return sum_eight(v);
  } else if constexpr (lanes == 16) {
    Eight sums[2];
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      Eight parts[8];
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) {
        Eight pair[2];
        std::memcpy(pair, &v[8 * half + i], sizeof pair);
        parts[i] = pair[0] + pair[1];
      }
      sums[half] = sum_eight(parts);
    }
    simd::Vec<16> all;
    std::memcpy(&all, sums, sizeof all);
    return all;
  } else {
    simd::Vec<lanes> all;
    for (int i = 0; i < lanes; ++i) all[i] = simd::sum(v[i]);
    return all;
  }
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

// scores[m][lanes] of `count` keys (1 .. lanes) and `heads` queries; scores are `ld` apart.
template <int lanes>
COMPRESS_INLINE void dots(const float* keys, int64_t stride, int64_t count, int64_t width,
                          const float* queries, int64_t heads, float* scores, int64_t ld) {
  using V = simd::Vec<lanes>;
  for (int64_t m = 0; m < heads; ++m) {
    V sums[lanes];
#pragma GCC unroll 16
    for (int64_t k = 0; k < lanes; ++k) sums[k] = V{};
    for (int64_t d = 0; d < width; d += lanes) {
      const V query = simd::load<V>(queries + m * width + d);
#pragma GCC unroll 16
      for (int64_t k = 0; k < lanes; ++k)
        sums[k] += query * simd::load<V>(keys + std::min(k, count - 1) * stride + d);
    }
    simd::store(scores + m * ld, sum_each<lanes>(sums));
  }
}

template <int lanes, class T>
COMPRESS_INLINE void run_step_body(const Task& task, const Inputs<T>& in, T* out,
                                   int64_t out_stride, float* memory) {
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
      dots<lanes>(keys + k * ld, ld, std::min<int64_t>(lanes, some - k), width, queries, heads,
                  scores + j + k, columns);
  }
  for (int64_t m = 0; m < heads; ++m) {
    const int64_t i = m / task.group, head = m % task.group;
    float* row = scores + m * columns;
    if (task.bias != nullptr) add_bias<lanes>(task, head, i, seen.begin, columns, row);
    softmax_row<lanes>(visible(task, i), task.bias != nullptr ? 1.0f : task.scale, seen.begin,
                       columns, row);
  }
  for (int64_t i = 0; i < heads * width; ++i) queries[i] = 0;
  for (int64_t j = 0; j < count; j += chunk) {
    const int64_t some = std::min(chunk, count - j);
    const float* values =
        floats(in.v + (seen.begin + j) * in.kv_stride, in.kv_stride, some, width, room, ld);
    simd::multiply<lanes>(heads, width, some, scores + j, columns, 1, values, ld, queries, width,
                          true);
  }
  for (int64_t i = 0; i < task.queries; ++i)
    for (int64_t d = 0; d < task.group * width; ++d)
      simd::from_float(queries[i * task.group * width + d], out[i * out_stride + d]);
}

COMPRESS_KERNEL(run_step,
                (const Task& task, const Inputs<float>& in, float* out, int64_t out_stride,
                 float* memory),
                (task, in, out, out_stride, memory))
COMPRESS_KERNEL(run_step,
                (const Task& task, const Inputs<BFloat16>& in, BFloat16* out, int64_t out_stride,
                 float* memory),
                (task, in, out, out_stride, memory))

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
