#include <limits>

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
  bool takes_top_tokens() const override { return true; }
  bool over_tokens() const override { return head_ == HeadKind::masked_lm; }
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
    const nn::TopTokens& top = signals.teacher->top_tokens;
    const torch::Tensor divergence =
        top.ids.defined() ? kl(merged(student, top.ids),
                               at::cat({top.log_probs, top.tail.unsqueeze(1)}, 1), temperature)
                          : kl(student, head_output(*signals.teacher, head_), temperature);
    const double scale = scale_t2_ ? temperature * temperature : 1.0;
    return divergence * (scale / static_cast<double>(rows));
  }

 private:
  // Summed over rows.
  static torch::Tensor kl(const torch::Tensor& student, const torch::Tensor& teacher,
                          double temperature) {
    return at::kl_div(softened(student, temperature), softened(teacher, temperature),
                      at::Reduction::Sum, /*log_target=*/true);
  }

  // Logits [M, k + 1]: those of the tokens `ids`, and one for all others together, the logarithm of
  // the sum of their exponentials. The softmax of it is that of `logits` with the others merged.
  static torch::Tensor merged(const torch::Tensor& logits, const torch::Tensor& ids) {
    const double none = -std::numeric_limits<double>::infinity();
    const torch::Tensor others = logits.scatter(1, ids, none).logsumexp(1, /*keepdim=*/true);
    return at::cat({logits.gather(1, ids), others}, 1);
  }

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
          "T^2 KL(p_T || p_S) = T^2 sum_c p_T,c (log p_T,c - log p_S,c),  p = softmax(z / T)\n"
          "from a cache that keeps a masked LM's k most probable tokens: the same sum over k + 1 "
          "classes, these tokens and one class r for all others,\n"
          "z_T,c = log p_T,c and z_T,r = log sum_others p_T at T = 1;  z_S,r = log sum_others exp "
          "z_S",
          "Hinton, Vinyals & Dean 2015, arXiv 1503.02531, section 2; bias of the k tokens without "
          "the others' class: Anshumann et al. 2025, arXiv 2503.16870",
          "Needs a teacher with the student's classes. Summed over classes, mean over rows (masked "
          "LM: over labelled tokens). The factor T^2 is on unless scale_t2 is false. Not for "
          "regression: use logits_mse. Merging classes never raises a KL divergence at T = 1 (the "
          "log-sum inequality): from a cache of k tokens the loss is at most that of all logits, "
          "and does not see how the teacher ranks the other tokens."),
      [](const recipe::Component& component) {
        return std::make_unique<SoftLabels>(component.as<SoftLabelsOptions>());
      });
}

}  // namespace compress::objective
