#include "components.h"
#include "compress/base/error.h"
#include "compress/base/strings.h"

namespace compress::objective {

namespace {

struct LogitsMseOptions {
  std::string reduction = "mean";
  std::string head;
  recipe::Ramp weight = 1;
  std::optional<recipe::Reference> teacher;

  static const recipe::Options<LogitsMseOptions>& options() {
    static const auto description =
        recipe::Options<LogitsMseOptions>("logits_mse")
            .field("reduction", &LogitsMseOptions::reduction,
                   "over classes: their mean or their sum (always the mean over rows)")
            .one_of({"mean", "sum"})
            .field("head", &LogitsMseOptions::head, head_doc)
            .field("weight", &LogitsMseOptions::weight, weight_doc)
            .at_least(0)
            .field("teacher", &LogitsMseOptions::teacher, teacher_doc);
    return description;
  }
};

class LogitsMse final : public Objective {
 public:
  explicit LogitsMse(const LogitsMseOptions& options)
      : sum_(options.reduction == "sum"), of_(options.head), heads_(options.head) {
    weight_ = options.weight;
    named_teacher_ = options.teacher;
  }

  roles::Needs needs() const override { return heads_.of(reads({.logits = true})); }

  void bind(const roles::Scene& scene) override {
    Objective::bind(scene);
    const nn::HeadKind head = with_head(scene.student, of_, mark_).head;
    if (!nn::prediction(head).predicts())
      throw Error(ErrorKind::recipe,
                  str("objective 'logits_mse' compares logits, but the student's head is ",
                      nn::head_name(head)),
                  mark_.text(), "use hidden_states for a model without logits");
    heads_.bind(scene.student, *taught(scene), name_, mark_);
  }

  Losses compute(const Signals& signals) override {
    return {heads_.squares(signals, sum_), heads_.unit(signals.batch)};
  }

 private:
  bool sum_;
  std::string of_;
  ComparedHeads heads_;
};

}  // namespace

void add_logits_mse(ObjectiveRegistry& registry) {
  registry.add(recipe::describe<LogitsMseOptions>(
                   "objective", "logits_mse", "squared distance to the teacher's logits",
                   "(1/B) sum_rows R_c (z_S,c - z_T,c)^2,  R = mean or sum over classes",
                   "Ba & Caruana 2014, arXiv 1312.6184, equation 1",
                   "Needs a teacher with the student's outputs; fits regression too. Mean over "
                   "rows, of heads "
                   "on tokens over tokens (labelled ones, where labels are of tokens); over a "
                   "vocabulary the mean (or sum) is over the tokens that both tables have. No "
                   "temperature and no T^2 factor."),
               [](const recipe::Component& component) {
                 return std::make_unique<LogitsMse>(component.as<LogitsMseOptions>());
               });
}

}  // namespace compress::objective
