#include "kernels/attention_kernel.h"

#include "kernels/attention_softmax.h"
#include "kernels/transpose.h"

namespace compress::nn::kernel {

namespace {

using c10::BFloat16;

// Queries of a block. With a causal mask smaller blocks leave out more keys.
int64_t block_rows(const Task& task) {
  return std::min<int64_t>(task.queries, task.causal ? 48 : 96);
}

// Rows of `width` values as floats, zeros up to `ld`.
template <class T>
COMPRESS_INLINE void load_rows(const T* from, int64_t stride, int64_t rows, int64_t width,
                               int64_t ld, float* to) {
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t d = 0; d < width; ++d) to[i * ld + d] = simd::to_float(from[i * stride + d]);
    for (int64_t d = width; d < ld; ++d) to[i * ld + d] = 0;
  }
}
template <class T>
COMPRESS_INLINE void store_rows(const float* from, int64_t ld, int64_t rows, int64_t width, T* to,
                                int64_t stride) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t d = 0; d < width; ++d) simd::from_float(from[i * ld + d], to[i * stride + d]);
}

// values *= dropout factors (0 or keep_scale) of query i, from key `first` on.
COMPRESS_INLINE void drop_row(const Task& task, uint64_t seed, int64_t i, int64_t first,
                              int64_t columns, float* values) {
  uint64_t row_seed = seed + static_cast<uint64_t>(i) * 0x9E3779B97F4A7C15ull;
  for (int64_t j = 0; j < columns; j += simd::padding) {
    uint16_t random[simd::padding];
    simd::random_lanes<simd::padding>(row_seed, static_cast<uint64_t>((first + j) / 4), random);
    for (int64_t l = 0; l < simd::padding; ++l)
      values[j + l] *= random[l] >= task.threshold ? task.keep_scale : 0.0f;
  }
}

// A block of queries of one head, and the keys that they see.
struct Block {
  int64_t head, first, rows;
  Span seen;
  int64_t columns;  // of the scores: padded
  uint64_t seed;
};
COMPRESS_INLINE Block block_of(const Task& task, int64_t head, int64_t first, int64_t most) {
  const int64_t rows = std::min(most, task.queries - first);
  const Span seen = visible(task, first, first + rows);
  return {head,
          first,
          rows,
          seen,
          seen.empty() ? 0 : padded(seen.end - seen.begin),
          mix64(task.seed ^ (task.number + static_cast<uint64_t>(head)))};
}

// The block's probabilities. `turned` holds all keys, transposed.
template <int lanes>
COMPRESS_INLINE void probabilities(const Task& task, const Block& block, const float* queries,
                                   int64_t width, const float* turned, int64_t keys,
                                   float* scores) {
  const int64_t columns = block.columns;
  simd::multiply<lanes>(block.rows, columns, task.width, queries, width, 1,
                        turned + block.seen.begin, keys, scores, columns);
  for (int64_t r = 0; r < block.rows; ++r) {
    float* row = scores + r * columns;
    const int64_t i = block.first + r;
    if (task.bias != nullptr) add_bias<lanes>(task, block.head, i, block.seen.begin, columns, row);
    softmax_row<lanes>(visible(task, i), task.bias != nullptr ? 1.0f : task.scale, block.seen.begin,
                       columns, row);
  }
}
COMPRESS_INLINE void drop_rows(const Task& task, const Block& block, float* values) {
  if (task.threshold == 0) return;
  for (int64_t r = 0; r < block.rows; ++r)
    drop_row(task, block.seed, block.first + r, block.seen.begin, block.columns,
             values + r * block.columns);
}

