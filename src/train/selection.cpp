#include "selection.h"

#include "compress/base/log.h"
#include "compress/base/strings.h"

namespace compress::train {

bool Selection::swap() {
  optim::Averaging* averaging = binding_.roles().averaging.get();
  if (averaging == nullptr || !averaging->ready()) return false;
  averaging->swap();
  return true;
}

Score Selection::evaluate(const Progress& progress) {
  binding_.roles().optimizer->settle();
  const bool averaged = swap();
  const Score score = job_.evaluate();
  if (counts(progress)) keep(progress, score);
  if (averaged) swap();
  for (const Keyed& keyed : binding_.parts()) keyed.part->scored(progress, score.values);
  std::vector<std::string> words;
  for (const auto& [name, value] : score.values) words.push_back(name + " " + fixed(value, 4));
  if (progress.step == 0) before_ = join(words, "  ");
  log::info(str(job_.stage, "  step ", progress.step, "  validation",
                averaged ? " (averaged weights)" : "", ": ", join(words, "  ")));
  return score;
}

// A score counts once the pattern of zeros is final and averaging has begun: earlier weights are
// not what is asked for.
bool Selection::counts(const Progress& progress) const {
  const Roles& roles = binding_.roles();
  for (const auto& constraint : roles.constraints)
    if (progress.step < constraint->pattern_fixed_from()) return false;
  return !roles.averaging || roles.averaging->ready();
}

void Selection::keep(const Progress& progress, const Score& score) {
  const bool better =
      !best_ || (score.higher_is_better ? score.selected > *best_ : score.selected < *best_);
  if (!better) {
    ++scores_since_;
    return;
  }
  best_ = score.selected;
  best_step_ = progress.step;
  scores_since_ = 0;
  if (job_.options->evaluate.keep != "best") return;
  torch::NoGradGuard no_grad;
  for (const nn::ParamTable* table : {&binding_.weights(), &binding_.helpers()})
    for (const nn::Parameter& parameter : table->list()) {
      if (!may_change(parameter, binding_)) continue;
      torch::Tensor& kept = weights_[parameter.name];
      if (!kept.defined())
        kept = torch::empty_like(parameter.latent, parameter.latent.options().requires_grad(false));
      kept.copy_(parameter.latent);
    }
}

bool Selection::finished() const {
  const int64_t patience = job_.options->evaluate.patience;
  return patience > 0 && scores_since_ >= patience;
}

void Selection::restore(const Progress& progress, Result& result) {
  binding_.roles().optimizer->settle();
  swap();
  result.best = best_;
  result.best_step = best_step_;
  if (job_.options->evaluate.keep != "best" || weights_.empty() || best_step_ == progress.step)
    return;
  torch::NoGradGuard no_grad;
  for (nn::ParamTable* table : {&binding_.weights(), &binding_.helpers()})
    for (nn::Parameter& parameter : table->list())
      // Helpers are not among what an earlier program's state kept.
      if (const auto kept = weights_.find(parameter.name); kept != weights_.end())
        parameter.latent.copy_(kept->second);
  result.notes.push_back(str("kept the weights of step ", best_step_, ", the best on validation"));
}

nn::Json Selection::numbers() const {
  nn::Json json = {{"best_step", best_step_}, {"evaluations_since_best", scores_since_}};
  if (best_) json["best_score"] = *best_;
  if (!before_.empty()) json["score_before"] = before_;
  return json;
}

void Selection::load_numbers(const nn::Json& json) {
  best_step_ = json.value("best_step", int64_t{0});
  scores_since_ = json.value("evaluations_since_best", int64_t{0});
  if (json.contains("best_score")) best_ = json["best_score"].get<double>();
  before_ = json.value("score_before", "");
}

}  // namespace compress::train
