#pragma once
// The parts of a running stage, shared by the loop, the step and the state file.

#include <chrono>
#include <map>
#include <set>

#include "compress/augment/augment.h"
#include "compress/data/loader.h"
#include "compress/objective/objective.h"
#include "compress/optim/optim.h"
#include "compress/train/train.h"
#include "graph.h"
#include "loss_scale.h"

namespace compress::train {

// Best weights seen so far.
struct Best {
  std::optional<double> score;
  int64_t step = 0;
  int64_t evaluations_since = 0;
  nn::TensorMap weights;
};

// Settings of the process for training on `device`: results that repeat, as far as its library has
// such kernels.
void prepare_device(torch::Device device);

class Trainer {
 public:
  explicit Trainer(const Job& job);
  ~Trainer();
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;
  Plan plan() const;
  Result run();

 private:
  // --- binding (trainer.cpp)
  void bind_objectives();
  void bind_constraints();
  void bind_optimizer();
  void bind_graphs();
  void check_order() const;

  // --- one update (step.cpp)
  void update(const data::Batch& batch);
  // Forward and backward of one batch, in `accumulate` parts; losses are recorded when `record`.
  // With `reduce` the gradients are those of all processes.
  void forward_backward(const data::Batch& batch, bool record, bool reduce);
  // The same with every part perturbed for itself (m-sharpness): the gradients of the perturbed
  // passes are added.
  void forward_backward_perturbed(const data::Batch& batch);
  // How many parts a batch is cut into; the same for every process.
  int64_t parts_of(const data::Batch& batch) const;
  // Runs work(rows, index) for each of them.
  void for_each_part(const data::Batch& batch,
                     const std::function<void(const data::Batch&, int64_t)>& work) const;
  // `overlap`: gradients are averaged over processes while the backward pass runs.
  void backward_part(const data::Batch& part, bool accumulate, bool record, bool overlap);
  // The passes of an update that go through graphs_.
  void play(const data::Batch& batch, bool record);
  // Where the batch of an update is computed: staged for a graph, or moved to the device.
  data::Batch place(const data::Batch& batch);
  void unscale();
  nn::Outputs ask_teacher(const data::Batch& part);
  uint64_t dropout_seed() const;  // of this update, for all of its passes and parts
  void ascend();
  void clear_gradients();
  void constrain_gradients();
  double rate_factor() const;
  void check_finite(const data::Batch& batch);
  // Of the last update, over all processes.
  NamedValues losses() const;

  // --- several processes (processes.cpp); nothing happens when there is one
  void run_backward(const torch::Tensor& loss, bool overlap);
  // Averages complete gradients of latents; those of embeddings by rows.
  void average_gradients();
  void average_rows();
  void average_tables(const std::vector<nn::Parameter*>& tables);
  // `counts`: how many rows each process touched.
  void average_touched(const std::vector<nn::Parameter*>& tables,
                       const std::vector<int64_t>& counts);
  // All learn whether a loss somewhere is not finite, and whether all are to stop.
  void agree(bool finite);
  // Error{process} when weights, masks or averages are not the same bits everywhere.
  void check_equal();
  bool stop_wanted() const;

  // --- evaluation and selection (trainer.cpp)
  void evaluate();
  void keep_if_best(const Score& score);
  void restore_best(Result& result);
  bool finished_early() const;

  // --- state (state.cpp)
  void save_state();
  bool load_state();

  nn::ParamTable& weights() { return job_.student->params(); }
  constraint::Moments moments();
  double seconds() const;

  const Job& job_;
  const TrainOptions& options_;
  Progress progress_;
  nn::ParamTable auxiliary_;  // projections and the like: trained, not exported
  std::vector<std::unique_ptr<augment::Augment>> augments_;
  std::vector<std::unique_ptr<objective::Objective>> objectives_;
  std::vector<std::unique_ptr<constraint::Constraint>> constraints_;
  std::unique_ptr<optim::Averaging> averaging_;  // outlives the optimizer, which may keep it
  std::unique_ptr<optim::Optimizer> optimizer_;
  std::unique_ptr<optim::Schedule> schedule_;
  std::unique_ptr<optim::Sharpness> sharpness_;
  std::unique_ptr<LossScale> scale_;      // fp16
  std::unique_ptr<StepGraphs> graphs_;    // where the stage may use them
  bool staged_ = false;                   // this update's batch is in graphs_
  std::vector<double> recorded_numbers_;  // of the objectives, in the graphs that exist
  std::set<std::string> told_;            // reasons for steps without a graph, each logged once
  const nn::Outputs* given_ = nullptr;    // the teacher's outputs, where they are known already
  std::vector<nn::Parameter*> trained_;   // of the student, then auxiliary
  nn::Capture captures_;
  // Of the objectives that need a teacher.
  nn::Capture teacher_captures_;
  bool needs_teacher_ = false;

  std::vector<std::pair<std::string, torch::Tensor>>
      terms_;                               // detached sums over the parts of the last update
  torch::Tensor total_;                     // weighted sum of the terms
  NamedValues shown_;                       // losses when they were last read
  bool replays_ = false;                    // this update computes each part twice
  std::map<int64_t, nn::Outputs> answers_;  // of the teacher in it, by the part's first row
  parallel::Processes* const processes_;    // null: alone
  std::unique_ptr<parallel::GradientAverage> overlap_;  // made when the first gradients are
  bool all_stop_ = false, all_finite_ = true;           // as last agreed
  Best best_;
  std::string score_before_;  // in words; empty where it was not asked for
  std::chrono::steady_clock::time_point started_;
  double earlier_seconds_ = 0;  // of sittings before a resume
};

}  // namespace compress::train
