#pragma once
// The moving minimum and maximum of what passes in training.

#include "compress/data/torch.h"

#include "compress/parallel/processes.h"

namespace compress::constraint {

// What the transforms of one constraint have in common.
struct Phase {
  bool active = false;  // before the start nothing is quantised
  bool frozen = false;  // static scales no longer move
  bool widens = false;  // weights are of a training pass, which may widen their range
  parallel::Processes* processes = nullptr;  // that share the observed batches; null: one alone
};

// Whether the kernels read it.
bool on_fast_path(const torch::Tensor& x);

// Calls run(type tag) with float or bfloat16.
template <class Run>
void by_type(const torch::Tensor& x, const Run& run) {
  if (x.scalar_type() == torch::kFloat32) {
    run(float{});
  } else {
    run(c10::BFloat16{});
  }
}

// The first tensor gives the range, each further one moves it by `averaging`.
class MovingRange {
 public:
  MovingRange(const Phase& phase, double averaging) : phase_(phase), averaging_(averaging) {}
  void observe(const torch::Tensor& x);
  bool seen() const { return seen_; }
  // Off the CPU (and in types without a kernel) the range stays on the device, [minimum, maximum]:
  // nothing is read. Undefined elsewhere.
  const torch::Tensor& on_device() const { return range_; }
  struct Ends {
    float low, high;
  };
  // Waits for the device.
  Ends ends() const;
  // [minimum, maximum, 1 when observed], float32.
  torch::Tensor state() const;
  void load_state(const torch::Tensor& state);

 private:
  void observe_elsewhere(const torch::Tensor& x);

  const Phase& phase_;
  double averaging_;
  mutable float low_ = 0, high_ = 0;  // where range_ is defined, as of the last reading of it
  torch::Tensor range_;
  bool seen_ = false;
};

}  // namespace compress::constraint
