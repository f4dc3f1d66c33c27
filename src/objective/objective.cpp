#include "compress/objective/objective.h"

#include <algorithm>
#include <limits>

#include "components.h"
#include "compress/base/error.h"
#include "compress/base/place.h"
#include "compress/base/strings.h"
#include "compress/data/classes.h"

namespace compress::objective {

using nn::HeadKind;

double Numbers::read(const recipe::Ramp& ramp, const Progress& progress) {
  if (!ramp.constant() && std::find(seen_.begin(), seen_.end(), &ramp) == seen_.end())
    seen_.push_back(&ramp);
  return ramp.at(progress);
}

std::vector<double> Numbers::at(const Progress& progress) const {
  std::vector<double> values;
  for (const recipe::Ramp* ramp : seen_) values.push_back(ramp->at(progress));
  return values;
}

double Signals::at(const recipe::Ramp& ramp) const {
  return numbers == nullptr ? ramp.at(progress) : numbers->read(ramp, progress);
}

std::string Objective::choose_teacher(const std::vector<std::string>& names) const {
  if (names.empty())
    throw Error(ErrorKind::recipe, "objective '" + name_ + "' needs a teacher", mark_.text(),
                "add `teacher:` to this stage, naming an earlier stage or a model folder");
  if (!named_teacher_) {
    if (names.size() == 1) return names.front();
    throw Error(ErrorKind::recipe,
                "objective '" + name_ + "' does not say which of the stage's teachers it reads",
                mark_.text(), "set `teacher:` on it: " + join(names, ", "));
  }
  const std::string& name = *named_teacher_;
  if (std::find(names.begin(), names.end(), name) == names.end())
    throw Error(
        ErrorKind::recipe,
        "objective '" + name_ + "' reads the teacher '" + name + "', which the stage does not have",
        named_teacher_->mark.text(), "its teachers: " + join(names, ", "));
  return name;
}

void Objective::bind(const roles::Scene& scene) {
  if (needs().teachers.empty()) return;
  std::vector<std::string> names;
  for (const roles::Voice& voice : scene.teachers) names.push_back(voice.name);
  teacher_ = choose_teacher(names);
}

std::unique_ptr<Objective> make(const recipe::Component& component) {
  return roles::make(objectives(), component);
}

Unit unit_of(HeadKind head) {
  return nn::prediction(head).of_tokens() ? Unit::labels : Unit::rows;
}

Unit unit_of(HeadKind head, const data::Batch& batch) {
  const bool all = head == HeadKind::replaced_token && batch.targets.changed.defined();
  return all ? Unit::tokens : unit_of(head);
}

bool needs_chunks(HeadKind head) {
  const nn::Prediction& says = nn::prediction(head);
  return says.vocabulary && says.every_token;
}

bool needs_chunks(HeadKind head, const data::Batch& batch) {
  if (!nn::prediction(head).vocabulary) return false;
  const auto labelled = static_cast<int64_t>(batch.targets.labelled.size());
  return needs_chunks(head) || labelled == batch.predicted().tokens();
}

torch::Tensor over_row_tokens(const torch::Tensor& token_logits, const data::Batch& batch) {
  const int64_t rows = batch.rows();
  const torch::Tensor grid =
      torch::full({rows * batch.longest, 2}, -std::numeric_limits<float>::infinity(),
                  token_logits.options())
          .index_copy(0, batch.slots, token_logits);
  return grid.view({rows, batch.longest, 2}).permute({2, 0, 1}).reshape({2 * rows, batch.longest});
}

torch::Tensor over_choices(const torch::Tensor& logits, const data::Batch& batch) {
  return logits.view({-1, batch.choices});
}

nn::ModelConfig with_head(const nn::ModelConfig& student, const std::string& head,
                          const recipe::Mark& mark) {
  return with_place(mark.text(), [&] { return nn::with_head(student, head); });
}

void ComparedHeads::bind(const nn::ModelConfig& student, const nn::ModelConfig& teacher,
                         const std::string& term, const recipe::Mark& mark) {
  const nn::ModelConfig ours = with_head(student, name_, mark);
  if (!name_.empty() && teacher.find_head(name_) == nullptr)
    throw Error(ErrorKind::recipe,
                str("objective '", term, "' compares the head '", name_,
                    "', which the teacher does not have"),
                mark.text(), "train the teacher with a head of that name first");
  const nn::ModelConfig other = nn::with_head(teacher, name_);
  kind_ = ours.head;
  if (ours.head != other.head)
    throw Error(ErrorKind::recipe,
                str("objective '", term, "' compares logits, but the student's head is ",
                    nn::head_name(ours.head), " and the teacher's is ", nn::head_name(other.head)),
                mark.text(), "train the teacher with the student's head first");
  tokens_ = std::min(student.vocab_size, teacher.vocab_size);
  if (nn::predicts_tokens(kind_)) return;  // over the tokens that both have
  if (ours.outputs() != other.outputs())
    throw Error(ErrorKind::recipe,
                str("objective '", term, "' compares logits, but the student has ", ours.outputs(),
                    " of them and the teacher ", other.outputs()),
                mark.text(), "both must have one label set");
  // The order of own heads' classes is the teacher's business.
  if (name_.empty() || !nn::has_classes(kind_)) return;
  const data::ClassMatch match = data::match_classes(ours.labels, other.labels);
  if (!match)
    throw Error(ErrorKind::recipe,
                str("the classes of the head '", name_, "' differ: the student's are {",
                    data::class_list(ours.labels), "}, the teacher's {",
                    data::class_list(other.labels), "}"),
                mark.text(), data::mismatch_hint(ours.labels, other.labels));
  if (!match.in_order()) order_ = torch::tensor(match.order);
}

roles::Needs ComparedHeads::of(roles::Needs needs) const {
  if (name_.empty()) return needs;
  needs.student.heads.insert(name_);
  for (auto& [teacher, asked] : needs.teachers) {
    asked.capture.heads.insert(name_);
    asked.logits = false;
    asked.top_tokens = false;
  }
  return needs;
}

torch::Tensor ComparedHeads::squares(const Signals& signals, bool sum, double scale) const {
  const torch::Tensor theirs = teacher(*signals.teacher);
  const torch::Tensor squares = at::mse_loss(
      student(signals.student), scale == 1 ? theirs : theirs * scale, at::Reduction::None);
  return sum ? squares.sum(1) : squares.mean(1);
}

Unit ComparedHeads::unit(const data::Batch& batch) const {
  return kind_ == HeadKind::span ? Unit::predicted : unit_of(kind_, batch);
}

torch::Tensor ComparedHeads::shared(const nn::Outputs& outputs) const {
  const torch::Tensor& logits = head_output(outputs, name_, kind_);
  const bool cut = nn::predicts_tokens(kind_) && logits.size(1) > tokens_;
  return cut ? logits.narrow(1, 0, tokens_) : logits;
}

torch::Tensor ComparedHeads::student(const nn::Outputs& outputs) const {
  return shared(outputs);
}

torch::Tensor ComparedHeads::teacher(const nn::Outputs& outputs) const {
  const torch::Tensor logits = shared(outputs);
  if (!order_.defined()) return logits;
  order_ = order_.to(logits.device());
  return logits.index_select(1, order_);
}

const torch::Tensor& head_output(const nn::Outputs& outputs, const std::string& name,
                                 HeadKind head) {
  const nn::HeadOutputs& own = outputs.of(name);
  const torch::Tensor& logits =
      nn::prediction(head).in_token_logits() ? own.token_logits : own.logits;
  if (!logits.defined())
    throw Error(ErrorKind::internal, str("a ", nn::head_name(head), " model gave no logits"));
  return logits;
}

}  // namespace compress::objective
