#include "components.h"
#include "compress/base/error.h"
#include "compress/base/strings.h"

namespace compress::objective {

namespace {

using nn::HeadKind;

struct SoftLabelsOptions {
  recipe::Ramp temperature = 1;
  bool scale_t2 = true;
  recipe::Ramp weight = 1;

  static const recipe::Options<SoftLabelsOptions>& options() {
    static const auto description =
        recipe::Options<SoftLabelsOptions>("soft_labels")
            .field("temperature", &SoftLabelsOptions::temperature,
                   "softens both distributions; a number, or a ramp over the stage")
            .above(0)
            .field("scale_t2", &SoftLabelsOptions::scale_t2,
                   "multiplies by T^2, so that gradients keep their size whatever T is")
            .field("weight", &SoftLabelsOptions::weight, weight_doc)
            .at_least(0);
    return description;
  }
};

class SoftLabels final : public Objective {
 public:
  explicit SoftLabels(const SoftLabelsOptions& options)
      : temperature_(options.temperature), scale_t2_(options.scale_t2) {
    weight_ = options.weight;
  }

  bool needs_teacher() const override { return true; }
  std::vector<double> constants(const Progress& progress) const override {
    return {temperature_.at(progress)};
  }

  void bind(const nn::ModelConfig& student, const nn::ModelConfig* teacher,
            nn::ParamTable& auxiliary, uint64_t seed) override {
    Objective::bind(student, teacher, auxiliary, seed);
    head_ = student.head;
    if (head_ != HeadKind::classification && head_ != HeadKind::masked_lm)
      throw Error(ErrorKind::recipe,
                  str("objective 'soft_labels' compares distributions over classes, but the "
                      "student's head is ",
                      nn::head_name(head_)),
                  mark_.text(),
                  head_ == HeadKind::regression ? "use logits_mse for regression"
                                                : "use hidden_states for a model without classes");
    require_same_outputs(student, *teacher, name_, mark_);
  }

  torch::Tensor compute(const Signals& signals) override {
    const torch::Tensor& student = head_output(signals.student, head_);
    const int64_t rows = student.size(0);
    if (rows == 0) return student.sum();  // no labelled token in this batch
    const double temperature = temperature_.at(signals.progress);
    const torch::Tensor target = softened(head_output(*signals.teacher, head_), temperature);
    const torch::Tensor divergence =
        at::kl_div(softened(student, temperature), target, at::Reduction::Sum, /*log_target=*/true);
    const double scale = scale_t2_ ? temperature * temperature : 1.0;
    return divergence * (scale / static_cast<double>(rows));
  }

 private:
  static torch::Tensor softened(const torch::Tensor& logits, double temperature) {
    return at::log_softmax(temperature == 1 ? logits : logits / temperature, -1);
  }

  recipe::Ramp temperature_;
  bool scale_t2_;
  HeadKind head_ = HeadKind::none;
};

}  // namespace

void add_soft_labels(ObjectiveRegistry& registry) {
  registry.add(
      recipe::describe<SoftLabelsOptions>(
          "objective", "soft_labels", "the teacher's class distribution (knowledge distillation)",
          "T^2 KL(p_T || p_S) = T^2 sum_c p_T,c (log p_T,c - log p_S,c),  p = softmax(z / T)",
          "Hinton, Vinyals & Dean 2015, arXiv 1503.02531, section 2",
          "Needs a teacher with the student's classes. Summed over classes, mean over rows (masked "
          "LM: over labelled tokens). The factor T^2 is on unless scale_t2 is false. Not for "
          "regression: use logits_mse."),
      [](const recipe::Component& component) {
        return std::make_unique<SoftLabels>(component.as<SoftLabelsOptions>());
      });
}

}  // namespace compress::objective
