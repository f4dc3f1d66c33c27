#pragma once
// Inputs for packed weights: numbers that are drawn, and how they are rounded.

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "compress/nn/packed.h"

namespace compress::nn {

// Rounds each row by its largest magnitude over 127, or all by a given step and zero.
class Rounding final : public InputTransform, private IntegerRows {
 public:
  explicit Rounding(float step = 0, int32_t zero_point = 0) : step_(step), zero_(zero_point) {}
  torch::Tensor apply(const torch::Tensor& x, const RowInfo&) override {
    const torch::Tensor scale = scales(x);
    return (x.div(scale).round() + zero_).clamp(-128, 127).sub(zero_) * scale;
  }
  bool shareable() const override { return true; }
  const IntegerRows* integers() const override { return this; }
  torch::Tensor scales(const torch::Tensor& x) const {
    return step_ != 0 ? torch::full({x.size(0), 1}, step_) : x.abs().amax({1}, true) / 127;
  }

 private:
  void round(const float* x, int64_t rows, int64_t width, int8_t* values, int64_t stride,
             float* scales_out) const override {
    for (int64_t r = 0; r < rows; ++r) {
      float most = 0;
      for (int64_t i = 0; i < width; ++i) most = std::max(most, std::fabs(x[r * width + i]));
      scales_out[r] = step_ != 0 ? step_ : most / 127;
      for (int64_t i = 0; i < width; ++i)
        values[r * stride + i] = static_cast<int8_t>(
            std::clamp(std::nearbyint(x[r * width + i] / scales_out[r]) + static_cast<float>(zero_),
                       -128.0f, 127.0f));
    }
  }
  int32_t zero() const override { return zero_; }
  float step_;
  int32_t zero_;
};

inline torch::Tensor random(std::vector<int64_t> shape, uint64_t seed) {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  return torch::empty(shape).normal_(0, 1, generator);
}

}  // namespace compress::nn
