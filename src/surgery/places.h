#pragma once
// Which rows and columns of a larger model's tensors a smaller one's are.

#include <optional>
#include <vector>

#include "axes.h"

namespace compress::surgery {

// The places in tensors of the model `old` that a model of the sizes `next`, none of them larger,
// begins with: leading dimensions, of heads the leading ones of each group that shares keys and
// values. Both configurations must outlive it.
class Places {
 public:
  Places(const nn::ModelConfig& old, const nn::ModelConfig& next, bool rotary)
      : old_(old), next_(next), rotary_(rotary) {}

  // Nothing: all of them.
  std::optional<std::vector<int64_t>> of(Axis axis, bool decoder) const;

 private:
  std::vector<int64_t> inside() const;
  std::vector<int64_t> spread(const std::vector<int64_t>& heads, int64_t first) const;

  const nn::ModelConfig &old_, &next_;
  bool rotary_;
};

// `tensor` at these places of one dimension; a shape alone where the tensor has no memory.
torch::Tensor selected(torch::Tensor tensor, int64_t dimension,
                       const std::optional<std::vector<int64_t>>& places);

// The layer of `old` that layer `i` of `count` begins as: spread evenly, the first is the first.
int64_t source_layer(int64_t i, int64_t count, int64_t old);

// Whether the family's config.json states a head's width; it is hidden_size / heads in others.
bool states_head_width(const nn::ModelConfig& config);

}  // namespace compress::surgery
