#pragma once
// The places of a model where methods plug something in. All layers of all families have them.

#include "compress/data/torch.h"

#include <cstdint>
#include <utility>

#include "compress/nn/parameter.h"

namespace compress::nn {

enum class Sublayer { attention, cross_attention, feed_forward };

// Which layer: counted through the encoder, then through the decoder.
struct Place {
  int64_t layer = 0;
  Sublayer sublayer = Sublayer::attention;
};

// What a method plugs in; each function does nothing unless overridden. Called in the order of the
// forward pass, differentiable, and again in the same order when a step is replayed.
class Plugs {
 public:
  virtual ~Plugs() = default;
  // A layer's input [rows, H], before its first norm or sub-layer.
  virtual torch::Tensor before_layer(const torch::Tensor& x, int64_t layer, const Rows& rows);
  // A sub-layer's output [rows, H], before dropout and residual.
  virtual torch::Tensor sublayer_output(const torch::Tensor& x, Place place, const Rows& rows);
  // Keys and values [P, kv_heads * head width] that every query of the sub-layer sees besides its
  // own, whatever its mask; undefined for none. P is the same in all layers. They take no
  // positions, lie outside of `capacity` while text is generated, and share the sub-layer's
  // softmax.
  virtual std::pair<torch::Tensor, torch::Tensor> prefix(Place place);
};

}  // namespace compress::nn
