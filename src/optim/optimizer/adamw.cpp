#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <unordered_map>

#include "components.h"
#include "compress/base/error.h"
#include "compress/nn/device.h"
#include "compress/nn/memory.h"
#include "groups.h"
#include "optimizer/clip.h"
#include "optimizer/late_rows.h"

namespace compress::optim {

namespace {

struct AdamWOptions {
  double lr = 5e-5;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0.01;
  std::string rows = "exact";
  bool bias_correction = true;
  double clip_each = 0;
  std::vector<GroupOptions> groups;

  static const recipe::Options<AdamWOptions>& options() {
    static const auto description =
        recipe::Options<AdamWOptions>("adamw")
            .field("lr", &AdamWOptions::lr, "base learning rate")
            .above(0)
            .field("beta1", &AdamWOptions::beta1, "decay of the mean of gradients")
            .range(0, 0.999999)
            .field("beta2", &AdamWOptions::beta2, "decay of the mean of squared gradients")
            .range(0, 0.999999999)
            .field("eps", &AdamWOptions::eps, "added to the root of the second moment")
            .above(0)
            .field("weight_decay", &AdamWOptions::weight_decay,
                   "decoupled decay of matrices and embeddings")
            .at_least(0)
            .field("rows", &AdamWOptions::rows,
                   "rows of an embedding without a gradient, as no row of the batch reads them: "
                   "exact (they decay and follow their moments in every update, as all weights "
                   "do) or lazy (they stay; for tables of many rare rows, on the CPU)")
            .one_of({"exact", "lazy"})
            .field("bias_correction", &AdamWOptions::bias_correction,
                   "divides the moments by 1 - beta^t; false is BERT's own optimizer")
            .field("clip_each", &AdamWOptions::clip_each,
                   "largest norm of each parameter's gradient, each by itself, behind the stage's "
                   "`clip`; 0 = off")
            .at_least(0)
            .field("groups", &AdamWOptions::groups,
                   "parameters with a rate or a decay of their own; the first group that names a "
                   "parameter counts")
            .shorthand("lr");
    return description;
  }
};

// On the CPU one pass of our own moves a weight, its moments and (where asked for) its average;
// embeddings with row gradients move in the rows that are read. Elsewhere PyTorch's fused kernel.
class AdamW final : public Optimizer {
 public:
  explicit AdamW(const AdamWOptions& options)
      : options_(options), rates_({options.lr, options.weight_decay}, options.groups) {}

  void bind(const roles::Scene& scene) override {
    slots_.clear();
    index_.clear();
    const kernels::AdamConstants constants = this->constants();
    rates_.bind(scene);
    if (lazy() && !scene.trained().empty() && scene.trained().front()->latent.is_cuda())
      throw Error(ErrorKind::recipe, "rows: lazy is for the CPU", mark().text(),
                  "on a device every row of an embedding has a gradient: leave `rows` out");
    for (nn::Parameter* parameter : scene.trained()) {
      index_[parameter] = slots_.size();
      const auto options = parameter->latent.options().requires_grad(false);
      Slot& slot = slots_.emplace_back();
      slot.parameter = parameter;
      slot.rate = rates_.of(*parameter);
      const bool by_row =
          parameter->row_gradient && in_own_pass(*parameter) && parameter->latent.dim() == 2;
      slot.lazy = by_row && lazy();
      if (slot.lazy) {
        slot.both = nn::paged_zeros({parameter->latent.size(0), 2, parameter->latent.size(1)});
        slot.mean = slot.both.select(1, 0);
        slot.square = slot.both.select(1, 1);
      } else {
        slot.mean = torch::zeros_like(parameter->latent, options);
        slot.square = torch::zeros_like(parameter->latent, options);
      }
      if (by_row && !slot.lazy)
        slot.late = std::make_unique<LateRows>(*parameter, slot.mean, slot.square, constants);
    }
  }

  std::vector<const nn::Parameter*> follow(Snapshots& snapshots, bool rows_only) override {
    std::vector<const nn::Parameter*> followed;
    for (Slot& slot : slots_) {
      if (!in_own_pass(*slot.parameter) || slot.lazy || (rows_only && !slot.late)) continue;
      if (!snapshots.average(*slot.parameter).defined())
        continue;  // a trained helper: not averaged
      if (slot.late) slot.late->follow(&snapshots);
      slot.followed = true;
      followed.push_back(slot.parameter);
    }
    snapshots_ = &snapshots;
    return followed;
  }

  void settle() override {
    for (Slot& slot : slots_)
      if (slot.late) slot.late->settle();
  }

