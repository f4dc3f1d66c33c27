#pragma once
// Dynamic loss scaling for fp16 (Micikevicius et al. 2018, arXiv 1710.03740, section 3.2), with the
// constants of PyTorch's GradScaler.

#include <cstdint>
#include <vector>

#include "compress/nn/parameter.h"

namespace compress::train {

// The loss is multiplied by a scale before backward, gradients are divided by it afterwards. An
// update whose gradients are not all finite is left out and halves the scale; 2000 good updates in
// a row double it. Everything lives on the device, and a step reads nothing of it.
class LossScale {
 public:
  static constexpr double initial = 65536, growth = 2, backoff = 0.5;
  static constexpr int64_t interval = 2000;  // good updates before the scale grows

  explicit LossScale(torch::Device device);

  // At the beginning of an update.
  void begin();
  torch::Tensor scaled(const torch::Tensor& loss) const { return loss * scale_; }
  // Divides the gradients of `parameters` by the scale and notes whether one is not finite. Once
  // after each pass whose gradients are complete.
  void unscale(const std::vector<nn::Parameter*>& parameters);
  // At the end of an update: moves the scale.
  void update();

  // float32 scalars for Optimizer::skip_where().
  const torch::Tensor& found() const { return found_; }
  const torch::Tensor& skipped() const { return skipped_; }

  // Reading waits for the device.
  double scale() const;
  int64_t skipped_updates() const;

  nn::TensorMap state() const;
  void load_state(const nn::TensorMap& state);  // Error{model} for anything unfit

 private:
  torch::Tensor scale_;    // float32
  torch::Tensor good_;     // int32: good updates since the scale last moved
  torch::Tensor found_;    // float32: 1 when a gradient of this update is not finite
  torch::Tensor skipped_;  // float32: updates left out so far
};

}  // namespace compress::train
