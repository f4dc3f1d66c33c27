#include <array>
#include <unordered_map>

#include "components.h"

namespace compress::optim {

namespace {

struct AdamWOptions {
  double lr = 5e-5;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0.01;

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
            .shorthand("lr");
    return description;
  }
};

class AdamW final : public Optimizer {
 public:
  explicit AdamW(const AdamWOptions& options) : options_(options) {}

  void bind(const std::vector<nn::Parameter*>& parameters) override {
    slots_.clear();
    index_.clear();
    for (nn::Parameter* parameter : parameters) {
      index_[parameter] = slots_.size();
      const auto options = parameter->latent.options().requires_grad(false);
      slots_.push_back({parameter, torch::zeros_like(parameter->latent, options),
                        torch::zeros_like(parameter->latent, options)});
    }
  }

  void step(double factor, int64_t step) override {
    torch::NoGradGuard no_grad;
    // The kernel reads the update's number from a tensor per parameter; all of them are this one.
    if (!slots_.empty() &&
        (!count_.defined() || count_.device() != slots_[0].parameter->latent.device()))
      count_ = torch::empty({}, slots_[0].parameter->latent.options().requires_grad(false));
    if (count_.defined()) count_.fill_(static_cast<double>(step + 1));
    std::array<Lists, 2> groups;
    for (Slot& slot : slots_) {
      const torch::Tensor& gradient = slot.parameter->latent.grad();
      if (gradient.defined()) groups[decays(*slot.parameter)].add(slot, gradient, count_);
    }
    for (size_t decay = 0; decay < groups.size(); ++decay) {
      Lists& lists = groups[decay];
      if (lists.weights.empty()) continue;
      at::_fused_adamw_(lists.weights, lists.gradients, lists.means, lists.squares, {},
                        lists.counts, options_.lr * factor, options_.beta1, options_.beta2,
                        decay != 0 ? options_.weight_decay : 0.0, options_.eps,
                        /*amsgrad=*/false, /*maximize=*/false);
    }
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
      state["exp_avg." + slot.parameter->name] = slot.mean;
      state["exp_avg_sq." + slot.parameter->name] = slot.square;
    }
    return state;
  }

  void load_state(const nn::TensorMap& state) override {
    for (Slot& slot : slots_) {
      load_tensor(state, "exp_avg." + slot.parameter->name, slot.mean);
      load_tensor(state, "exp_avg_sq." + slot.parameter->name, slot.square);
    }
  }

 private:
  struct Slot {
    nn::Parameter* parameter;
    torch::Tensor mean, square;
  };
  struct Lists {
    std::vector<torch::Tensor> weights, gradients, means, squares, counts;
    void add(Slot& slot, const torch::Tensor& gradient, const torch::Tensor& count) {
      weights.push_back(slot.parameter->latent);
      gradients.push_back(gradient);
      means.push_back(slot.mean);
      squares.push_back(slot.square);
      counts.push_back(count);
    }
  };
  AdamWOptions options_;
  std::vector<Slot> slots_;
  std::unordered_map<const nn::Parameter*, size_t> index_;
  torch::Tensor count_;
};

}  // namespace

void add_adamw(OptimizerRegistry& registry) {
  registry.add(
      recipe::describe<AdamWOptions>(
          "optimizer", "adamw", "Adam with decoupled weight decay",
          "w <- w - lr * weight_decay * w\n"
          "m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2\n"
          "w <- w - lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps),  t = 1, 2, ...",
          "Loshchilov & Hutter 2019, arXiv 1711.05101, algorithm 2",
          "Only matrices and embeddings decay; norms and biases never do. A parameter without a "
          "gradient is left alone. One fused kernel a group."),
      [](const recipe::Component& component) {
        return std::make_unique<AdamW>(component.as<AdamWOptions>());
      });
}

}  // namespace compress::optim
