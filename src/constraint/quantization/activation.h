#pragma once
// Fake quantisation of what a linear layer reads, and of what it says.

#include <optional>

#include "compress/nn/parameter.h"
#include "quantization/kernels.h"
#include "quantization/moving_range.h"

namespace compress::constraint {

// int8, one scale a row from the row itself. Straight-through: nothing is clipped but half a step
// at the largest magnitude.
class TokenInput final : public nn::InputTransform, private nn::IntegerRows {
 public:
  explicit TokenInput(const Phase& phase) : phase_(phase) {}
  torch::Tensor apply(const torch::Tensor& input, const nn::RowInfo& rows) override;
  bool shareable() const override { return true; }
  const nn::IntegerRows* integers() const override { return phase_.active ? this : nullptr; }

 private:
  void round(const float* x, int64_t rows, int64_t width, int8_t* values, int64_t stride,
             float* scales) const override;

  const Phase& phase_;
};

// One grid for a whole tensor, from a moving minimum and maximum of training passes. The gradient
// is 0 where a value was clamped. What was never observed passes unchanged.
//
// Symmetric: scale = max(|low|, |high|) / 127.5 and zero 0. Affine, with 0 inside the range:
// scale = (high - low) / 255, at least 2^-23, and zero = round(-low / scale) - 128; an unsigned
// integer is q + 128.
class TensorGrid {
 public:
  TensorGrid(const Phase& phase, bool affine, double averaging)
      : phase_(phase), affine_(affine), range_(phase, averaging) {}
  torch::Tensor apply(const torch::Tensor& x, const nn::RowInfo& rows);
  bool seen() const { return fixed_ || range_.seen(); }
  bool in_force() const { return phase_.active && seen(); }
  kernels::Grid grid() const;
  // A given one, as if it had been observed.
  void fix(kernels::Grid grid) { fixed_ = grid; }
  torch::Tensor state() const { return range_.state(); }
  void load_state(const torch::Tensor& state) { range_.load_state(state); }

 private:
  // The scale and the zero on the device where the range is.
  std::vector<torch::Tensor> measured() const;

  const Phase& phase_;
  bool affine_;
  MovingRange range_;
  std::optional<kernels::Grid> fixed_;
};

class TensorInput final : public nn::InputTransform, private nn::IntegerRows {
 public:
  TensorInput(const Phase& phase, bool affine, double averaging)
      : grid_(phase, affine, averaging) {}
  torch::Tensor apply(const torch::Tensor& input, const nn::RowInfo& rows) override {
    return grid_.apply(input, rows);
  }
  const nn::IntegerRows* integers() const override { return grid_.in_force() ? this : nullptr; }
  TensorGrid& grid() { return grid_; }

 private:
  void round(const float* x, int64_t rows, int64_t width, int8_t* values, int64_t stride,
             float* scales) const override;
  int32_t zero() const override { return grid_.grid().zero; }

  TensorGrid grid_;
};

class TensorOutput final : public nn::OutputTransform {
 public:
  TensorOutput(const Phase& phase, double averaging) : grid_(phase, /*affine=*/true, averaging) {}
  torch::Tensor apply(const torch::Tensor& output, const nn::RowInfo& rows) override {
    return grid_.apply(output, rows);
  }
  TensorGrid& grid() { return grid_; }

 private:
  TensorGrid grid_;
};

}  // namespace compress::constraint
