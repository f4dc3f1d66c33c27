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

Tensor flash_attention(const Tensor& qkv, const data::Batch& batch, const AttentionShape& shape,
                       bool training) {
  const int64_t tokens = qkv.size(0), heads = shape.heads, width = shape.width;
  Tensor parts = qkv.reshape({tokens, 3, heads, width});
  const int64_t missing = (8 - width % 8) % 8;
  if (missing > 0) parts = at::constant_pad_nd(parts, {0, missing});
  // The backward of unbind() is one stack, which gives the gradient of `qkv` as it lies.
  const std::vector<Tensor> each = parts.unbind(1);
  // Sequence s is the tokens ends[s] .. ends[s + 1]; autograd knows the backward pass.
  Tensor out = std::get<0>(
      at::_flash_attention_forward(each[0], each[1], each[2], batch.ends, batch.ends, batch.longest,
                                   batch.longest, training ? shape.dropout : 0.0,
                                   /*is_causal=*/false, /*return_debug_mask=*/false, shape.scale));
  if (missing > 0) out = out.narrow(2, 0, width);
  return out.reshape({tokens, heads * width});
}

}  // namespace compress::nn
