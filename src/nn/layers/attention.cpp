// Attention over packed rows on the CPU: what is computed where. The arithmetic is in
// attention_kernel.cpp and attention_step.cpp.

#include <ATen/Parallel.h>

#include "compress/nn/layers.h"
#include "kernels/attention_kernel.h"
#include "kernels/elements.h"
#include "layers/flash_attention.h"
#include "layers/padded_attention.h"

namespace compress::nn {

namespace {

using torch::Tensor;

constexpr int64_t step_queries = 4;  // rows of so few queries take kernel::step()

// One call, as backward needs it again.
struct Plan : torch::CustomClassHolder {
  TokenRows queries, keys;
  AttentionShape shape;
  uint32_t threshold = 0;
  uint64_t seed = 0;
  int64_t first_token = 0;
  std::vector<int64_t> drawn;  // the first token of each row of queries
  int64_t reach = 0;

  int64_t rows() const { return queries.rows(); }
  int64_t group() const { return shape.heads / shape.keys(); }
  kernel::Task task(int64_t row, int64_t head) const;
};

// The kernel's task for `row` and head `head` of the keys.
kernel::Task Plan::task(int64_t row, int64_t head) const {
  const size_t r = static_cast<size_t>(row);
  kernel::Task task;
  task.queries = queries.length[r];
  task.keys = keys.length[r];
  task.width = shape.width;
  task.group = group();
  task.causal = shape.causal;
  task.window = shape.window;
  task.scale = static_cast<float>(shape.scale);
  task.threshold = threshold;
  task.keep_scale = static_cast<float>(65536.0 / (65536.0 - threshold));
  task.seed = seed;
  task.number = static_cast<uint64_t>((first_token + drawn[r]) * shape.heads + head * task.group);
  return task;
}

void check_rows(const TokenRows& rows, int64_t tokens, const char* what) {
  TORCH_CHECK(rows.begin.size() == rows.length.size(), "attention: ", what, " begin and length");
  for (size_t r = 0; r < rows.begin.size(); ++r)
    TORCH_CHECK(rows.begin[r] >= 0 && rows.length[r] >= 0 &&
                    rows.begin[r] + rows.length[r] <= tokens && rows.length[r] <= rows.longest,
                "attention: row ", r, " of the ", what, " does not fit");
}

void check(const AttentionInput& input, const AttentionShape& shape) {
  const int64_t heads = shape.heads, keys = shape.keys(), width = shape.width;
  TORCH_CHECK(heads > 0 && width > 0 && keys > 0 && heads % keys == 0, "attention: ", heads,
              " heads of queries, ", keys, " of keys");
  const int64_t pairs = 2 * keys * width;
  TORCH_CHECK(input.queries.dim() == 2 &&
                  input.queries.size(1) >= heads * width + (input.pairs.defined() ? 0 : pairs),
              "attention: queries have ", input.queries.sizes());
  TORCH_CHECK(!input.pairs.defined() || (input.pairs.dim() == 2 && input.pairs.size(1) == pairs),
              "attention: keys and values have ", input.pairs.sizes());
  check_rows(*input.query_rows, input.queries.size(0), "queries");
  if (input.key_rows == nullptr) return;
  TORCH_CHECK(input.key_rows->rows() == input.query_rows->rows(), "attention: rows of keys");
  check_rows(*input.key_rows, (input.pairs.defined() ? input.pairs : input.queries).size(0),
             "keys");
}

// `bias` [heads, 2 reach + 1] as the kernels read it: reversed, with room behind.
Tensor reversed(const Tensor& bias, const Plan& plan) {
  TORCH_CHECK(bias.dim() == 2 && bias.size(0) == plan.shape.heads && bias.size(1) % 2 == 1 &&
                  plan.reach >= std::max(plan.keys.longest, plan.queries.longest) - 1,
              "attention: a bias of ", bias.sizes(), " for rows of ", plan.keys.longest);
  return at::constant_pad_nd(bias.detach().to(torch::kFloat32).flip(1), {0, simd::padding});
}

// Zeroes the tokens that are in no row, or everything where that is not simple.
void clear_gaps(Tensor& to, const TokenRows& rows) {
  int64_t at = 0;
  for (size_t r = 0; r < rows.begin.size(); ++r) {
    if (rows.begin[r] < at) {  // not one after the other
      to.zero_();
      return;
    }
    if (rows.begin[r] > at) to.narrow(0, at, rows.begin[r] - at).zero_();
    at = rows.begin[r] + rows.length[r];
  }
  if (at < to.size(0)) to.narrow(0, at, to.size(0) - at).zero_();
}

// Memory for what kernels write in the rows' tokens, zero in others.
Tensor empty_rows(int64_t columns, const Tensor& like, const TokenRows& rows) {
  Tensor out = torch::empty({like.size(0), columns}, like.options().requires_grad(false));
  clear_gaps(out, rows);
  return out;
}

// Where a tensor's columns lie.
template <class T>
struct Columns {
  T* at = nullptr;
  int64_t stride = 0;
  T* of(int64_t token, int64_t column) const { return at + token * stride + column; }
};
template <class T>
Columns<const T> read(const Tensor& x) {
  return {x.const_data_ptr<T>(), x.stride(0)};
}
template <class T>
Columns<T> write(Tensor& x) {
  return {x.mutable_data_ptr<T>(), x.stride(0)};
}
Tensor dense(const Tensor& x) {
  return x.defined() && x.stride(1) != 1 ? x.contiguous() : x;
}

// Calls work(task, row, head of keys, memory) for every row and head of keys.
template <class Size, class Work>
void for_each_head(const Plan& plan, int64_t least, const Size& size, const Work& work) {
  const int64_t heads = plan.shape.keys();
  int64_t products = 0;
  for (size_t r = 0; r < plan.queries.length.size(); ++r)
    products += plan.queries.length[r] * plan.keys.length[r];
  products *= plan.group() * plan.shape.width;
  const int64_t each = products / std::max<int64_t>(1, plan.rows());
  const int64_t grain = std::clamp<int64_t>(least / std::max<int64_t>(1, each), 1, 8);
  at::parallel_for(0, plan.rows() * heads, grain, [&](int64_t begin, int64_t end) {
    thread_local std::vector<float> workspace;
    for (int64_t item = begin; item < end; ++item) {
      const kernel::Task task = plan.task(item / heads, item % heads);
      const auto floats = static_cast<size_t>(size(task));
      if (workspace.size() < floats) workspace.resize(floats);
      work(task, item / heads, item % heads, workspace.data());
    }
  });
}

// Pointers of one row and head of keys. Keys and values begin at column `first_key` of `pairs`.
template <class T>
kernel::Inputs<T> inputs_of(const Plan& plan, int64_t row, int64_t head, Columns<const T> queries,
                            Columns<const T> pairs, int64_t first_key) {
  const size_t r = static_cast<size_t>(row);
  const int64_t width = plan.shape.width, column = first_key + head * width;
  return {queries.of(plan.queries.begin[r], head * plan.group() * width),
          pairs.of(plan.keys.begin[r], column),
          pairs.of(plan.keys.begin[r], column + plan.shape.keys() * width), queries.stride,
          pairs.stride};
}

bool few_queries(const Plan& plan, const Tensor& pairs) {
  return pairs.defined() && plan.threshold == 0 && plan.shape.width % simd::padding == 0 &&
         plan.queries.longest <= step_queries;
}

// `bias` is reversed. Tensors are dense.
Tensor packed_forward(const Plan& plan, const Tensor& queries, const Tensor& pairs,
                      const Tensor& bias, bool stepwise) {
  const int64_t hidden = plan.shape.heads * plan.shape.width;
  Tensor out = empty_rows(hidden, queries, plan.queries);
  simd::dispatch(queries.scalar_type(), [&](auto sample) {
    using T = decltype(sample);
    const Columns<const T> q = read<T>(queries), kv = pairs.defined() ? read<T>(pairs) : q;
    const Columns<T> y = write<T>(out);
    for_each_head(
        plan, stepwise ? 1 << 15 : 1 << 18, stepwise ? kernel::step_floats : kernel::forward_floats,
        [&](kernel::Task task, int64_t row, int64_t head, float* memory) {
          if (bias.defined()) {
            task.bias_stride = bias.stride(0);
            task.bias = bias.const_data_ptr<float>() + head * task.group * task.bias_stride;
            task.reach = plan.reach;
          }
          const auto in = inputs_of(plan, row, head, q, kv, pairs.defined() ? 0 : hidden);
          T* to =
              y.of(plan.queries.begin[static_cast<size_t>(row)], head * task.group * task.width);
          if (stepwise)
            kernel::step(task, in, to, hidden, memory);
          else
            kernel::forward(task, in, to, hidden, memory);
        });
  });
  return out;
}

struct PackedGradients {
  Tensor queries, pairs, bias;
};
PackedGradients packed_backward(const Plan& plan, const Tensor& queries, const Tensor& pairs,
                                const Tensor& bias, bool bias_gradient, const Tensor& upstream) {
  const int64_t width = plan.shape.width, hidden = plan.shape.heads * width,
                keys = plan.shape.keys() * width;
  const bool own = !pairs.defined();
  PackedGradients out;
  out.queries = empty_rows(queries.size(1), queries, plan.queries);
  // Columns that nothing reads.
  const int64_t used = own ? hidden + 2 * keys : hidden;
  if (used < queries.size(1)) out.queries.narrow(1, used, queries.size(1) - used).zero_();
  if (own && (plan.keys.begin != plan.queries.begin || plan.keys.length != plan.queries.length))
    out.queries.zero_();
  if (!own) out.pairs = empty_rows(2 * keys, pairs, plan.keys);
  Tensor partial;  // of each row: the sum does not depend on the number of threads
  if (bias_gradient)
    partial = torch::zeros({plan.rows(), plan.shape.heads, bias.size(1)}, torch::kFloat32);
  simd::dispatch(queries.scalar_type(), [&](auto sample) {
    using T = decltype(sample);
    const Columns<const T> q = read<T>(queries), kv = own ? q : read<T>(pairs);
    const Columns<T> dq = write<T>(out.queries), dkv = own ? dq : write<T>(out.pairs);
    const T* g = upstream.const_data_ptr<T>();
    for_each_head(
        plan, 1 << 18, kernel::backward_floats,
        [&](kernel::Task task, int64_t row, int64_t head, float* memory) {
          const size_t r = static_cast<size_t>(row);
          const int64_t column = head * task.group * width, key = (own ? hidden : 0) + head * width;
          kernel::Gradients<T> to{g + plan.queries.begin[r] * hidden + column,
                                  hidden,
                                  dq.of(plan.queries.begin[r], column),
                                  dkv.of(plan.keys.begin[r], key),
                                  dkv.of(plan.keys.begin[r], key + keys),
                                  dq.stride,
                                  dkv.stride,
                                  nullptr};
          if (bias.defined()) {
            task.bias_stride = bias.stride(0);
            task.bias = bias.const_data_ptr<float>() + head * task.group * task.bias_stride;
            task.reach = plan.reach;
            if (bias_gradient)
              to.d_bias = partial.mutable_data_ptr<float>() +
                          (row * plan.shape.heads + head * task.group) * task.bias_stride;
          }
          kernel::backward(task, inputs_of(plan, row, head, q, kv, own ? hidden : 0), to, memory);
        });
  });
  if (bias_gradient) out.bias = partial.sum(0).narrow(1, 0, 2 * plan.reach + 1).flip(1);
  return out;
}

class PackedAttention : public torch::autograd::Function<PackedAttention> {
 public:
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& queries,
                        const std::optional<Tensor>& pairs, const std::optional<Tensor>& bias,
                        const c10::intrusive_ptr<Plan>& plan) {
    const Tensor q = dense(queries), kv = dense(pairs.value_or(Tensor()));
    const Tensor turned = bias.has_value() ? reversed(*bias, *plan) : Tensor();
    context->save_for_backward({q, kv, turned});
    context->saved_data["plan"] = torch::IValue::make_capsule(plan);
    context->saved_data["bias_gradient"] = bias.has_value() && bias->requires_grad();
    return packed_forward(*plan, q, kv, turned, false);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const auto plan = context->saved_data["plan"].toCapsule();
    const Tensor upstream = gradients[0].to(saved[0].scalar_type()).contiguous();
    auto [queries, pairs, bias] =
        packed_backward(static_cast<const Plan&>(*plan), saved[0], saved[1], saved[2],
                        context->saved_data["bias_gradient"].toBool(), upstream);
    return {queries, pairs, bias, Tensor()};
  }
};

// Autograd takes no undefined tensors.
std::optional<Tensor> if_defined(const Tensor& x) {
  return x.defined() ? std::optional<Tensor>(x) : std::nullopt;
}

// Whether two rows have tokens in common: gradients of such keys would be written twice.
bool overlap(const TokenRows& rows) {
  std::vector<std::pair<int64_t, int64_t>> spans;
  for (size_t r = 0; r < rows.begin.size(); ++r)
    if (rows.length[r] > 0) spans.emplace_back(rows.begin[r], rows.begin[r] + rows.length[r]);
  std::sort(spans.begin(), spans.end());
  for (size_t i = 1; i < spans.size(); ++i)
    if (spans[i].first < spans[i - 1].second) return true;
  return false;
}

bool wants_gradient(const AttentionInput& input) {
  if (!torch::GradMode::is_enabled()) return false;
  for (const Tensor* x : {&input.queries, &input.pairs, &input.distance_bias})
    if (x->defined() && x->requires_grad()) return true;
  return false;
}

bool has_kernel(const AttentionInput& input) {
  const torch::ScalarType type = input.queries.scalar_type();
  return input.queries.is_cpu() && (type == torch::kFloat32 || type == torch::kBFloat16) &&
         (!input.pairs.defined() || input.pairs.scalar_type() == type);
}

}  // namespace

