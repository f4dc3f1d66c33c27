// The teacher's logits in growing size, with a margin: Continuation-KD, and Annealing-KD's first
// stage.

#include <algorithm>

#include "components.h"
#include "compress/base/error.h"
#include "compress/base/strings.h"

namespace compress::objective {

namespace {

struct ContinuationOptions {
  int64_t t_max = 10;
  std::optional<recipe::Ramp> scale;
  recipe::Ramp margin = 0;
  std::string hinge = "row";
  std::string reduction = "sum";
  std::string head;
  recipe::Ramp weight = 1;
  std::optional<recipe::Reference> teacher;

  static const recipe::Options<ContinuationOptions>& options() {
    static const auto description =
        recipe::Options<ContinuationOptions>("continuation")
            .field(
                "t_max", &ContinuationOptions::t_max,
                "the temperature falls from this by one to 1, every floor(epochs / t_max) epochs")
            .range(1, 100000)
            .field("scale", &ContinuationOptions::scale,
                   "phi itself, a number or a ramp, instead of the temperature's")
            .at_least(0)
            .field("margin", &ContinuationOptions::margin, "m: what is left unpunished at phi = 1")
            .at_least(0)
            .field("hinge", &ContinuationOptions::hinge,
                   "the margin is taken from each row's distance, or from the batch's mean")
            .one_of({"row", "batch"})
            .field("reduction", &ContinuationOptions::reduction,
                   "over classes: the sum, which the paper writes, or the mean, which it calls it")
            .one_of({"sum", "mean"})
            .field("head", &ContinuationOptions::head, head_doc)
            .field("weight", &ContinuationOptions::weight, weight_doc)
            .at_least(0)
            .field("teacher", &ContinuationOptions::teacher, teacher_doc);
    return description;
  }
};

// phi of each epoch i = 1, 2, ..., from its beginning on: 1 - (T - 1) / t_max, where T begins at
// t_max and falls by one at the beginning of each k-th epoch, k = floor(epochs / t_max). The
// paper's loop would reach T = 0 at its end: T stays at 1.
recipe::Ramp annealed(int64_t t_max, int64_t epochs) {
  recipe::Ramp phi;
  const int64_t period = epochs / t_max;
  for (int64_t epoch = 1; epoch <= epochs; ++epoch) {
    const int64_t temperature = std::max<int64_t>(1, t_max - epoch / period);
    phi.table.emplace_back(Duration::epochs(static_cast<double>(epoch - 1)),
                           1 - static_cast<double>(temperature - 1) / static_cast<double>(t_max));
  }
  return phi;
}

class Continuation final : public Objective {
 public:
  explicit Continuation(const ContinuationOptions& options)
      : options_(options), heads_(options.head) {
    weight_ = options.weight;
    named_teacher_ = options.teacher;
  }

  roles::Needs needs() const override { return heads_.of(reads({.logits = true})); }

  void bind(const roles::Scene& scene) override {
    Objective::bind(scene);
    if (!nn::prediction(with_head(scene.student, options_.head, mark_).head).predicts())
      throw Error(ErrorKind::recipe, "objective '" + name_ + "' compares logits", mark_.text(),
                  "use a model with a head that predicts");
    heads_.bind(scene.student, *taught(scene), name_, mark_);
    if (whole_batch() && scene.processes != nullptr)
      throw Error(ErrorKind::recipe,
                  "a hinge on the batch's mean needs the whole batch in one process", mark_.text(),
                  "set `hinge: row`");
    scale_ = options_.scale ? *options_.scale : by_epochs(scene.length);
  }

  bool whole_batch() const override { return options_.hinge == "batch"; }

  std::string summary() const override {
    if (options_.scale) return {};
    return str("phi from ", fixed(scale_.at({0, 1, 1}), 4), " to 1 in steps of ",
               fixed(1 / static_cast<double>(options_.t_max), 4));
  }

  Losses compute(const Signals& signals) override {
    const double phi = signals.at(scale_), margin = signals.at(options_.margin) * phi;
    torch::Tensor distances = heads_.squares(signals, options_.reduction == "sum", phi);
    // Without a row there is no mean.
    if (whole_batch() && distances.size(0) > 0) distances = distances.mean().expand_as(distances);
    return {(distances - margin).clamp_min(0), heads_.unit(signals.batch)};
  }

 private:
  recipe::Ramp by_epochs(const Length& length) const {
    const int64_t each = std::max<int64_t>(1, length.steps_per_epoch),
                  epochs = (length.total_steps + each - 1) / each;
    if (epochs < options_.t_max)
      throw Error(ErrorKind::recipe,
                  str("t_max is ", options_.t_max, ", but the stage has ", epochs,
                      epochs == 1 ? " epoch" : " epochs", ", in each of which T is one number"),
                  mark_.text(), "lower t_max, lengthen the stage, or give `scale` as a ramp");
    return annealed(options_.t_max, epochs);
  }

  ContinuationOptions options_;
  ComparedHeads heads_;
  recipe::Ramp scale_ = 1;
};

}  // namespace

void add_continuation(ObjectiveRegistry& registry) {
  registry.add(
      recipe::describe<ContinuationOptions>(
          "objective", "continuation",
          "distance to the teacher's logits, which grow to their size, beyond a margin",
          "(1/B) sum_rows max(0, R_c (z_S,c - phi z_T,c)^2 - m phi),  R = sum or mean over "
          "classes\n"
          "phi(T) = 1 - (T - 1) / T_max,  T from T_max down to 1 by epochs",
          "Jafari et al. 2022, arXiv 2212.05998, equations of section 3",
          "Continuation-KD is this term with weight 1 - psi and `labels` with weight psi, both "
          "ramps "
          "by epoch. With m = 0 and psi a step from 0 to 1 it is Annealing-KD (Jafari et al. 2021, "
          "arXiv 2104.07163). The paper leaves open m, whether the margin is a row's or the "
          "batch's, and sum or mean over classes: each is an option. A hinge on the batch's mean "
          "is "
          "no sum over rows. Needs a teacher with the student's outputs; raw logits, no "
          "temperature on the student."),
      [](const recipe::Component& component) {
        return std::make_unique<Continuation>(component.as<ContinuationOptions>());
      });
}

}  // namespace compress::objective
