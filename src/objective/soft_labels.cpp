#include <limits>

#include "components.h"
#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "token_losses.h"

namespace compress::objective {

namespace {

using nn::HeadKind;

struct SoftLabelsOptions {
  recipe::Ramp temperature = 1;
  bool scale_t2 = true;
  std::string loss = "kl", classes = "sum";
  std::string head;
  std::string tokens = all_tokens;
  recipe::Ramp weight = 1;
  std::optional<recipe::Reference> teacher;

  static const recipe::Options<SoftLabelsOptions>& options() {
    static const auto description =
        recipe::Options<SoftLabelsOptions>("soft_labels")
            .field("temperature", &SoftLabelsOptions::temperature,
                   "softens both distributions; a number, or a ramp over the stage")
            .above(0)
            .field("scale_t2", &SoftLabelsOptions::scale_t2,
                   "multiplies by T^2, so that gradients keep their size whatever T is")
            .field("loss", &SoftLabelsOptions::loss,
                   "kl, or cross_entropy: the same with the teacher's entropy, so that the "
                   "gradient is the same")
            .one_of({"kl", "cross_entropy"})
            .field("classes", &SoftLabelsOptions::classes,
                   "sum over classes, or mean: a term that is smaller by their number")
            .one_of({"sum", "mean"})
            .field("head", &SoftLabelsOptions::head, head_doc)
            .field("tokens", &SoftLabelsOptions::tokens, tokens_doc)
            .field("weight", &SoftLabelsOptions::weight, weight_doc)
            .at_least(0)
            .field("teacher", &SoftLabelsOptions::teacher, teacher_doc);
    return description;
  }
};

class SoftLabels final : public Objective {
 public:
  explicit SoftLabels(const SoftLabelsOptions& options)
      : temperature_(options.temperature),
        scale_t2_(options.scale_t2),
        entropy_(options.loss == "cross_entropy"),
        mean_(options.classes == "mean"),
        of_(options.head),
        over_(options.tokens),
        heads_(options.head) {
    weight_ = options.weight;
    named_teacher_ = options.teacher;
  }

  roles::Needs needs() const override {
    roles::Needs needs = heads_.of(reads({.logits = true, .top_tokens = true}));
    needs.mark = mark_of(over_);
    return needs;
  }
  std::string unrecordable() const override { return mark_refusal(over_); }

  void bind(const roles::Scene& scene) override {
    Objective::bind(scene);
    head_ = with_head(scene.student, of_, mark_).head;
    const nn::Prediction& says = nn::prediction(head_);
    if (!says.predicts() || says.kind == nn::Prediction::Kind::value)
      throw Error(ErrorKind::recipe,
                  str("objective 'soft_labels' compares distributions over classes, but the "
                      "student's head is ",
                      nn::head_name(head_)),
                  mark_.text(),
                  head_ == HeadKind::regression ? "use logits_mse for regression"
                                                : "use hidden_states for a model without classes");
    heads_.bind(scene.student, *taught(scene), name_, mark_);
    check_tokens(over_, head_, mark_);
  }

  Losses compute(const Signals& signals) override {
    const torch::Tensor student = heads_.student(signals.student);
    const Unit unit = unit_of(head_, signals.batch);
    if (student.size(0) == 0) return {student.sum(1), unit};  // no labelled token here
    const double temperature = signals.at(temperature_);
    const nn::TopTokens& top = signals.teacher->top_tokens;
    const torch::Tensor divergence =
        of_.empty() && top.ids.defined()
            ? from_top_tokens(student, top, temperature)
            : from_logits(student, heads_.teacher(*signals.teacher), signals.batch, temperature);
    const torch::Tensor scaled = scale_t2_ ? divergence * (temperature * temperature) : divergence;
    return {of_mark(mean_ ? scaled / classes(student, signals.batch) : scaled, signals.batch, over_,
                    mark_),
            unit};
  }

 private:
  // The number of classes that a loss is summed over: of a span head each row's own.
  torch::Tensor classes(const torch::Tensor& student, const data::Batch& batch) const {
    if (head_ == HeadKind::span)
      return (batch.offsets.narrow(0, 1, batch.rows()) - batch.offsets.narrow(0, 0, batch.rows()))
          .to(torch::kFloat);
    if (head_ == HeadKind::multi_label || head_ == HeadKind::replaced_token)
      return torch::full({1}, 2.0F, student.options());  // each output is a yes or a no
    const int64_t count =
        head_ == HeadKind::multiple_choice ? batch.choices : student.size(student.dim() - 1);
    return torch::full({1}, static_cast<float>(count), student.options());
  }

