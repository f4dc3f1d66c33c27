#pragma once
// What sharpness-aware steps share: the passes that an update takes, saving and restoring weights
// without allocating, embeddings by touched rows only, and the check against the working precision.

#include <functional>

#include "components.h"

namespace compress::optim {

inline const std::vector<std::string> accumulation_names = {"exact", "per_micro_batch"};
inline constexpr const char* accumulation_doc =
    "exact: one perturbation from the whole batch's gradient, then a replay; per_micro_batch: each "
    "micro-batch perturbs for itself (cheaper, a noisier ascent)";

inline const std::vector<std::string> processes_names = {"synchronised", "per_process"};
inline constexpr const char* processes_doc =
    "with several processes: one perturbation along the gradient of the whole batch, or each "
    "process along that of its own share (one reduction less, a noisier ascent)";

// g' = gradient at w + eps, where eps follows from the gradient at w (Foret et al. 2021, arXiv
// 2010.01412, equation 2). Only the student's weights are perturbed.
class Ascent : public Mover {
 public:
  Ascent(double rho, const std::string& accumulation, const std::string& processes)
      : rho_(rho),
        per_micro_batch_(accumulation == "per_micro_batch"),
        per_process_(processes == "per_process") {}

  void bind(const roles::Scene& scene) override;
  void gradients(const Progress& progress, Passes& passes) override;
  bool repeats() const override { return rho_ > 0; }
  std::string unrecordable() const override {
    return per_micro_batch_ ? "each micro-batch perturbs the weights for itself" : "";
  }

  // Moves latents to w + eps from their gradients, keeping a copy of w.
  void ascend();
  // Puts the kept copy back, bit for bit.
  void restore();

 protected:
  // Memory of one parameter, used again each step. An embedding's buffers hold its touched rows,
  // first `rows` of them.
  struct Slot {
    nn::Parameter* parameter = nullptr;
    torch::Tensor saved_buffer, gradient_buffer;
  };
  // A parameter that is moved this time. `saved` is a copy of its weights (or rows).
  struct Piece {
    nn::Parameter* parameter = nullptr;
    torch::Tensor ids;  // rows, undefined for a whole tensor
    torch::Tensor saved;
    torch::Tensor gradient;
  };
  // Norm of what the method normalises by, over all pieces: a scalar tensor.
  virtual torch::Tensor norm(const std::vector<Piece>& pieces);
  // The direction that rho / norm scales: piece.gradient itself, or memory of the method's own that
  // lasts until the next call.
  virtual torch::Tensor direction(const Piece& piece) { return piece.gradient; }
  // Root mean square of the perturbation of weights whose own is `weight_rms`, given rho / sqrt(N).
  virtual double typical(double share, double weight_rms) const {
    (void)weight_rms;
    return share;
  }
  // rho is divided by norm(); otherwise the step is rho times the direction.
  virtual bool normalises() const { return true; }
  // Leaves the gradient that the perturbation follows, at the weights as they are: of a part of the
  // update, or of all (-1).
  virtual void look(const Progress& progress, Passes& passes, int64_t part);
  // Whether that gradient is of all processes' rows.
  bool shares() const { return !per_process_; }

  // Error{recipe} where moves of size(number of weights, their root mean square) would be lost in
  // this precision; `what` and `value` are the option that gives the size.
  void check_precision(nn::Precision precision, const char* what, double value,
                       const std::function<double(double, double)>& size) const;
  parallel::Processes* processes() const { return processes_; }

  double rho_;

 private:
  void perturb(Passes& passes);
  void gradients_of_parts(const Progress& progress, Passes& passes);
  void add_up(std::vector<torch::Tensor>& sums) const;
  void put_back(std::vector<torch::Tensor>& sums) const;
  Piece take(Slot& slot);
  void move(double scale);
  void move(const torch::Tensor& scale);

  bool per_micro_batch_, per_process_;
  parallel::Processes* processes_ = nullptr;
  std::vector<nn::Parameter*> trained_;  // all that gets a gradient
  std::vector<Slot> slots_;
  std::vector<Piece> moved_;
  std::vector<torch::Tensor> whole_, whole_saved_;  // latents of whole pieces and their copies
};

// Square root of the sum of squares of all elements of at least one tensor, float32.
torch::Tensor global_norm(const std::vector<torch::Tensor>& tensors);

}  // namespace compress::optim
