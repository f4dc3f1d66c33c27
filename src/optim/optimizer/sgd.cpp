#include <unordered_map>

#include "components.h"
#include "groups.h"

namespace compress::optim {

namespace {

struct SgdOptions {
  double lr = 0;
  double momentum = 0.9;
  bool nesterov = false;
  double weight_decay = 0;
  std::vector<GroupOptions> groups;

  static const recipe::Options<SgdOptions>& options() {
    static const auto description =
        recipe::Options<SgdOptions>("sgd")
            .field("lr", &SgdOptions::lr, "base learning rate")
            .required()
            .above(0)
            .field("momentum", &SgdOptions::momentum, "weight of the past direction; 0 keeps none")
            .range(0, 0.999999)
            .field("nesterov", &SgdOptions::nesterov, "looks ahead along the momentum")
            .field("weight_decay", &SgdOptions::weight_decay,
                   "added to the gradient of matrices and embeddings, times the weight")
            .at_least(0)
            .field("groups", &SgdOptions::groups,
                   "parameters with a rate or a decay of their own; the first group that names a "
                   "parameter counts")
            .shorthand("lr")
            .check([](const SgdOptions& o, const recipe::Mark& mark, recipe::Problems& problems) {
              if (o.nesterov && o.momentum == 0)
                problems.add(mark, "nesterov needs a momentum", "set momentum: 0.9");
            });
    return description;
  }
};

class Sgd final : public Optimizer {
 public:
  explicit Sgd(const SgdOptions& options)
      : options_(options), rates_({options.lr, options.weight_decay}, options.groups) {}

  void bind(const roles::Scene& scene) override {
    slots_.clear();
    index_.clear();
    rates_.bind(scene);
    for (nn::Parameter* parameter : scene.trained()) {
      index_[parameter] = slots_.size();
      Slot& slot = slots_.emplace_back(Slot{parameter, {}, rates_.of(*parameter)});
      if (options_.momentum > 0)
        slot.direction =
            torch::zeros_like(parameter->latent, parameter->latent.options().requires_grad(false));
    }
  }

  void step(double factor, int64_t) override {
    torch::NoGradGuard no_grad;
    std::vector<Lists> groups(rates_.list().size());
    const std::optional<torch::Tensor> found =
        found_.defined() ? std::optional<torch::Tensor>(found_) : std::nullopt;
    for (Slot& slot : slots_) {
      const torch::Tensor& gradient = slot.parameter->latent.grad();
      if (!gradient.defined()) continue;
      Lists& lists = groups[slot.rate];
      lists.weights.push_back(slot.parameter->latent);
      lists.gradients.push_back(gradient);
      if (slot.direction.defined()) lists.directions.push_back(slot.direction);
    }
    for (size_t group = 0; group < groups.size(); ++group) {
      Lists& lists = groups[group];
      const Rate& rate = rates_.list()[group];
      if (lists.weights.empty()) continue;
      // Directions start at zero, which makes the first update the same as any other.
      at::_fused_sgd_(lists.weights, lists.gradients, lists.directions, rate.weight_decay,
                      options_.momentum, rate.lr * factor, /*dampening=*/0.0, options_.nesterov,
                      /*maximize=*/false, /*is_first_step=*/false, /*grad_scale=*/{}, found);
    }
  }

  double learning_rate() const override { return options_.lr; }

  std::vector<torch::Tensor> moments(const nn::Parameter& parameter) const override {
    auto it = index_.find(&parameter);
    if (it == index_.end() || !slots_[it->second].direction.defined()) return {};
    return {slots_[it->second].direction};
  }

  nn::TensorMap state() const override {
    nn::TensorMap state;
    for (const Slot& slot : slots_)
      if (slot.direction.defined()) state["momentum." + slot.parameter->name] = slot.direction;
    return state;
  }

  void load_state(const nn::TensorMap& state) override {
    for (Slot& slot : slots_)
      if (slot.direction.defined())
        load_tensor(state, "momentum." + slot.parameter->name, slot.direction);
  }

 private:
  struct Slot {
    nn::Parameter* parameter;
    torch::Tensor direction;  // undefined without momentum
    size_t rate;              // its number in rates_
  };
  struct Lists {
    std::vector<torch::Tensor> weights, gradients, directions;
  };
  SgdOptions options_;
  Rates rates_;
  std::vector<Slot> slots_;
  std::unordered_map<const nn::Parameter*, size_t> index_;
};

}  // namespace

void add_sgd(OptimizerRegistry& registry) {
  registry.add(recipe::describe<SgdOptions>(
                   "optimizer", "sgd", "stochastic gradient descent with momentum",
                   "g <- g + weight_decay * w;  v <- momentum v + g\n"
                   "w <- w - lr * v   (nesterov: w <- w - lr * (g + momentum v))",
                   "Sutskever et al. 2013 (as PyTorch's SGD: the rate scales the direction)",
                   "Only matrices and embeddings decay; norms and biases never do."),
               [](const recipe::Component& component) {
                 return std::make_unique<Sgd>(component.as<SgdOptions>());
               });
}

}  // namespace compress::optim
