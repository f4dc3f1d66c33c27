// Training within the pattern of zeros that a model already has.

#include <optional>

#include "components.h"
#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "pruning/mask.h"
#include "selection.h"

namespace compress::constraint {

namespace {

struct KeepPatternOptions {
  std::optional<recipe::Fraction> at_least;
  std::vector<std::string> targets = {"encoder"};
  std::vector<std::string> exclude;

  static const recipe::Options<KeepPatternOptions>& options() {
    using K = KeepPatternOptions;
    static const auto description =
        recipe::Options<K>("keep_pattern")
            .field("at_least", &K::at_least, "refuse a model whose targets are less sparse")
            .field("targets", &K::targets, "roles, groups of roles or globs over tensor names")
            .field("exclude", &K::exclude, "globs over tensor names")
            .check([](const K& o, const recipe::Mark& mark, recipe::Problems& problems) {
              if (o.targets.empty()) problems.add(mark, "targets is empty: nothing would be kept");
            });
    return description;
  }
};

class KeepPattern final : public Constraint {
 public:
  explicit KeepPattern(const KeepPatternOptions& options) : options_(options) {}

  void bind(const roles::Scene& scene) override {
    masks_.bind(select(scene.weights, {options_.targets, options_.exclude}, mark_));
    torch::NoGradGuard no_grad;
    for (Mask& mask : masks_.list()) mask.set(kept(mask.parameter->latent.detach()));
    masks_.apply_to_latents();  // -0 becomes +0
    check();
  }
  std::vector<Match> matches() const override {
    return masks_.matches("zeros kept where they are");
  }
  void after_update(const Progress&) override { masks_.apply_to_latents(); }
  nn::TensorMap state() const override { return masks_.state(); }
  void load_state(const nn::TensorMap& state) override { masks_.load_state(state); }
  void finish() override { masks_.apply_to_latents(); }
  std::string report() const override { return masks_.report() + ", pattern kept"; }

 private:
  // Weights of a plan have no values: they count as zeros, so that new ones alone are refused.
  static torch::Tensor kept(const torch::Tensor& latent) {
    if (latent.is_meta()) return torch::zeros(latent.sizes(), torch::kUInt8);
    return (latent != 0).to(torch::kUInt8).to(torch::kCPU);
  }
  double sparsity() const {
    return static_cast<double>(masks_.zeros()) / static_cast<double>(masks_.count());
  }
  void check() const {
    if (masks_.zeros() == 0)
      throw Error(ErrorKind::recipe, "nothing to keep: the model's targets have no zeros",
                  mark_.text(), "start from a pruned model, or use `magnitude`");
    if (options_.at_least && sparsity() < options_.at_least->value)
      throw Error(ErrorKind::recipe,
                  str("the model's targets are ", percent(sparsity()), " sparse, below at_least ",
                      percent(options_.at_least->value)),
                  mark_.text(), "is this the pruned model?");
  }

  KeepPatternOptions options_;
  Masks masks_;
};

}  // namespace

void add_keep_pattern(PruningRegistry& registry) {
  registry.add(
      recipe::describe<KeepPatternOptions>(
          "pruning", "keep_pattern", "trains a sparse model and keeps its zeros where they are",
          "mask = (w != 0) at the start;  effective w = mask * w;  dL/dw = mask * dL/d(effective)",
          "Zafrir et al. 2021, arXiv 2111.05754 (pattern lock for transfer)",
          "Fixed from the start. A weight of a dense layer that is exactly 0 is kept at 0 too. "
          "Before the first update, a model without any zero, or with fewer than `at_least`, is "
          "refused; a plan knows it of models with new weights. With quantization the mask comes "
          "first, so zeros stay zeros."),
      [](const recipe::Component& component) {
        return std::make_unique<KeepPattern>(component.as<KeepPatternOptions>());
      });
}

}  // namespace compress::constraint
