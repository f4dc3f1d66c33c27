#include "layers/flash_attention.h"

#include <ATen/Context.h>

#include "compress/nn/device.h"

namespace compress::nn {

using torch::Tensor;

bool can_flash(const Tensor& qkv, const data::Batch& batch, const AttentionShape& shape) {
  const torch::ScalarType type = qkv.scalar_type();
  return qkv.is_cuda() && (type == torch::kBFloat16 || type == torch::kHalf) &&
         shape.width <= 256 && batch.ends.defined() && batch.ends.is_cuda() &&
         has_flash_attention(qkv.device());
}

namespace {

// Queries, keys and values of `qkv`, [T, heads, width] each, `missing` zeros behind each width.
std::vector<Tensor> queries_keys_values(const Tensor& qkv, const AttentionShape& shape,
                                        int64_t missing) {
  const int64_t tokens = qkv.size(0), heads = shape.heads, keys = shape.keys(), width = shape.width,
                all = heads + 2 * keys;
  const Tensor used = qkv.size(1) == all * width ? qkv : qkv.narrow(1, 0, all * width);
  auto wide = [&](const Tensor& parts) {
    return missing > 0 ? at::constant_pad_nd(parts, {0, missing}) : parts;
  };
  // The backward of unbind() is one stack, which gives the gradient of `qkv` as it lies.
  if (heads == keys) return wide(used.reshape({tokens, 3, heads, width})).unbind(1);
  return wide(used.reshape({tokens, all, width})).split_with_sizes({heads, keys, keys}, 1);
}

// The backward kernel adds in a fixed order when the process asks for deterministic algorithms, but
// not where a warning would do (`warn_only`). This asks for it without that, and puts back what
// was.
class FixedOrder {
 public:
  FixedOrder() : wanted_(context().deterministicAlgorithms()) {
    if (wanted_) context().setDeterministicAlgorithms(true, /*warn_only=*/false);
  }
  ~FixedOrder() {
    if (wanted_) context().setDeterministicAlgorithms(true, warn_only_);
  }
  FixedOrder(const FixedOrder&) = delete;
  FixedOrder& operator=(const FixedOrder&) = delete;

 private:
  static at::Context& context() { return at::globalContext(); }
  bool wanted_;
  bool warn_only_ = context().deterministicAlgorithmsWarnOnly();
};

// What a pass over packed sequences needs besides its tensors.
struct Packing {
  int64_t longest;
  double dropout, scale;
  bool causal;
  int64_t before, behind;  // of the window; -1: all

  std::optional<int64_t> left() const { return window(before); }
  std::optional<int64_t> right() const { return window(behind); }

 private:
  static std::optional<int64_t> window(int64_t reach) {
    return reach < 0 ? std::nullopt : std::optional<int64_t>(reach);
  }
};

// Queries, keys and values [T, heads, width]; `ends` [sequences + 1] int32. Returns [T, heads,
// width].
class FlashFunction : public torch::autograd::Function<FlashFunction> {
 public:
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& query,
                        const Tensor& key, const Tensor& value, const Tensor& ends, int64_t longest,
                        double dropout, double scale, bool causal, int64_t before, int64_t behind) {
    const Packing how{longest, dropout, scale, causal, before, behind};
    auto [out, sums, rng, unused, mask] = at::_flash_attention_forward(
        query, key, value, ends, ends, longest, longest, dropout, causal,
        /*return_debug_mask=*/false, scale, how.left(), how.right());
    context->save_for_backward({query, key, value, ends, out, sums, rng, unused});
    context->saved_data["longest"] = longest;
    context->saved_data["dropout"] = dropout;
    context->saved_data["scale"] = scale;
    context->saved_data["causal"] = causal;
    context->saved_data["before"] = before;
    context->saved_data["behind"] = behind;
    return out;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    auto number = [&](const char* name) { return context->saved_data[name].toInt(); };
    const Packing how{number("longest"),
                      context->saved_data["dropout"].toDouble(),
                      context->saved_data["scale"].toDouble(),
                      context->saved_data["causal"].toBool(),
                      number("before"),
                      number("behind")};
    FixedOrder fixed;
    auto [query, key, value] = at::_flash_attention_backward(
        gradients[0].contiguous(), saved[0], saved[1], saved[2], saved[4], saved[5], saved[3],
        saved[3], how.longest, how.longest, how.dropout, how.causal, saved[6], saved[7], how.scale,
        how.left(), how.right());
    torch::autograd::variable_list out(10);
    out[0] = query;
    out[1] = key;
    out[2] = value;
    return out;
  }
};

}  // namespace

Tensor flash_attention(const Tensor& qkv, const data::Batch& batch, const AttentionShape& shape,
                       bool training) {
  const int64_t tokens = qkv.size(0), missing = (8 - shape.width % 8) % 8;
  const std::vector<Tensor> each = queries_keys_values(qkv, shape, missing);
  const int64_t before = shape.window > 0 ? shape.window - 1 : -1, behind = shape.window == 0 ? -1
                                                                            : shape.causal
                                                                                ? 0
                                                                                : batch.longest;
  // Sequence s is the tokens ends[s] .. ends[s + 1].
  Tensor out = FlashFunction::apply(each[0], each[1], each[2], batch.ends, batch.longest,
                                    training ? shape.dropout : 0.0, shape.scale, shape.causal,
                                    before, behind);
  if (missing > 0) out = out.narrow(2, 0, shape.width);
  return out.reshape({tokens, shape.heads * shape.width});
}

}  // namespace compress::nn
