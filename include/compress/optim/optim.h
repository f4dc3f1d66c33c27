#pragma once
// Role `optim`: how we move. Optimizers, learning-rate schedules, movers (sharpness-aware steps),
// weight averages.

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "compress/base/progress.h"
#include "compress/nn/parameter.h"
#include "compress/recipe/options.h"
#include "compress/roles/part.h"

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
// Moves scene.trained(), in groups by decay: matrices and embeddings decay, norms and biases do not
// (Devlin et al. 2019).
class Optimizer : public roles::Part {
 public:
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
    (void)snapshots;
    (void)rows_only;
    return {};
  }
  // An optimizer may leave rows of an embedding behind until they are read (nn::RowUpdates). Brings
  // all of them up to date: before weights, moments or averages are used as a whole.
  virtual void settle() {}
  virtual std::vector<torch::Tensor> moments(const nn::Parameter& parameter) const = 0;
  // Moments follow from gradients that are the same everywhere, and are the largest state of all.
  nn::TensorMap compared() const override { return {}; }

 protected:
  torch::Tensor found_, skipped_;  // undefined: every update is made
};

// --- schedule: the factor on the base rate, a pure function of progress
class Schedule : public roles::Part {
 public:
  void bind(const roles::Scene&) override {}
  // Factor for the update numbered progress.step (0-based).
  virtual double factor(const Progress& progress) const = 0;
};

// --- movers: from the passes of an update to its gradient

// The batch of an update, at the weights as they are now. Every pass sees the same rows with the
// same dropout and the same answers of the teacher. What the first unweighted pass at the update's
// own weights computes of a part is what the stage reports of it.
class Passes {
 public:
  struct Ask {
    int64_t part = -1;   // one of parts(); -1: all of them
    bool shared = true;  // the gradient is that of all processes' batches, not of this one's alone
    bool gradient = true;   // with a backward pass
    bool rows = false;      // the losses of the rows are wanted
    torch::Tensor weights;  // [rows] float32, of the rows' losses; undefined: 1 each
  };
  virtual ~Passes() = default;
  // A forward and, where asked for, a backward pass, after which latent.grad() of the parameters is
  // its gradient, complete, in float32 and unscaled. Returns the losses of this process's rows
  // [rows], whose mean over the update is the loss; undefined unless they were asked for.
  virtual torch::Tensor pass(const Ask& ask) = 0;
  // Parts that the batch is computed in (`accumulate`); the same for every process.
  virtual int64_t parts() const = 0;
  virtual void clear_gradients() = 0;
  // To be called when a mover has changed latent weights, and when it has put them back.
  virtual void weights_moved() = 0;
  virtual void weights_restored() = 0;
};

class Mover : public roles::Part {
 public:
  // Leaves the update's gradient in latent.grad() of what the optimizer moves, and the weights as
  // they were, bit for bit.
  virtual void gradients(const Progress& progress, Passes& passes) = 0;
  // It asks for more than one pass over the same rows: answers of a teacher are then kept.
  virtual bool repeats() const { return false; }
};
// One pass and nothing else.
std::unique_ptr<Mover> plain_mover();

// --- averaging
// Averages the student's trainable parameters.
class Averaging : public roles::Part {
 public:
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
};

// The factor on `base` for the update numbered progress.step: the schedule's, or what an average
// that holds the rate says. `averaging` may be null.
double rate_factor(const Schedule& schedule, const Averaging* averaging, double base,
                   const Progress& progress);

using MakeOptimizer = std::function<std::unique_ptr<Optimizer>(const recipe::Component&)>;
using MakeSchedule = std::function<std::unique_ptr<Schedule>(const recipe::Component&)>;
using MakeMover = std::function<std::unique_ptr<Mover>(const recipe::Component&)>;
using MakeAveraging = std::function<std::unique_ptr<Averaging>(const recipe::Component&)>;
const recipe::RegistryOf<MakeOptimizer>& optimizers();  // adamw, sgd
// constant, linear, cosine, cyclic_linear, rewound_linear
const recipe::RegistryOf<MakeSchedule>& schedules();
const recipe::RegistryOf<MakeMover>& movers();  // recipe key `sharpness`: sam, asam, delta_sam
const recipe::RegistryOf<MakeAveraging>& averagings();  // swa, ema
// What a stage gets that names none.
recipe::Component default_optimizer();
recipe::Component default_schedule();
// The same as plain registries, for option descriptions.

// Scales gradients so that their global norm is at most `limit`; returns the norm before (a scalar
// tensor: reading it synchronises). Float32, over all parameters with a gradient.
torch::Tensor clip_gradients(const std::vector<nn::Parameter*>& parameters, double limit);

}  // namespace compress::optim