TokenRows TokenRows::of(const data::Batch& batch) {
  TokenRows rows;
  rows.longest = batch.longest;
  for (size_t r = 0; r < batch.example_ids.size(); ++r) {
    rows.begin.push_back(batch.row_offsets[r]);
    rows.length.push_back(batch.row_offsets[r + 1] - batch.row_offsets[r]);
  }
  return rows;
}

torch::Tensor attention(const AttentionInput& input, const AttentionShape& shape,
                        DropoutSeeds& seeds, torch::Tensor* scores) {
  check(input, shape);
  const TokenRows& key_rows = input.key_rows != nullptr ? *input.key_rows : *input.query_rows;
  const bool gradient = wants_gradient(input);
  if (scores != nullptr || !has_kernel(input) || (gradient && overlap(key_rows)))
    return padded_attention(input, shape, seeds, scores);
  auto plan = c10::make_intrusive<Plan>();
  plan->queries = *input.query_rows;
  plan->keys = key_rows;
  plan->shape = shape;
  plan->seed = seeds.next();
  plan->threshold = seeds.training() ? simd::drop_threshold(shape.dropout) : 0;
  plan->first_token = input.first_token;
  plan->drawn = (input.drawn_rows != nullptr ? input.drawn_rows : input.query_rows)->begin;
  const Tensor& bias = input.distance_bias;
  if (bias.defined()) plan->reach = bias.size(-1) / 2;
  if (gradient)
    return PackedAttention::apply(input.queries, if_defined(input.pairs), if_defined(bias), plan);
  torch::NoGradGuard no_grad;
  return packed_forward(*plan, dense(input.queries), dense(input.pairs),
                        bias.defined() ? reversed(bias, *plan) : Tensor(),
                        few_queries(*plan, input.pairs));
}

torch::Tensor attention(const torch::Tensor& qkv, const data::Batch& batch,
                        const AttentionShape& shape, DropoutSeeds& seeds, torch::Tensor* scores) {
  if (scores == nullptr && can_flash(qkv, batch, shape))
    return flash_attention(qkv, batch, shape, seeds.training());
  AttentionInput input;
  if (scores != nullptr || !qkv.is_cpu()) return padded_attention(qkv, batch, shape, seeds, scores);
  const TokenRows rows = TokenRows::of(batch);
  input.queries = qkv;
  input.query_rows = &rows;
  input.first_token = seeds.first_token();
  return attention(input, shape, seeds);
}

}  // namespace compress::nn
