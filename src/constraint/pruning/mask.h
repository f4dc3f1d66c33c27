#pragma once
// Masks: which weights of each tensor may differ from zero.

#include <deque>
#include <string>
#include <vector>

#include "compress/constraint/constraint.h"
#include "compress/nn/pattern.h"

namespace compress::constraint {

// effective = keep * latent; the gradient is masked in the same way.
struct Mask final : nn::WeightTransform {
  nn::Parameter* parameter = nullptr;
  torch::Tensor keep;  // uint8 of the latent's shape, 1 = kept; undefined while nothing is masked
  int64_t zeros = 0;   // masked entries

  void forward(nn::Parameter&, torch::Tensor& weight) override { apply(weight); }
  void backward(const nn::Parameter&, torch::Tensor& gradient) override { apply(gradient); }
  // Sets masked entries to +0, in place, in one pass.
  void apply(torch::Tensor& tensor);
  // Takes `kept` (uint8, on the CPU) as the mask.
  void set(const torch::Tensor& kept);
};

// The masks of a constraint, in table order.
class Masks {
 public:
  void bind(const std::vector<nn::Parameter*>& parameters, const nn::Pattern& pattern = {});
  const nn::Pattern& pattern() const { return pattern_; }
  std::deque<Mask>& list() { return list_; }
  const std::deque<Mask>& list() const { return list_; }
  int64_t count() const;  // weights held
  int64_t zeros() const;  // masked ones
  // Makes masked entries of the latent weights, or of the optimizer's moments, exactly 0.
  void apply_to_latents();
  void apply_to_moments(const Moments& moments);
  std::vector<Match> matches(const std::string& what) const;
  // "sparsity 80.00% of 5,308,416 weights in blocks of 1x4 (tensors 71.2% to 93.4%; encoder.layer
  // 0: 78.0%, 1: ...)"
  std::string report() const;
  // Layers ("encoder.layer.3") of which no weight is left, and tensors of other layers.
  std::vector<std::string> emptied() const;
  // Bit-packed, lowest bit first: "mask.<tensor>" where there is one, and "zeros", their count.
  nn::TensorMap state() const;
  // Error{model} for anything that does not fit.
  void load_state(const nn::TensorMap& state);

 private:
  struct Layer {
    std::string stack;  // "encoder.layer"
    int number;
    int64_t zeros, count;
    std::string name() const;
  };
  // Those with targets, in table order.
  std::vector<Layer> layers() const;

  nn::Pattern pattern_;
  std::deque<Mask> list_;  // parameters point to the entries
};

}  // namespace compress::constraint