template <int lanes, class T>
COMPRESS_INLINE void run_forward_body(const Task& task, const Inputs<T>& in, T* out,
                                      int64_t out_stride, int64_t most, float* memory) {
  const int64_t columns = padded(task.keys), width = padded(task.width);
  float* rows = memory;                       // [keys, width] keys, then values
  float* turned = rows + task.keys * width;   // [width, columns] keys
  float* queries = turned + width * columns;  // [most, width], later the output
  float* scores = queries + most * width;     // [most, columns]
  load_rows(in.k, in.kv_stride, task.keys, task.width, width, rows);
  simd::transpose<lanes>(rows, width, task.keys, width, columns, turned);
  load_rows(in.v, in.kv_stride, task.keys, task.width, width, rows);
  for (int64_t head = 0; head < task.group; ++head)
    for (int64_t first = 0; first < task.queries; first += most) {
      const Block block = block_of(task, head, first, most);
      load_rows(in.q + first * in.q_stride + head * task.width, in.q_stride, block.rows, task.width,
                width, queries);
      if (!block.seen.empty())
        probabilities<lanes>(task, block, queries, width, turned, columns, scores);
      drop_rows(task, block, scores);
      const int64_t count = block.seen.empty() ? 0 : block.seen.end - block.seen.begin;
      simd::multiply<lanes>(block.rows, width, count, scores, block.columns, 1,
                            rows + block.seen.begin * width, width, queries, width);
      store_rows(queries, width, block.rows, task.width,
                 out + first * out_stride + head * task.width, out_stride);
    }
}

// d_scores becomes the gradient of the scores before scaling, its sums over diagonals go to d_bias.
template <int lanes>
COMPRESS_INLINE void through_softmax(const Task& task, const Block& block, const float* scores,
                                     float* d_scores, float* d_bias) {
  using V = simd::Vec<lanes>;
  for (int64_t r = 0; r < block.rows; ++r) {  // dS = P * (dP - sum(P dP)) * scale
    const float* p = scores + r * block.columns;
    float* d = d_scores + r * block.columns;
    V sum{};
    for (int64_t j = 0; j < block.columns; j += lanes)
      sum += simd::load<V>(p + j) * simd::load<V>(d + j);
    const float total = simd::sum(sum);
    if (d_bias != nullptr) {
      float* to = d_bias + block.head * task.bias_stride + task.reach -
                  (task.keys - task.queries + block.first + r) + block.seen.begin;
      for (int64_t j = 0; j < block.columns; j += lanes)
        simd::store(to + j,
                    simd::load<V>(to + j) + simd::load<V>(p + j) * (simd::load<V>(d + j) - total));
    }
    for (int64_t j = 0; j < block.columns; j += lanes)
      simd::store(d + j, simd::load<V>(p + j) * (simd::load<V>(d + j) - total) * task.scale);
  }
}

