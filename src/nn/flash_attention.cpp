#include "flash_attention.h"

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
std::vector<Tensor> split(const Tensor& qkv, const AttentionShape& shape, int64_t missing) {
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

}  // namespace

Tensor flash_attention(const Tensor& qkv, const data::Batch& batch, const AttentionShape& shape,
                       bool training) {
  const int64_t tokens = qkv.size(0), missing = (8 - shape.width % 8) % 8;
  const std::vector<Tensor> each = split(qkv, shape, missing);
  std::optional<int64_t> before, behind;
  if (shape.window > 0) {
    before = shape.window - 1;
    behind = shape.causal ? 0 : batch.longest;
  }
  // Sequence s is the tokens ends[s] .. ends[s + 1]; autograd knows the backward pass.
  Tensor out = std::get<0>(
      at::_flash_attention_forward(each[0], each[1], each[2], batch.ends, batch.ends, batch.longest,
                                   batch.longest, training ? shape.dropout : 0.0, shape.causal,
                                   /*return_debug_mask=*/false, shape.scale, before, behind));
  if (missing > 0) out = out.narrow(2, 0, shape.width);
  return out.reshape({tokens, shape.heads * shape.width});
}

}  // namespace compress::nn