  torch::Tensor from_logits(const torch::Tensor& student, const torch::Tensor& teacher,
                            const data::Batch& batch, double temperature) const {
    if (needs_chunks(head_, batch))
      return token_divergence(student, teacher, temperature, entropy_);
    switch (head_) {
      case HeadKind::span:
        return of_rows(over_row_tokens(student, batch), over_row_tokens(teacher, batch),
                       temperature);
      case HeadKind::multiple_choice:
        return kl(over_choices(student, batch), over_choices(teacher, batch), temperature);
      case HeadKind::replaced_token:
      case HeadKind::multi_label:
        return of_yes_no(student, teacher, temperature);
      default:
        return kl(student, teacher, temperature);
    }
  }

  torch::Tensor from_top_tokens(const torch::Tensor& student, const nn::TopTokens& top,
                                double temperature) const {
    if (needs_chunks(head_)) return token_divergence(student, top, temperature, entropy_);
    return kl(merged(student, top.ids), at::cat({top.log_probs, top.tail.unsqueeze(1)}, 1),
              temperature);
  }

  // The mean over both ends of a row's span. Logits are -inf where a row has no token.
  torch::Tensor of_rows(const torch::Tensor& student, const torch::Tensor& teacher,
                        double temperature) const {
    const torch::Tensor ours = softened(student, temperature),
                        theirs = softened(teacher, temperature),
                        missing = student.detach().isneginf();
    const torch::Tensor apart = entropy_ ? -ours : theirs - ours;
    return (theirs.exp() * apart.masked_fill(missing, 0)).sum(1).view({2, -1}).mean(0);
  }

  // The mean over outputs of KL between the two values of each. Softmax of (z, 0) is the logistic
  // function of z.
  torch::Tensor of_yes_no(const torch::Tensor& student, const torch::Tensor& teacher,
                          double temperature) const {
    auto both = [](const torch::Tensor& z) {
      return at::stack({z, at::zeros_like(z)}, -1).view({-1, 2});
    };
    return kl(both(student), both(teacher), temperature).view(student.sizes()).mean(1);
  }

  // Summed over classes.
  torch::Tensor kl(const torch::Tensor& student, const torch::Tensor& teacher,
                   double temperature) const {
    if (entropy_)
      return -(softened(teacher, temperature).exp() * softened(student, temperature)).sum(1);
    return at::kl_div(softened(student, temperature), softened(teacher, temperature),
                      at::Reduction::None, /*log_target=*/true)
        .sum(1);
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
  bool entropy_;  // the loss is the cross-entropy
  bool mean_;     // over classes
  std::string of_;
  std::string over_;  // which tokens
  HeadKind head_ = HeadKind::none;
  ComparedHeads heads_;
};

}  // namespace

void add_soft_labels(ObjectiveRegistry& registry) {
  registry.add(
      recipe::describe<SoftLabelsOptions>(
          "objective", "soft_labels", "the teacher's class distribution (knowledge distillation)",
          "T^2 KL(p_T || p_S) = T^2 sum_c p_T,c (log p_T,c - log p_S,c),  p = softmax(z / T)\n"
          "multi-label: T^2 (1/C) sum_c KL(b_T,c || b_S,c) of Bernoulli distributions with "
          "b_c = 1 / (1 + e^(-z_c / T))\n"
          "cross_entropy: T^2 sum_c -p_T,c log p_S,c\n"
          "from a cache that keeps a vocabulary's k most probable tokens: the same sum over k + 1 "
          "classes, these tokens and one class r for all others,\n"
          "z_T,c = log p_T,c and z_T,r = log sum_others p_T at T = 1;  z_S,r = log sum_others exp "
          "z_S",
          "Hinton, Vinyals & Dean 2015, arXiv 1503.02531, section 2; bias of the k tokens without "
          "the others' class: Anshumann et al. 2025, arXiv 2503.16870",
          "Needs a teacher with the student's classes. Summed over classes unless `classes: mean` "
          "divides by their number, as TinyBERT's code does, mean over rows, of heads on tokens "
          "over labelled tokens (of a masked LM the masked ones, or all with masking's `predict: "
          "all`); of a span head the classes are the row's tokens, "
          "and the mean is over rows and both ends; of multiple choice an example's choices; of "
          "multi-label heads it is the mean over labels, as that of `labels`. The "
          "factor T^2 is on unless scale_t2 is false. Not for regression: use logits_mse. Where "
          "the "
          "tables of teacher and student are padded to different sizes, both distributions are "
          "over "
          "the tokens that both have. Merging "
          "classes never raises a KL divergence at T = 1 (the log-sum inequality): from a cache of "
          "k tokens the loss is at most that of all logits, and does not see how the teacher ranks "
          "the other tokens."),
      [](const recipe::Component& component) {
        return std::make_unique<SoftLabels>(component.as<SoftLabelsOptions>());
      });
}

}  // namespace compress::objective
