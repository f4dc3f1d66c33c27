#include "compress/objective/objective.h"

#include <algorithm>
#include <limits>

#include "components.h"
#include "compress/base/error.h"
#include "compress/base/strings.h"

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

void Objective::bind(const roles::Scene& scene) {
  if (needs().teacher && scene.teacher() == nullptr)
    throw Error(ErrorKind::recipe, "objective '" + name_ + "' needs a teacher", mark_.text(),
                "add `teacher:` to this stage, naming an earlier stage or a model folder");
}

std::unique_ptr<Objective> make(const recipe::Component& component) {
  return roles::make(objectives(), component);
}

bool reads_token_logits(HeadKind head) {
  return unit_of(head) == Unit::labels || head == HeadKind::span;
}

Unit unit_of(HeadKind head) {
  const bool labels = nn::predicts_tokens(head) || head == HeadKind::token_classification ||
                      head == HeadKind::replaced_token;
  return labels ? Unit::labels : Unit::rows;
}

bool needs_chunks(HeadKind head) {
  return head == HeadKind::causal_lm || head == HeadKind::seq2seq_lm;
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

void require_same_outputs(const nn::ModelConfig& student, const nn::ModelConfig& teacher,
                          const std::string& term, const recipe::Mark& mark) {
  if (student.head != teacher.head)
    throw Error(
        ErrorKind::recipe,
        str("objective '", term, "' compares logits, but the student's head is ",
            nn::head_name(student.head), " and the teacher's is ", nn::head_name(teacher.head)),
        mark.text(), "train the teacher with the student's head first");
  if (nn::predicts_tokens(student.head)) return;  // over the tokens that both have
  const int64_t ours = student.outputs(), theirs = teacher.outputs();
  if (ours != theirs)
    throw Error(ErrorKind::recipe,
                str("objective '", term, "' compares logits, but the student has ", ours,
                    " of them and the teacher ", theirs),
                mark.text(), "both must have one label set");
}

int64_t shared_tokens(const nn::ModelConfig& student, const nn::ModelConfig* teacher) {
  return std::min(student.vocab_size, teacher->vocab_size);
}

torch::Tensor shared_output(const nn::Outputs& outputs, nn::HeadKind head, int64_t tokens) {
  const torch::Tensor& logits = head_output(outputs, head);
  const bool cut = nn::predicts_tokens(head) && logits.size(1) > tokens;
  return cut ? logits.narrow(1, 0, tokens) : logits;
}

const torch::Tensor& head_output(const nn::Outputs& outputs, nn::HeadKind head) {
  const torch::Tensor& logits = reads_token_logits(head) ? outputs.token_logits : outputs.logits;
  if (!logits.defined())
    throw Error(ErrorKind::internal, str("a ", nn::head_name(head), " model gave no logits"));
  return logits;
}

}  // namespace compress::objective
