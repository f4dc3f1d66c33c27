// Training within the pattern of zeros that a model already has.

#include <optional>

#include "components.h"
#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "pruning/mask.h"
#include "pruning/pattern.h"
#include "selection.h"

namespace compress::constraint {

namespace {

struct KeepPatternOptions {
  std::optional<recipe::Fraction> at_least;
  std::optional<PatternOptions> pattern;
  std::vector<std::string> targets = {"encoder"};
  std::vector<std::string> exclude;

  static const recipe::Options<KeepPatternOptions>& options() {
    using K = KeepPatternOptions;
    static const auto description =
        recipe::Options<K>("keep_pattern")
            .field("at_least", &K::at_least, "refuse a model whose targets are less sparse")
            .field("pattern", &K::pattern,
                   "{block: [1, 4]} or {n: 2, of: 4}: refuse a model whose zeros do not lie so; of "
                   "blocks, those that are zero as a whole are kept. Left out: each zero is kept")
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
    const nn::Pattern pattern = pattern_of(options_.pattern);
    const auto targets = select(scene.weights, {options_.targets, options_.exclude}, mark_);
    if (options_.pattern) check_divides(pattern, targets, options_.pattern->mark);
    masks_.bind(targets, pattern);
    torch::NoGradGuard no_grad;
    for (Mask& mask : masks_.list()) take(mask);
    masks_.apply_to_latents();  // -0 becomes +0
    check();
    recognise();
  }
  std::vector<Match> matches() const override {
    return masks_.matches(masks_.pattern().single() ? "zeros kept where they are"
                                                    : "zeros kept, " + masks_.pattern().text());
  }
  bool needs_zeros() const override { return true; }
  void after_update(const Progress&) override { masks_.apply_to_latents(); }
  nn::TensorMap state() const override { return masks_.state(); }
  void load_state(const nn::TensorMap& state) override { masks_.load_state(state); }
  void finish() override { masks_.apply_to_latents(); }
  std::string report() const override {
    return masks_.report() + ", pattern kept" + (found_.empty() ? "" : ": " + found_);
  }

 private:
  // Weights of a plan have no values: they count as zeros, so that new ones alone are refused.
  void take(Mask& mask) {
    const torch::Tensor latent = mask.parameter->latent.detach();
    const nn::Pattern& pattern = masks_.pattern();
    if (latent.is_meta()) {
      mask.set(torch::zeros(latent.sizes(), torch::kUInt8));
      return;
    }
    torch::Tensor keep = (latent != 0).to(torch::kUInt8).to(torch::kCPU);
    if (pattern.groups() && !allows(pattern, keep))
      refuse(mask, "has more than " + str(pattern.kept) + " of some " + str(pattern.of));
    if (pattern.blocks()) {
      const int64_t zeros = keep.numel() - at::count_nonzero(keep).item<int64_t>();
      keep = mask_of_weights(nn::kept_blocks(keep, pattern), pattern);
      const int64_t left = at::count_nonzero(keep).item<int64_t>();
      const int64_t outside = zeros - (keep.numel() - left);
      if (static_cast<double>(outside) > nn::most_zeros_outside * static_cast<double>(left))
        refuse(mask, str("has ", with_commas(outside), " zeros outside of zero blocks"));
    }
    mask.set(keep);
  }
  [[noreturn]] void refuse(const Mask& mask, const std::string& what) const {
    throw Error(
        ErrorKind::recipe,
        str("the zeros of ", mask.parameter->name, " are not of the pattern ",
            masks_.pattern().text(), ": it ", what),
        options_.pattern->mark.text(),
        "`compress inspect --tensors` shows which one they have; prune with this `pattern`, "
        "or leave it out");
  }
  double sparsity() const {
    return static_cast<double>(masks_.zeros()) / static_cast<double>(masks_.count());
  }
  void recognise() {
    if (options_.pattern) return;
    nn::ZeroPattern zeros;
    for (const Mask& mask : masks_.list())
      if (!mask.parameter->latent.is_meta()) zeros.add(mask.parameter->latent);
    if (!zeros.found().single()) found_ = zeros.text();
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
  std::string found_;  // which pattern the zeros have where the recipe names none
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
          "refused; a plan knows it of models with new weights, and of dense ones that no stage "
          "pruned or quantised. Which pattern the zeros have is "
          "told. With `pattern` it must be that one; a tenth of the weights inside of blocks that "
          "stay may be zero, and those move again. With quantization the mask comes first, so "
          "zeros "
          "stay zeros."),
      [](const recipe::Component& component) {
        return std::make_unique<KeepPattern>(component.as<KeepPatternOptions>());
      });
}

}  // namespace compress::constraint
