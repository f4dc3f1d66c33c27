#include <algorithm>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/teacher/teacher.h"

namespace compress::teacher {

namespace {

using nn::HeadKind;

// Names that say no more than a class's number, in order: LABEL_0, LABEL_1, ... or 0, 1, ...
bool generic(const std::vector<std::string>& labels) {
  for (size_t i = 0; i < labels.size(); ++i)
    if (labels[i] != str("LABEL_", i) && labels[i] != str(i)) return false;
  return true;
}

// For each of the student's classes the teacher's column; empty when the order is the same.
std::vector<int64_t> class_order(const nn::ModelConfig& student, const nn::ModelConfig& teacher,
                                 const recipe::Mark& mark) {
  const std::vector<std::string>&ours = student.labels, &theirs = teacher.labels;
  if (ours == theirs) return {};
  if (ours.size() == theirs.size() && generic(ours) && generic(theirs)) return {};
  std::vector<int64_t> order;
  std::vector<bool> used(theirs.size(), false);
  for (const std::string& label : ours) {
    const auto it = std::find(theirs.begin(), theirs.end(), label);
    if (it == theirs.end()) break;
    const auto column = static_cast<size_t>(it - theirs.begin());
    if (used[column]) break;
    used[column] = true;
    order.push_back(it - theirs.begin());
  }
  if (order.size() != ours.size() || ours.size() != theirs.size())
    throw Error(ErrorKind::recipe,
                "the teacher's classes are not the student's: the teacher has " +
                    join(theirs, ", ") + "; the student has " + join(ours, ", "),
                mark.text(), "labels are matched by name: both models must use the same names");
  return order;
}

void require_same_head(const nn::ModelConfig& student, const nn::ModelConfig& teacher,
                       const recipe::Mark& mark) {
  if (student.head == teacher.head) return;
  throw Error(ErrorKind::recipe,
              str("the teacher's head is ", nn::head_name(teacher.head), ", but the student's is ",
                  nn::head_name(student.head)),
              mark.text(), "train the teacher on the student's task first");
}

class Frozen final : public Teacher {
 public:
  Frozen(std::unique_ptr<nn::Model> model, nn::Precision precision, bool needs_logits,
         const std::vector<int64_t>& order)
      : model_(std::move(model)), precision_(precision), needs_logits_(needs_logits) {
    model_->freeze();
    model_->params().refresh(precision_);
    model_->params().release_latents();
    if (!order.empty()) order_ = torch::tensor(order, torch::kLong).to(model_->device());
  }

  // Without gradients, not in inference mode: a loss saves these tensors for the student's backward
  // pass.
  nn::Outputs signals(const data::Batch& batch, const nn::Capture& capture) override {
    torch::NoGradGuard no_grad;
    nn::Pass pass;
    pass.precision = precision_;
    nn::Outputs all = model_->forward(batch, capture, pass);
    nn::Outputs kept;
    if (needs_logits_) {
      kept.logits = ordered(all.logits);
      kept.token_logits =
          nn::has_labels(model_->config().head) ? ordered(all.token_logits) : all.token_logits;
      kept.token_index = all.token_index;
    }
    if (capture.pooled) kept.pooled = all.pooled;
    if (capture.hidden) {
      kept.hidden = std::move(all.hidden);
      kept.decoder_hidden = std::move(all.decoder_hidden);
    }
    if (capture.attention) {
      kept.attention = std::move(all.attention);
      kept.decoder_attention = std::move(all.decoder_attention);
      kept.cross_attention = std::move(all.cross_attention);
    }
    return kept;
  }

  const nn::ModelConfig& config() const override { return model_->config(); }
  nn::Model& model() override { return *model_; }

 private:
  // Classes in the student's order.
  torch::Tensor ordered(const torch::Tensor& logits) const {
    return order_.defined() && logits.defined() ? logits.index_select(1, order_) : logits;
  }

  std::unique_ptr<nn::Model> model_;
  nn::Precision precision_;
  bool needs_logits_;
  torch::Tensor order_;  // undefined: the student's order already
};

}  // namespace

std::unique_ptr<Teacher> frozen(std::unique_ptr<nn::Model> model, const nn::ModelConfig& student,
                                bool needs_logits, nn::Precision precision,
                                const recipe::Mark& mark) {
  const nn::ModelConfig& teacher = model->config();
  if (teacher.vocab_size < student.vocab_size)
    throw Error(ErrorKind::recipe,
                str("the teacher knows ", teacher.vocab_size, " tokens and the student ",
                    student.vocab_size, ", but both read the same token ids"),
                mark.text(), "use a teacher with the student's tokenizer");
  std::vector<int64_t> order;
  if (needs_logits) {
    require_same_head(student, teacher, mark);
    if (nn::has_labels(student.head) && student.head != HeadKind::regression)
      order = class_order(student, teacher, mark);
  }
  return std::make_unique<Frozen>(std::move(model), precision, needs_logits, order);
}

}  // namespace compress::teacher
