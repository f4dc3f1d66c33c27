#include <ATen/Parallel.h>

#include "compress/nn/layers.h"
#include "flash_attention.h"
#include "simd.h"

namespace compress::nn {

namespace {

using simd::lanes;
using simd::Vec;
using torch::Tensor;

int64_t padded(int64_t n) {
  return (n + lanes - 1) / lanes * lanes;
}

// One head of one row: pointers are to its first token; tokens are `stride` elements apart
// (`out_stride` for outputs).
struct HeadTask {
  int64_t length, width;
  float scale;
  uint32_t threshold;  // of dropout; 0 = none
  float keep_scale;
  uint64_t seed;  // of this row and head
};

// Float32 working memory of one thread, grown as needed.
struct Workspace {
  std::vector<float> memory;
  float* take(int64_t count) {
    if (static_cast<int64_t>(memory.size()) < count) memory.resize(static_cast<size_t>(count));
    return memory.data();
  }
};

template <class T>
COMPRESS_INLINE void load_rows(const T* from, int64_t stride, const HeadTask& task, int64_t ld,
                               float* to) {
  for (int64_t i = 0; i < task.length; ++i) {
    for (int64_t d = 0; d < task.width; ++d) to[i * ld + d] = simd::to_float(from[i * stride + d]);
    for (int64_t d = task.width; d < ld; ++d) to[i * ld + d] = 0;
  }
}
// Transposed: to[d][i], columns beyond the length are zero.
COMPRESS_INLINE void transpose(const float* from, int64_t ld, const HeadTask& task, int64_t columns,
                               float* to) {
  for (int64_t d = 0; d < task.width; ++d)
    for (int64_t i = 0; i < columns; ++i)
      to[d * columns + i] = i < task.length ? from[i * ld + d] : 0.0f;
}
template <class T>
COMPRESS_INLINE void store_rows(const float* from, int64_t ld, const HeadTask& task, T* to,
                                int64_t stride) {
  for (int64_t i = 0; i < task.length; ++i)
    for (int64_t d = 0; d < task.width; ++d) simd::from_float(from[i * ld + d], to[i * stride + d]);
}

// Rows of scores become probabilities; columns beyond the length become 0.
COMPRESS_INLINE void softmax_rows(float* scores, const HeadTask& task, int64_t columns) {
  for (int64_t i = 0; i < task.length; ++i) {
    float* row = scores + i * columns;
    for (int64_t j = task.length; j < columns; ++j) row[j] = -1e30f;
    Vec top = simd::load(row) * task.scale;
    for (int64_t j = lanes; j < columns; j += lanes) {
      Vec v = simd::load(row + j) * task.scale;
      top = v > top ? v : top;
    }
    float largest = top[0];
    for (int l = 1; l < lanes; ++l) largest = top[l] > largest ? top[l] : largest;
    Vec sum{};
    for (int64_t j = 0; j < columns; j += lanes) {
      Vec e = simd::exp_negative(simd::load(row + j) * task.scale - largest);
      simd::store(row + j, e);
      sum += e;
    }
    float total = 0;
    for (int l = 0; l < lanes; ++l) total += sum[l];
    Vec inverse = simd::splat(1.0f / total);
    for (int64_t j = 0; j < columns; j += lanes)
      simd::store(row + j, simd::load(row + j) * inverse);
  }
}

// values *= dropout factors of row i (0 or keep_scale).
COMPRESS_INLINE void drop_row(float* values, const HeadTask& task, int64_t i, int64_t columns) {
  uint64_t row_seed = task.seed + static_cast<uint64_t>(i) * 0x9E3779B97F4A7C15ull;
  for (int64_t j = 0; j < columns; j += lanes) {
    uint16_t random[lanes];
    simd::random_lanes<lanes>(row_seed, static_cast<uint64_t>(j / 4), random);
    for (int64_t l = 0; l < lanes; ++l)
      values[j + l] *= random[l] >= task.threshold ? task.keep_scale : 0.0f;
  }
}

template <class T>
COMPRESS_INLINE void forward_body(const HeadTask& task, const T* q, const T* k, const T* v,
                                  int64_t stride, T* out, int64_t out_stride, float* memory) {
  const int64_t columns = padded(task.length), width = padded(task.width), n = task.length;
  float* queries = memory;                 // [n, width], later the output
  float* rows = queries + n * width;       // [n, width] keys, then values
  float* keys = rows + n * width;          // [width, columns]
  float* scores = keys + width * columns;  // [n, columns]
  load_rows(q, stride, task, width, queries);
  load_rows(k, stride, task, width, rows);
  transpose(rows, width, task, columns, keys);
  simd::multiply(n, columns, task.width, queries, width, 1, keys, columns, scores, columns);
  softmax_rows(scores, task, columns);
  if (task.threshold > 0)
    for (int64_t i = 0; i < n; ++i) drop_row(scores + i * columns, task, i, columns);
  load_rows(v, stride, task, width, rows);
  simd::multiply(n, width, n, scores, columns, 1, rows, width, queries, width);
  store_rows(queries, width, task, out, out_stride);
}

template <class T>
COMPRESS_INLINE void backward_body(const HeadTask& task, const T* q, const T* k, const T* v,
                                   int64_t stride, const T* d_out, int64_t out_stride, T* dq, T* dk,
                                   T* dv, float* memory) {
  const int64_t columns = padded(task.length), width = padded(task.width), n = task.length;
  float* queries = memory;                   // [n, width]
  float* keys = queries + n * width;         // [n, width]
  float* upstream = keys + n * width;        // [n, width]
  float* turned = upstream + n * width;      // [width, columns] keys, then values, transposed
  float* scores = turned + width * columns;  // [n, columns] probabilities
  float* d_scores = scores + n * columns;    // [n, columns]
  float* result = d_scores + n * columns;    // [n, width]
  load_rows(q, stride, task, width, queries);
  load_rows(k, stride, task, width, keys);
  load_rows(d_out, out_stride, task, width, upstream);
  transpose(keys, width, task, columns, turned);
  simd::multiply(n, columns, task.width, queries, width, 1, turned, columns, scores, columns);
  softmax_rows(scores, task, columns);
  load_rows(v, stride, task, width, result);
  transpose(result, width, task, columns, turned);
  simd::multiply(n, columns, task.width, upstream, width, 1, turned, columns, d_scores, columns);
  if (task.threshold > 0)
    for (int64_t i = 0; i < n; ++i) drop_row(d_scores + i * columns, task, i, columns);
  for (int64_t i = 0; i < n; ++i) {  // dS = P * (dP - sum(P dP)) * scale
    float* p = scores + i * columns;
    float* d = d_scores + i * columns;
    Vec sum{};
    for (int64_t j = 0; j < columns; j += lanes) sum += simd::load(p + j) * simd::load(d + j);
    float total = 0;
    for (int l = 0; l < lanes; ++l) total += sum[l];
    for (int64_t j = 0; j < columns; j += lanes)
      simd::store(d + j, simd::load(p + j) * (simd::load(d + j) - total) * task.scale);
  }
  simd::multiply(n, width, n, d_scores, columns, 1, keys, width, result, width);
  store_rows(result, width, task, dq, stride);
  simd::multiply(n, width, n, d_scores, 1, columns, queries, width, result, width);
  store_rows(result, width, task, dk, stride);
  if (task.threshold > 0)
    for (int64_t i = 0; i < n; ++i) drop_row(scores + i * columns, task, i, columns);
  simd::multiply(n, width, n, scores, 1, columns, upstream, width, result, width);
  store_rows(result, width, task, dv, stride);
}

using c10::BFloat16;
COMPRESS_CLONES void head_forward(const HeadTask& task, const float* q, const float* k,
                                  const float* v, int64_t stride, float* out, int64_t out_stride,
                                  float* memory) {
  forward_body(task, q, k, v, stride, out, out_stride, memory);
}
COMPRESS_CLONES void head_forward(const HeadTask& task, const BFloat16* q, const BFloat16* k,
                                  const BFloat16* v, int64_t stride, BFloat16* out,
                                  int64_t out_stride, float* memory) {
  forward_body(task, q, k, v, stride, out, out_stride, memory);
}
COMPRESS_CLONES void head_backward(const HeadTask& task, const float* q, const float* k,
                                   const float* v, int64_t stride, const float* d_out,
                                   int64_t out_stride, float* dq, float* dk, float* dv,
                                   float* memory) {
  backward_body(task, q, k, v, stride, d_out, out_stride, dq, dk, dv, memory);
}
COMPRESS_CLONES void head_backward(const HeadTask& task, const BFloat16* q, const BFloat16* k,
                                   const BFloat16* v, int64_t stride, const BFloat16* d_out,
                                   int64_t out_stride, BFloat16* dq, BFloat16* dk, BFloat16* dv,
                                   float* memory) {
  backward_body(task, q, k, v, stride, d_out, out_stride, dq, dk, dv, memory);
}

// Draws of dropout: none without `training`; the batch's first token is number `first_token` of its
// update.
struct Draws {
  bool training;
  int64_t seed, first_token;
};

// Calls work(task, element offset in qkv, element offset in the output, workspace) for every row
// and head.
template <class Work>
void for_each_head(const std::vector<int64_t>& offsets, const AttentionShape& shape,
                   const Draws& draws, const Work& work) {
  const int64_t rows = static_cast<int64_t>(offsets.size()) - 1, heads = shape.heads,
                width = shape.width;
  const uint32_t threshold = draws.training ? simd::drop_threshold(shape.dropout) : 0;
  const auto seed = static_cast<uint64_t>(draws.seed);
  at::parallel_for(0, rows * heads, 8, [&](int64_t begin, int64_t end) {
    thread_local Workspace workspace;
    for (int64_t item = begin; item < end; ++item) {
      const int64_t row = item / heads, head = item % heads;
      HeadTask task{
          offsets[row + 1] - offsets[row],
          width,
          static_cast<float>(shape.scale),
          threshold,
          static_cast<float>(65536.0 / (65536.0 - threshold)),
          mix64(seed ^ static_cast<uint64_t>((draws.first_token + offsets[row]) * heads + head))};
      const int64_t n = task.length, w = padded(width), c = padded(n);
      float* memory = workspace.take(4 * n * w + w * c + 2 * n * c);
      work(task, offsets[row] * 3 * heads * width + head * width,
           offsets[row] * heads * width + head * width, memory);
    }
  });
}

// Rows after the last token.
void clear_tail(Tensor& rows, int64_t tokens) {
  if (tokens < rows.size(0)) rows.narrow(0, tokens, rows.size(0) - tokens).zero_();
}

// `qkv` is contiguous.
Tensor packed_forward(const Tensor& qkv, const std::vector<int64_t>& offsets,
                      const AttentionShape& shape, const Draws& draws) {
  const int64_t hidden = shape.heads * shape.width;
  Tensor out = torch::empty({qkv.size(0), hidden}, qkv.options().requires_grad(false));
  clear_tail(out, offsets.back());
  simd::dispatch(qkv.scalar_type(), [&](auto sample) {
    using Scalar = decltype(sample);
    const Scalar* x = qkv.const_data_ptr<Scalar>();
    Scalar* y = out.mutable_data_ptr<Scalar>();
    for_each_head(offsets, shape, draws,
                  [&](const HeadTask& task, int64_t in, int64_t to, float* memory) {
                    head_forward(task, x + in, x + in + hidden, x + in + 2 * hidden, 3 * hidden,
                                 y + to, hidden, memory);
                  });
  });
  return out;
}

class PackedAttention : public torch::autograd::Function<PackedAttention> {
 public:
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& input,
                        const std::vector<int64_t>& offsets, int64_t heads, int64_t width,
                        double scale, double dropout, bool training, int64_t seed,
                        int64_t first_token) {
    Tensor qkv = input.contiguous();
    Tensor out =
        packed_forward(qkv, offsets, {heads, width, scale, dropout}, {training, seed, first_token});
    context->save_for_backward({qkv});
    context->saved_data["offsets"] = offsets;
    context->saved_data["shape"] =
        std::vector<double>{static_cast<double>(heads), static_cast<double>(width), scale, dropout};
    context->saved_data["training"] = training;
    context->saved_data["seed"] = seed;
    context->saved_data["first_token"] = first_token;
    return out;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    Tensor qkv = context->get_saved_variables()[0];
    Tensor upstream = gradients[0].contiguous();
    std::vector<double> s = context->saved_data["shape"].toDoubleVector();
    AttentionShape shape{static_cast<int64_t>(s[0]), static_cast<int64_t>(s[1]), s[2], s[3]};
    std::vector<int64_t> offsets = context->saved_data["offsets"].toIntVector();
    Tensor d_qkv = torch::empty_like(qkv);
    clear_tail(d_qkv, offsets.back());
    const int64_t hidden = shape.heads * shape.width;
    const Draws draws{context->saved_data["training"].toBool(), context->saved_data["seed"].toInt(),
                      context->saved_data["first_token"].toInt()};
    simd::dispatch(qkv.scalar_type(), [&](auto sample) {
      using Scalar = decltype(sample);
      const Scalar* x = qkv.const_data_ptr<Scalar>();
      const Scalar* g = upstream.const_data_ptr<Scalar>();
      Scalar* d = d_qkv.mutable_data_ptr<Scalar>();
      for_each_head(
          offsets, shape, draws, [&](const HeadTask& task, int64_t in, int64_t to, float* memory) {
            head_backward(task, x + in, x + in + hidden, x + in + 2 * hidden, 3 * hidden, g + to,
                          hidden, d + in, d + in + hidden, d + in + 2 * hidden, memory);
          });
    });
    return {d_qkv, Tensor(), Tensor(), Tensor(), Tensor(), Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

}  // namespace

torch::Tensor padded_attention(const torch::Tensor& qkv, const data::Batch& batch,
                               const AttentionShape& shape, DropoutSeeds& seeds,
                               torch::Tensor* scores) {
  const int64_t rows = batch.rows(), longest = batch.longest, heads = shape.heads,
                width = shape.width;
  // The grid's shape depends on the batch's longest row, so parts of an update draw for themselves.
  uint64_t seed = seeds.next();
  if (seeds.first_token() != 0) seed = mix64(seed ^ static_cast<uint64_t>(seeds.first_token()));
  Tensor grid = torch::zeros({rows * longest, qkv.size(1)}, qkv.options())
                    .index_copy(0, batch.slots, qkv.narrow(0, 0, batch.tokens()));
  grid = grid.view({rows, longest, 3, heads, width}).permute({2, 0, 3, 1, 4});
  Tensor raw = torch::matmul(grid[0], grid[1].transpose(-1, -2)).to(torch::kFloat32) * shape.scale;
  if (scores != nullptr) *scores = raw;
  Tensor lengths = batch.offsets.slice(0, 1) - batch.offsets.slice(0, 0, rows);
  Tensor absent = torch::arange(longest, lengths.options()).unsqueeze(0) >= lengths.unsqueeze(1);
  Tensor weights = torch::softmax(raw.masked_fill(absent.view({rows, 1, 1, longest}), -1e30), -1);
  if (seeds.training()) weights = dropout(weights, shape.dropout, seed);
  Tensor mixed = torch::matmul(weights.to(qkv.scalar_type()), grid[2])
                     .transpose(1, 2)
                     .reshape({rows * longest, heads * width});
  mixed = mixed.index_select(0, batch.slots);
  const int64_t tail = qkv.size(0) - batch.tokens();
  return tail == 0 ? mixed : at::constant_pad_nd(mixed, {0, 0, 0, tail});
}

torch::Tensor attention(const torch::Tensor& qkv, const data::Batch& batch,
                        const AttentionShape& shape, DropoutSeeds& seeds, torch::Tensor* scores) {
  if (scores == nullptr && can_flash(qkv, batch, shape))
    return flash_attention(qkv, batch, shape, seeds.training());
  bool packed = qkv.is_cpu() && scores == nullptr &&
                (qkv.scalar_type() == torch::kFloat32 || qkv.scalar_type() == torch::kBFloat16);
  if (!packed) return padded_attention(qkv, batch, shape, seeds, scores);
  const Draws draws{seeds.training() && shape.dropout > 0, static_cast<int64_t>(seeds.next()),
                    seeds.first_token()};
  if (!torch::GradMode::is_enabled())
    return packed_forward(qkv.contiguous(), batch.row_offsets, shape, draws);
  return PackedAttention::apply(qkv, batch.row_offsets, shape.heads, shape.width, shape.scale,
                                shape.dropout, draws.training, draws.seed, draws.first_token);
}

}  // namespace compress::nn