  void step(double factor, int64_t step) override {
    torch::NoGradGuard no_grad;
    if (left_out(step)) return;
    if (options_.clip_each > 0) clip_each();
    std::vector<Piece> pieces;
    std::vector<Lists> groups(rates_.list().size());
    std::vector<kernels::AdamStep> steps;
    for (const Rate& rate : rates_.list()) steps.push_back(scalars(rate, factor, step));
    std::vector<Slot*> rest;
    for (Slot& slot : slots_) {
      const torch::Tensor& gradient = slot.parameter->latent.grad();
      if (!gradient.defined()) {
        snapshot(slot, step);
        continue;
      }
      if (slot.late) {
        slot.late->update(steps[slot.rate], touched_rows(*slot.parameter), gradient);
      } else if (slot.lazy) {
        update_rows(slot, steps[slot.rate], gradient);
      } else if (in_own_pass(*slot.parameter) && gradient.is_contiguous()) {
        cut(slot, gradient, pieces);
      } else {
        groups[slot.rate].add(slot, gradient);
        rest.push_back(&slot);
      }
    }
    run(pieces, steps);
    const torch::Tensor counted = rest.empty() ? torch::Tensor() : count(step);
    for (size_t group = 0; group < groups.size(); ++group) {
      Lists& lists = groups[group];
      const Rate& rate = rates_.list()[group];
      if (lists.weights.empty()) continue;
      const std::vector<torch::Tensor> counts(lists.weights.size(), counted);
      const std::optional<torch::Tensor> found =
          found_.defined() ? std::optional<torch::Tensor>(found_) : std::nullopt;
      at::_fused_adamw_(lists.weights, lists.gradients, lists.means, lists.squares, {}, counts,
                        rate.lr * factor, options_.beta1, options_.beta2, rate.weight_decay,
                        options_.eps,
                        /*amsgrad=*/false, /*maximize=*/false, /*grad_scale=*/{}, found);
    }
    for (Slot* slot : rest) snapshot(*slot, step);
  }

  double learning_rate() const override { return options_.lr; }

  std::vector<torch::Tensor> moments(const nn::Parameter& parameter) const override {
    auto it = index_.find(&parameter);
    if (it == index_.end()) return {};
    return {slots_[it->second].mean, slots_[it->second].square};
  }

  nn::TensorMap state() const override {
    nn::TensorMap state;
    for (const Slot& slot : slots_) {
      if (slot.lazy) {
        state["moments." + slot.parameter->name] = slot.both;
        continue;
      }
      state["exp_avg." + slot.parameter->name] = slot.mean;
      state["exp_avg_sq." + slot.parameter->name] = slot.square;
    }
    return state;
  }

  void load_state(const nn::TensorMap& state) override {
    for (Slot& slot : slots_) {
      if (slot.lazy) {
        load_rows(state, "moments." + slot.parameter->name, slot.both);
        continue;
      }
      load_tensor(state, "exp_avg." + slot.parameter->name, slot.mean);
      load_tensor(state, "exp_avg_sq." + slot.parameter->name, slot.square);
      if (slot.late) slot.late->reset();
    }
  }

 private:
  struct Slot {
    nn::Parameter* parameter = nullptr;
    torch::Tensor mean, square;
    std::unique_ptr<LateRows> late;
    bool lazy = false;  // rows without a gradient stay
    // Of lazy rows: [rows, 2, width], whose halves are mean and square. A row's moments lie in one
    // page, and a page holds those of few rows: less memory where few of a table's rows are read.
    torch::Tensor both;
    size_t rate = 0;        // its number in rates_
    bool followed = false;  // its average is kept here
  };
  // A stretch of one parameter, for one thread.
  struct Piece {
    float *w, *m, *v, *average;
    const float* g;
    int64_t count;
    size_t rate;
  };
  struct Lists {
    std::vector<torch::Tensor> weights, gradients, means, squares;
    void add(Slot& slot, const torch::Tensor& gradient) {
      weights.push_back(slot.parameter->latent);
      gradients.push_back(gradient);
      means.push_back(slot.mean);
      squares.push_back(slot.square);
    }
  };

  static bool in_own_pass(const nn::Parameter& parameter) {
    return parameter.latent.is_cpu() && parameter.latent.is_contiguous();
  }

  kernels::AdamConstants constants() const {
    return {static_cast<float>(options_.beta1), static_cast<float>(options_.beta2),
            static_cast<float>(1 - options_.beta1), static_cast<float>(1 - options_.beta2),
            static_cast<float>(options_.eps)};
  }

  kernels::AdamStep scalars(const Rate& own, double factor, int64_t step) const {
    const double rate = own.lr * factor, updates = static_cast<double>(step + 1) - left_out_;
    const bool corrected = options_.bias_correction;
    const double mean = corrected ? 1 - std::pow(options_.beta1, updates) : 1;
    const double square = corrected ? 1 - std::pow(options_.beta2, updates) : 1;
    return {static_cast<float>(1 - rate * own.weight_decay), static_cast<float>(rate / mean),
            static_cast<float>(1 / std::sqrt(square)),
            snapshots_ != nullptr ? static_cast<float>(snapshots_->share(step + 1)) : 0.0f};
  }

  void clip_each() const {
    for (const Slot& slot : slots_)
      if (slot.parameter->latent.grad().defined())
        clip_gradient(*slot.parameter, options_.clip_each);
  }

