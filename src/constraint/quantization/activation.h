#pragma once
// Fake quantisation of what a linear layer reads.

#include "compress/data/torch.h"

#include "compress/nn/parameter.h"
#include "compress/parallel/processes.h"

namespace compress::constraint {

// What the transforms of one constraint have in common.
struct Phase {
  bool active = false;                       // before the start nothing is quantised
  bool frozen = false;                       // static scales no longer move
  parallel::Processes* processes = nullptr;  // that share the observed batches; null: one alone
};

// int8, one scale a row from the row itself. Straight-through: nothing is clipped but half a step
// at the largest magnitude.
class TokenInput final : public nn::InputTransform, private nn::IntegerRows {
 public:
  explicit TokenInput(const Phase& phase) : phase_(phase) {}
  torch::Tensor apply(const torch::Tensor& input, const nn::Rows& rows) override;
  bool shareable() const override { return true; }
  const nn::IntegerRows* integers() const override { return phase_.active ? this : nullptr; }

 private:
  void round(const float* x, int64_t rows, int64_t width, int8_t* values, int64_t stride,
             float* scales) const override;

  const Phase& phase_;
};

// int8, one scale for all, from a moving minimum and maximum of training passes. The gradient is 0
// where a value was clamped. An input that was never observed passes unchanged.
class TensorInput final : public nn::InputTransform, private nn::IntegerRows {
 public:
  TensorInput(const Phase& phase, double averaging) : phase_(phase), averaging_(averaging) {}
  torch::Tensor apply(const torch::Tensor& input, const nn::Rows& rows) override;
  const nn::IntegerRows* integers() const override {
    return phase_.active && seen_ ? this : nullptr;
  }
  bool seen() const { return seen_; }
  float scale() const;
  // A given scale, as if it had been observed.
  void set_scale(float scale);
  // [minimum, maximum, 1 when observed], float32.
  torch::Tensor state() const;
  void load_state(const torch::Tensor& state);

 private:
  void observe(const torch::Tensor& input);
  void round(const float* x, int64_t rows, int64_t width, int8_t* values, int64_t stride,
             float* scales) const override;
  // Off the CPU (and in types without a kernel) the range stays on the input's device: nothing is
  // read.
  void observe_elsewhere(const torch::Tensor& input);
  torch::Tensor measured_scale() const;
  void read_range() const;

  const Phase& phase_;
  double averaging_;
  mutable float low_ = 0, high_ = 0;  // where range_ is defined, as of the last reading of it
  torch::Tensor range_;               // [minimum, maximum] on the input's device
  float fixed_ = 0;                   // the given scale, 0 when there is none
  bool seen_ = false;
};

}  // namespace compress::constraint
