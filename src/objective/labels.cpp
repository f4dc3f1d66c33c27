#include "components.h"
#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "token_losses.h"

namespace compress::objective {

namespace {

using nn::HeadKind;

struct LabelsOptions {
  double label_smoothing = 0;
  std::string head;
  std::string tokens = all_tokens;
  recipe::Ramp weight = 1;

  static const recipe::Options<LabelsOptions>& options() {
    static const auto description =
        recipe::Options<LabelsOptions>("labels")
            .field("label_smoothing", &LabelsOptions::label_smoothing,
                   "share of the target that is spread evenly over all classes")
            .range(0, 0.999)
            .field("head", &LabelsOptions::head, head_doc)
            .field("tokens", &LabelsOptions::tokens, tokens_doc)
            .field("weight", &LabelsOptions::weight, weight_doc)
            .at_least(0);
    return description;
  }
};

class Labels final : public Objective {
 public:
  explicit Labels(const LabelsOptions& options)
      : smoothing_(options.label_smoothing), of_(options.head), tokens_(options.tokens) {
    weight_ = options.weight;
  }

  void bind(const roles::Scene& scene) override {
    Objective::bind(scene);
    head_ = with_head(scene.student, of_, mark_).head;
    if (!nn::prediction(head_).predicts())
      throw Error(ErrorKind::recipe,
                  str("objective 'labels' needs a head that predicts, but the student's head is ",
                      nn::head_name(head_)),
                  mark_.text(), "set head: classification, regression or masked_lm on the model");
    const bool unsmoothed = head_ == HeadKind::regression || head_ == HeadKind::span ||
                            head_ == HeadKind::replaced_token || head_ == HeadKind::multi_label;
    if (unsmoothed && smoothing_ > 0)
      throw Error(ErrorKind::recipe,
                  str("label_smoothing has no meaning for ",
                      head_ == HeadKind::regression ? "regression" : nn::head_name(head_)),
                  mark_.text(), "remove it");
    check_tokens(tokens_, head_, mark_);
  }

  roles::Needs needs() const override {
    roles::Needs needs{.mark = mark_of(tokens_)};
    if (!of_.empty()) needs.student.heads.insert(of_);
    return needs;
  }
  std::string unrecordable() const override { return mark_refusal(tokens_); }

  Losses compute(const Signals& signals) override {
    return {of_mark(values(signals), signals.batch, tokens_, mark_), unit_of(head_, signals.batch)};
  }

 private:
  torch::Tensor values(const Signals& signals) const {
    const torch::Tensor& logits = head_output(signals.student, of_, head_);
    const data::Targets& targets = signals.batch.targets;
    switch (head_) {
      case HeadKind::regression:
        return at::mse_loss(logits.squeeze(-1), given(targets.values), at::Reduction::None);
      case HeadKind::masked_lm:
      case HeadKind::token_classification:
      case HeadKind::causal_lm:
      case HeadKind::seq2seq_lm:
        return of_tokens(logits, signals);
      case HeadKind::replaced_token:
        return of_changes(logits.squeeze(1), signals);
      case HeadKind::multi_label:
        return at::binary_cross_entropy_with_logits(logits, given(targets.distribution), {}, {},
                                                    at::Reduction::None)
            .mean(1);
      case HeadKind::span:  // first tokens of all rows, then last ones
        return cross_entropy(over_row_tokens(logits, signals.batch),
                             given(targets.spans).t().reshape(-1), 0)
            .view({2, -1})
            .mean(0);
      case HeadKind::multiple_choice:
        return cross_entropy(over_choices(logits, signals.batch), given(targets.distribution),
                             smoothing_);
      default:
        return cross_entropy(logits, given(targets.distribution), smoothing_);
    }
  }

  static torch::Tensor cross_entropy(const torch::Tensor& logits, const torch::Tensor& targets,
                                     double smoothing) {
    return at::cross_entropy_loss(logits, targets, {}, at::Reduction::None, -100, smoothing);
  }

  torch::Tensor of_tokens(const torch::Tensor& logits, const Signals& signals) const {
    const torch::Tensor& all = given(signals.batch.targets.token_labels);
    if (logits.size(0) == 0) return logits.sum(1);  // nothing to predict in this batch
    const torch::Tensor labels = all.index_select(0, signals.student.of(of_).token_index);
    if (needs_chunks(head_, signals.batch)) return token_cross_entropy(logits, labels, smoothing_);
    return cross_entropy(logits, labels, smoothing_);
  }

  // Whether a token was put in another's place: of all tokens, or of those with a label.
  torch::Tensor of_changes(const torch::Tensor& logits, const Signals& signals) const {
    const data::Targets& targets = signals.batch.targets;
    const torch::Tensor labels =
        targets.changed.defined()
            ? targets.changed
            : given(targets.token_labels).index_select(0, signals.student.of(of_).token_index);
    return at::binary_cross_entropy_with_logits(logits, labels.to(torch::kFloat), {}, {},
                                                at::Reduction::None);
  }

  const torch::Tensor& given(const torch::Tensor& target) const {
    if (target.defined()) return target;
    throw Error(ErrorKind::data,
                str("objective 'labels' found no labels for a ", nn::head_name(head_), " head"),
                mark_.text(), "name the label column of the data set, or use a teacher's signals");
  }

  double smoothing_;
  std::string of_;
  std::string tokens_;
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
          "masked, causal and sequence-to-sequence LM, token classification: mean of -log "
          "softmax(z)_label over the labelled tokens\n"
          "replaced tokens: the same with the logistic function of one logit; of all tokens where "
          "masking says which it changed\n"
          "multi-label: (1/B) sum_rows (1/C) sum_c -(y_c log s(z_c) + (1 - y_c) log s(-z_c)),  "
          "s(z) = 1 / (1 + e^-z)\n"
          "span: mean of the losses of the first and the last token, softmax over the row's "
          "tokens\n"
          "multiple choice: as classification, softmax over an example's choices",
          "smoothing: Szegedy et al. 2016, arXiv 1512.00567, section 7",
          "Mean over rows, of heads on tokens over labelled tokens. Targets are distributions; a "
          "hard label is the one-hot case. The gradient at the logits is (softmax(z) - q) / B. "
          "Multi-label: the mean over labels, as torch's BCEWithLogitsLoss and transformers have "
          "it. Of "
          "causal and sequence-to-sequence LMs loss and gradient are computed in one pass over "
          "chunks of tokens."),
      [](const recipe::Component& component) {
        return std::make_unique<Labels>(component.as<LabelsOptions>());
      });
}

}  // namespace compress::objective