  // Whether this update is left out, where the flag can be read. Averages take their snapshot
  // nevertheless, of weights that stayed.
  bool left_out(int64_t step) {
    left_out_ = 0;
    if (!found_.defined() || nn::reading_waits(found_)) return false;
    left_out_ = skipped_.item<double>();
    if (found_.item<float>() == 0) return false;
    for (Slot& slot : slots_) snapshot(slot, step);
    return true;
  }

  // The average of a weight that did not move in our own pass.
  void snapshot(Slot& slot, int64_t step) {
    const double share = slot.followed ? snapshots_->share(step + 1) : 0;
    if (share == 0) return;
    if (slot.late) slot.late->settle();
    torch::Tensor& average = snapshots_->average(*slot.parameter);
    if (share == 1)
      average.copy_(slot.parameter->latent);
    else
      average.lerp_(slot.parameter->latent, share);
  }

  bool lazy() const { return options_.rows == "lazy"; }

  // The update of the rows with a gradient; bias correction counts all updates, as for any weight.
  // Touched rows are looked at, too: processes that reduce whole tables touch all of them.
  void update_rows(Slot& slot, const kernels::AdamStep& step, const torch::Tensor& gradient) const {
    const kernels::AdamConstants constants = this->constants();
    const torch::Tensor touched = touched_rows(*slot.parameter);
    const int64_t* id = touched.const_data_ptr<int64_t>();
    const int64_t width = slot.parameter->latent.size(1);
    float* w = slot.parameter->latent.detach().mutable_data_ptr<float>();
    float* both = slot.both.mutable_data_ptr<float>();
    const float* g = gradient.const_data_ptr<float>();
    at::parallel_for(0, touched.numel(), 32, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t at = id[i] * width;
        if (std::all_of(g + at, g + at + width, [](float one) { return one == 0; })) continue;
        float* m = both + 2 * at;
        nn::claim_pages(m, 2 * width);
        kernels::adam_update(constants, step, w + at, g + at, m, m + width, nullptr, width);
      }
    });
  }

  void cut(Slot& slot, const torch::Tensor& gradient, std::vector<Piece>& pieces) {
    constexpr int64_t longest = 1 << 14;
    float* w = slot.parameter->latent.mutable_data_ptr<float>();
    float* m = slot.mean.mutable_data_ptr<float>();
    float* v = slot.square.mutable_data_ptr<float>();
    float* average =
        slot.followed ? snapshots_->average(*slot.parameter).mutable_data_ptr<float>() : nullptr;
    const float* g = gradient.const_data_ptr<float>();
    const int64_t count = slot.parameter->numel();
    for (int64_t at = 0; at < count; at += longest)
      pieces.push_back({w + at, m + at, v + at, average == nullptr ? nullptr : average + at, g + at,
                        std::min(longest, count - at), slot.rate});
  }

  void run(const std::vector<Piece>& pieces, const std::vector<kernels::AdamStep>& steps) const {
    const kernels::AdamConstants constants = this->constants();
    at::parallel_for(0, static_cast<int64_t>(pieces.size()), 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const Piece& piece = pieces[static_cast<size_t>(i)];
        kernels::adam_update(constants, steps[piece.rate], piece.w, piece.g, piece.m, piece.v,
                             piece.average, piece.count);
      }
    });
  }

  // The fused kernel reads the update's number from a tensor per parameter; all of them are this
  // one.
  const torch::Tensor& count(int64_t step) {
    if (!count_.defined() || count_.device() != slots_[0].parameter->latent.device())
      count_ = torch::empty({}, slots_[0].parameter->latent.options().requires_grad(false));
    // So late that beta^t is 0.
    if (!options_.bias_correction) return count_.fill_(1e30);
    count_.fill_(static_cast<double>(step + 1));
    return skipped_.defined() ? count_.sub_(skipped_) : count_;
  }

  AdamWOptions options_;
  Rates rates_;
  std::vector<Slot> slots_;
  std::unordered_map<const nn::Parameter*, size_t> index_;
  torch::Tensor count_;
  double left_out_ = 0;  // updates left out before this one, where that is known here
  Snapshots* snapshots_ = nullptr;
};

}  // namespace

void add_adamw(OptimizerRegistry& registry) {
  registry.add(
      recipe::describe<AdamWOptions>(
          "optimizer", "adamw", "Adam with decoupled weight decay",
          "w <- w - lr * weight_decay * w\n"
          "m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2\n"
          "w <- w - lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps),  t = 1, 2, ...",
          "Loshchilov & Hutter 2019, arXiv 1711.05101, algorithm 2; without correction and with "
          "each gradient clipped: BertAdam of TinyBERT's published code (arXiv 1909.10351)",
          "Only matrices and embeddings decay; norms and biases never do. A parameter without a "
          "gradient is left alone. On the CPU the rows of an embedding that a batch does not read "
          "catch up when they are next read: the same arithmetic, without touching their memory in "
          "every update. With `rows: lazy` (the rule of PyTorch's SparseAdam, with decay) they "
          "do not: a row moves, decays and ages its moments in the updates that read it."),
      [](const recipe::Component& component) {
        return std::make_unique<AdamW>(component.as<AdamWOptions>());
      });
}

}  // namespace compress::optim