template <int lanes, class T>
COMPRESS_INLINE void run_backward_body(const Task& task, const Inputs<T>& in,
                                       const Gradients<T>& to, int64_t most, float* memory) {
  const int64_t columns = padded(task.keys), width = padded(task.width), n = task.keys;
  float* keys = memory;                   // [keys, width]
  float* turned_keys = keys + n * width;  // [width, columns]
  float* turned_values = turned_keys + width * columns;
  float* d_keys = turned_values + width * columns;  // [keys, width]
  float* d_values = d_keys + n * width;
  float* queries = d_values + n * width;  // [most, width]
  float* upstream = queries + most * width;
  float* result = upstream + most * width;
  float* scores = result + most * width;  // [most, columns] probabilities
  float* d_scores = scores + most * columns;
  load_rows(in.v, in.kv_stride, n, task.width, width, keys);
  simd::transpose<lanes>(keys, width, n, width, columns, turned_values);
  load_rows(in.k, in.kv_stride, n, task.width, width, keys);
  simd::transpose<lanes>(keys, width, n, width, columns, turned_keys);
  // Blocks add to what earlier ones left; the first one need not where it sees all keys.
  const Span first_seen = visible(task, 0, std::min(most, task.queries));
  const bool fresh = first_seen.begin == 0 && first_seen.end == n && task.queries > 0;
  if (!fresh) {
    std::fill_n(d_keys, n * width, 0.0f);
    std::fill_n(d_values, n * width, 0.0f);
  }
  for (int64_t head = 0; head < task.group; ++head)
    for (int64_t first = 0; first < task.queries; first += most) {
      const Block block = block_of(task, head, first, most);
      const int64_t from = block.seen.begin, column = head * task.width;
      const int64_t count = block.seen.empty() ? 0 : block.seen.end - from;
      if (count > 0) {
        load_rows(in.q + first * in.q_stride + column, in.q_stride, block.rows, task.width, width,
                  queries);
        load_rows(to.d_out + first * to.out_stride + column, to.out_stride, block.rows, task.width,
                  width, upstream);
        probabilities<lanes>(task, block, queries, width, turned_keys, columns, scores);
        simd::multiply<lanes>(block.rows, block.columns, task.width, upstream, width, 1,
                              turned_values + from, columns, d_scores, block.columns);
        drop_rows(task, block, d_scores);
        through_softmax<lanes>(task, block, scores, d_scores, to.d_bias);
      }
      simd::multiply<lanes>(block.rows, width, count, d_scores, block.columns, 1,
                            keys + from * width, width, result, width);
      store_rows(result, width, block.rows, task.width, to.dq + first * to.dq_stride + column,
                 to.dq_stride);
      if (count == 0) continue;
      simd::multiply<lanes>(count, width, block.rows, d_scores, 1, block.columns, queries, width,
                            d_keys + from * width, width, !fresh || head > 0 || first > 0);
      drop_rows(task, block, scores);
      simd::multiply<lanes>(count, width, block.rows, scores, 1, block.columns, upstream, width,
                            d_values + from * width, width, !fresh || head > 0 || first > 0);
    }
  store_rows(d_keys, width, n, task.width, to.dk, to.dkv_stride);
  store_rows(d_values, width, n, task.width, to.dv, to.dkv_stride);
}

// Overloads for float and bfloat16.
#define COMPRESS_ATTENTION(T)                                                                   \
  COMPRESS_KERNEL(run_forward,                                                                  \
                  (const Task& task, const Inputs<T>& in, T* out, int64_t out_stride,           \
                   int64_t most, float* memory),                                                \
                  (task, in, out, out_stride, most, memory))                                    \
  COMPRESS_KERNEL(run_backward,                                                                 \
                  (const Task& task, const Inputs<T>& in, const Gradients<T>& to, int64_t most, \
                   float* memory),                                                              \
                  (task, in, to, most, memory))
COMPRESS_ATTENTION(float)
COMPRESS_ATTENTION(BFloat16)

}  // namespace

int64_t forward_floats(const Task& task) {
  if (sees_all(task)) return columns_floats(task);
  const int64_t columns = padded(task.keys), width = padded(task.width), most = block_rows(task);
  return task.keys * width + width * columns + most * (width + columns);
}
int64_t backward_floats(const Task& task) {
  const int64_t columns = padded(task.keys), width = padded(task.width), most = block_rows(task);
  return 3 * task.keys * width + 2 * width * columns + most * (3 * width + 2 * columns);
}

void forward(const Task& task, const Inputs<float>& in, float* out, int64_t out_stride,
             float* memory) {
  if (sees_all(task))
    in_columns(task, in, out, out_stride, memory);
  else
    run_forward(task, in, out, out_stride, block_rows(task), memory);
}
void forward(const Task& task, const Inputs<BFloat16>& in, BFloat16* out, int64_t out_stride,
             float* memory) {
  if (sees_all(task))
    in_columns(task, in, out, out_stride, memory);
  else
    run_forward(task, in, out, out_stride, block_rows(task), memory);
}
void backward(const Task& task, const Inputs<float>& in, const Gradients<float>& gradients,
              float* memory) {
  run_backward(task, in, gradients, block_rows(task), memory);
}
void backward(const Task& task, const Inputs<BFloat16>& in, const Gradients<BFloat16>& gradients,
              float* memory) {
  run_backward(task, in, gradients, block_rows(task), memory);
}

}  // namespace compress::nn::kernel
