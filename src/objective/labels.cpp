#include "components.h"
#include "compress/base/error.h"
#include "compress/base/strings.h"

namespace compress::objective {

namespace {

using nn::HeadKind;

struct LabelsOptions {
  double label_smoothing = 0;
  recipe::Ramp weight = 1;

  static const recipe::Options<LabelsOptions>& options() {
    static const auto description =
        recipe::Options<LabelsOptions>("labels")
            .field("label_smoothing", &LabelsOptions::label_smoothing,
                   "share of the target that is spread evenly over all classes")
            .range(0, 0.999)
            .field("weight", &LabelsOptions::weight, weight_doc)
            .at_least(0);
    return description;
  }
};

class Labels final : public Objective {
 public:
  explicit Labels(const LabelsOptions& options) : smoothing_(options.label_smoothing) {
    weight_ = options.weight;
  }

  void bind(const nn::ModelConfig& student, const nn::ModelConfig* teacher,
            nn::ParamTable& auxiliary, uint64_t seed) override {
    Objective::bind(student, teacher, auxiliary, seed);
    head_ = student.head;
    if (head_ == HeadKind::none || head_ == HeadKind::embedding)
      throw Error(ErrorKind::recipe,
                  str("objective 'labels' needs a head that predicts, but the student's head is ",
                      nn::head_name(head_)),
                  mark_.text(), "set head: classification, regression or masked_lm on the model");
    if (head_ == HeadKind::regression && smoothing_ > 0)
      throw Error(ErrorKind::recipe, "label_smoothing has no meaning for regression", mark_.text(),
                  "remove it");
  }

  bool over_tokens() const override { return head_ == HeadKind::masked_lm; }

  torch::Tensor compute(const Signals& signals) override {
    const torch::Tensor& logits = head_output(signals.student, head_);
    const data::Targets& targets = signals.batch.targets;
    switch (head_) {
      case HeadKind::regression:
        return at::mse_loss(logits.squeeze(-1), given(targets.values));
      case HeadKind::masked_lm: {
        if (logits.size(0) == 0) return logits.sum();  // nothing to predict in this batch
        const torch::Tensor labels =
            given(targets.token_labels).index_select(0, signals.student.token_index);
        return at::cross_entropy_loss(logits, labels, {}, at::Reduction::Mean, -100, smoothing_);
      }
      default:
        return at::cross_entropy_loss(logits, given(targets.distribution), {}, at::Reduction::Mean,
                                      -100, smoothing_);
    }
  }

 private:
  const torch::Tensor& given(const torch::Tensor& target) const {
    if (target.defined()) return target;
    throw Error(ErrorKind::data,
                str("objective 'labels' found no labels for a ", nn::head_name(head_), " head"),
                mark_.text(), "name the label column of the data set, or use a teacher's signals");
  }

  double smoothing_;
  HeadKind head_ = HeadKind::none;
};

}  // namespace

void add_labels(ObjectiveRegistry& registry) {
  registry.add(
      recipe::describe<LabelsOptions>(
          "objective", "labels", "the task's own loss against the data's labels",
          "classification: -(1/B) sum_rows sum_c q_c log softmax(z)_c,  "
          "q = (1 - s) target + s / C,  s = label_smoothing\n"
          "regression: (1/B) sum_rows (z - y)^2\n"
          "masked LM: mean of -log softmax(z)_label over the labelled tokens",
          "smoothing: Szegedy et al. 2016, arXiv 1512.00567, section 7",
          "Mean over rows (masked LM: over labelled tokens). Targets are distributions; a hard "
          "label is the one-hot case. The gradient at the logits is (softmax(z) - q) / B."),
      [](const recipe::Component& component) {
        return std::make_unique<Labels>(component.as<LabelsOptions>());
      });
}

}  // namespace compress::objective
