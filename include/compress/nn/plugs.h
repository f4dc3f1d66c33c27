#pragma once
// The places of a model where methods plug something in. All layers of all families have them.

#include "compress/data/torch.h"

#include <cstdint>
#include <string>
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
// forward pass, differentiable, and again in the same order when a step is replayed. What is drawn
// is a function of `rows.seed` (the pass's), of the place, and of an element's place in the whole
// update (`rows.first`); see noise().
class Plugs {
 public:
  virtual ~Plugs() = default;
  // A layer's input [rows, H], before its first norm or sub-layer.
  virtual torch::Tensor before_layer(const torch::Tensor& x, int64_t layer, const RowInfo& rows);
  // The state [rows, H] between a layer's attention (the last of them) and its feed-forward unit,
  // before the norm of that unit where norms come first.
  virtual torch::Tensor before_feed_forward(const torch::Tensor& x, int64_t layer,
                                            const RowInfo& rows);
  // A sub-layer's output [rows, H], before dropout and residual.
  virtual torch::Tensor sublayer_output(const torch::Tensor& x, Place place, const RowInfo& rows);
  // Keys and values [P, kv_heads * head width] that every query of the sub-layer sees besides its
  // own, whatever its mask; undefined for none. P is the same in all layers of a stack. They take
  // no positions, lie outside of `capacity` while text is generated, and share the sub-layer's
  // softmax. Those of several plugs lie one behind the other.
  virtual std::pair<torch::Tensor, torch::Tensor> prefix(Place place, const RowInfo& rows);
  // Whether dropout acts on hidden states: the embeddings' and the sub-layers' outputs.
  virtual bool drops_hidden() const { return true; }
  // Why no CUDA graph may record a pass with it, as a sentence's end; "" where one may.
  virtual std::string unrecordable() const { return {}; }
};

// Draws of an element's place: standard normal, or uniform in [0, 1).
enum class Law { normal, uniform };
// A tensor like x [rows, width] whose element is a function of the seed, its row's number in the
// whole update (`first` is that of x's first row) and its column: parts of an update draw what the
// whole would. On CUDA it is the next draws of the pass (nn/device.h).
torch::Tensor noise(const torch::Tensor& x, Law law, uint64_t seed, int64_t first);

}  // namespace compress::nn
