#pragma once
// One update of a stage: augments, the passes that its mover asks for, clipping, the optimizer, and
// what follows an update.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "compress/train/binding.h"
#include "exchange.h"
#include "graphs/graph_step.h"
#include "loss_scale.h"
#include "teachers.h"

namespace compress::train {

class Step final : public optim::Passes {
 public:
  // `scale` is null unless the stage trains in fp16, `graphs` where it may record none.
  Step(const Job& job, Binding& binding, Exchange& exchange, LossScale* scale,
       std::unique_ptr<GraphStep> graphs);

  // One update on a batch in host memory, the first of `packed`; behind it are its rows in the
  // further views that teachers read. Error{diverged} where a loss is not finite. True when
  // all processes are to stop.
  bool update(const std::vector<data::Batch>& packed, Progress& progress);
  // The last update's losses over all processes: the weighted sum, then each term by its label.
  // Reading waits for the device.
  NamedValues losses() const;
  // The factor on the learning rate in the update that comes next.
  double rate_factor(const Progress& progress) const;

  torch::Tensor pass(const Ask& ask) override;
  int64_t parts() const override;
  void clear_gradients() override { binding_.clear_gradients(); }
  void weights_moved() override { place_ = Place::moved; }
  void weights_restored() override { place_ = Place::restored; }

 private:
  // Where the weights are: a pass computes effective weights anew after they moved, and losses are
  // the update's own at its own weights.
  enum class Place { own, moved, restored };

  void begin(const std::vector<data::Batch>& packed, const Progress& progress);
  data::Batch part(int64_t index) const;
  // Forward and backward pass on a part; `add`: the gradients are added to those of parts before.
  PassLosses run(int64_t index, const Ask& ask, bool overlap, bool add);
  PassLosses compute(int64_t index, const data::Batch& part, const Ask& ask,
                     const Teachers::Said* answers, bool overlap, bool add);
  Teachers::Said ask_teachers(int64_t index, const data::Batch& part);
  // Whether a pass over a part is the one of its update that is told: the first at the update's own
  // weights.
  bool is_reported(int64_t index, const Ask& ask) const;
  // True when all are to stop.
  bool check_finite();

  const Job& job_;
  Binding& binding_;
  Exchange& exchange_;
  LossScale* scale_;
  std::unique_ptr<GraphStep> graphs_;
  data::Batch batch_;  // of the update, where it is computed
  Progress progress_;  // as the update began
  Place place_ = Place::own;
  int64_t reported_ = 0;  // parts whose losses are in losses_
  objective::Numbers numbers_;
  PassLosses losses_;  // of the update, summed over its parts
  Teachers teachers_;
};

}  // namespace compress::train
