#pragma once
// Role `optim`: how we move. Optimizers, learning-rate schedules, sharpness-aware steps, weight
// averages.

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "compress/base/progress.h"
#include "compress/nn/parameter.h"
#include "compress/recipe/options.h"

namespace compress::optim {

// An average of the weights that an optimizer may keep itself, in the pass that moves them.
class Snapshots {
 public:
  virtual ~Snapshots() = default;
  // Weight of the snapshot after `updates` updates: average <- average + share (w - average). 1 is
  // a copy, 0 no snapshot.
  virtual double share(int64_t updates) const = 0;
  virtual torch::Tensor& average(const nn::Parameter& parameter) = 0;
};

// --- optimizer
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  // Groups by decay: matrices and embeddings decay, norms and biases do not (Devlin et al. 2019).
  virtual void bind(const std::vector<nn::Parameter*>& parameters) = 0;
  // One update with learning rate `base_lr * factor` from the parameters' latent.grad(). Parameters
  // without a gradient are left alone. `step` counts from 0 (bias correction uses step + 1).
  virtual void step(double factor, int64_t step) = 0;
  // From now on an update is left out, weights and moments untouched, where `found` (a float32
  // scalar) is 1 when step() is called; `skipped` (float32) counts the updates left out so far,
  // which bias correction does not count. Neither is read on the host where that would wait.
  void skip_where(torch::Tensor found, torch::Tensor skipped) {
    found_ = std::move(found);
    skipped_ = std::move(skipped);
  }
  virtual double learning_rate() const = 0;  // the base rate
  // Takes over the average of the parameters that it returns: of those whose rows wait for their
  // updates (see settle) and, unless `rows_only`, of all that it can.
  virtual std::vector<const nn::Parameter*> follow(Snapshots& snapshots, bool rows_only) {
    (void)snapshots, (void)rows_only;
    return {};
  }
  // An optimizer may leave rows of an embedding behind until they are read (nn::RowUpdates). Brings
  // all of them up to date: before weights, moments or averages are used as a whole.
  virtual void settle() {}
  virtual std::vector<torch::Tensor> moments(const nn::Parameter& parameter) const = 0;
  virtual nn::TensorMap state() const = 0;
  virtual void load_state(const nn::TensorMap& state) = 0;

 protected:
  torch::Tensor found_, skipped_;  // undefined: every update is made
};

// --- schedule: the factor on the base rate, a pure function of progress
class Schedule {
 public:
  virtual ~Schedule() = default;
  // Factor for the update numbered progress.step (0-based).
  virtual double factor(const Progress& progress) const = 0;
};

// --- sharpness: SAM and its kin
class Sharpness {
 public:
  virtual ~Sharpness() = default;
  // Checks against the parameters, e.g. refuses a perturbation below the working precision.
  // Error{recipe}.
  virtual void bind(const std::vector<nn::Parameter*>& parameters, nn::Precision precision) = 0;
  // True when this update takes the extra ascent pass.
  virtual bool active(const Progress& progress) const = 0;
  // Moves latents to w + eps from the gradients of the first pass, keeping a copy of w.
  virtual void ascend() = 0;
  // Puts the kept copy back, bit for bit.
  virtual void restore() = 0;
  // `exact`: all micro-batches first, one perturbation, replay; `per_micro_batch`: each perturbs
  // for itself.
  virtual bool per_micro_batch() const = 0;
  // Of several processes each perturbs along the gradient of its own share of the batch
  // (m-sharpness over processes); otherwise all along the gradient of the whole.
  virtual bool per_process() const { return false; }
};

// --- averaging
class Averaging {
 public:
  virtual ~Averaging() = default;
  virtual void bind(const std::vector<nn::Parameter*>& parameters, const Progress& plan) = 0;
  // After the update; progress.step counts updates done (1 after the first).
  virtual void update(const Progress& progress) = 0;
  // The averages exist (at least one snapshot was taken).
  virtual bool ready() const = 0;
  // The parameters whose average somebody else keeps through snapshots(); null: nobody can.
  virtual Snapshots* snapshots() { return nullptr; }
  virtual void leave(const std::vector<const nn::Parameter*>& parameters) { (void)parameters; }
  // Exchanges live and averaged weights, in place; call again to exchange back.
  virtual void swap() = 0;
  // The update at which averaging begins (pruning patterns must be fixed by then).
  virtual int64_t starts_at() const = 0;
  // The learning rate stays constant from the start on: at constant_rate(), or where the schedule
  // was.
  virtual bool holds_rate() const { return false; }
  virtual std::optional<double> constant_rate() const { return std::nullopt; }
  virtual nn::TensorMap state() const = 0;
  virtual void load_state(const nn::TensorMap& state) = 0;
};

using MakeOptimizer = std::function<std::unique_ptr<Optimizer>(const recipe::Component&)>;
using MakeSchedule = std::function<std::unique_ptr<Schedule>(const recipe::Component&)>;
using MakeSharpness = std::function<std::unique_ptr<Sharpness>(const recipe::Component&)>;
using MakeAveraging = std::function<std::unique_ptr<Averaging>(const recipe::Component&)>;
const recipe::RegistryOf<MakeOptimizer>& optimizers();   // adamw, sgd
const recipe::RegistryOf<MakeSchedule>& schedules();     // constant, linear, cosine, cyclic_linear
const recipe::RegistryOf<MakeSharpness>& sharpnesses();  // sam, asam
const recipe::RegistryOf<MakeAveraging>& averagings();   // swa, ema
// The same as plain registries, for option descriptions.
const recipe::Registry& optimizer_registry();
const recipe::Registry& schedule_registry();
const recipe::Registry& sharpness_registry();
const recipe::Registry& averaging_registry();

// Scales gradients so that their global norm is at most `limit`; returns the norm before (a scalar
// tensor: reading it synchronises). Float32, over all parameters with a gradient.
torch::Tensor clip_gradients(const std::vector<nn::Parameter*>& parameters, double limit);

}  // namespace compress::optim
