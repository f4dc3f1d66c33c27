#include <algorithm>

#include "components.h"
#include "compress/base/error.h"
#include "compress/base/random.h"
#include "compress/base/strings.h"
#include "compress/data/classes.h"

namespace compress::teacher {

namespace {

using nn::HeadKind;

std::vector<int64_t> class_order(const nn::ModelConfig& student, const nn::ModelConfig& teacher,
                                 const recipe::Mark& mark) {
  const std::vector<std::string>&ours = student.labels, &theirs = teacher.labels;
  data::ClassMatch match = data::match_classes(ours, theirs);
  if (!match)
    throw Error(ErrorKind::recipe,
                str("the teacher's classes are not the student's: the teacher has ",
                    data::class_list(theirs), "; the student has ", data::class_list(ours)),
                mark.text(), data::mismatch_hint(ours, theirs));
  return match.in_order() ? std::vector<int64_t>() : std::move(match.order);
}

void require_same_head(const nn::ModelConfig& student, const nn::ModelConfig& teacher,
                       const recipe::Mark& mark) {
  if (student.head == teacher.head) return;
  throw Error(ErrorKind::recipe,
              str("the teacher's head is ", nn::head_name(teacher.head), ", but the student's is ",
                  nn::head_name(student.head)),
              mark.text(), "train the teacher on the student's task first");
}

// Rows behind the tokenizer's tokens are padding; tokens that only one of the two has are not.
void require_shared_tokens(const nn::ModelConfig& student, const nn::ModelConfig& teacher,
                           int64_t tokens, const recipe::Mark& mark) {
  const int64_t ours = student.vocab_size, theirs = teacher.vocab_size;
  if (ours == theirs || (tokens > 0 && tokens <= std::min(ours, theirs))) return;
  throw Error(ErrorKind::recipe,
              str("the student has logits of ", ours, " tokens and the teacher of ", theirs,
                  tokens > 0 ? str(", of ", tokens, " that the tokenizer has") : ""),
              mark.text(),
              str("give the student's model `resize_vocabulary: {size: ", theirs, "}`"));
}

class Frozen final : public Teacher {
 public:
  // `vocabulary`: of logits over one, as many as are kept.
  Frozen(std::unique_ptr<nn::Model> model, nn::Precision precision, bool needs_logits,
         const std::vector<int64_t>& order, int64_t vocabulary, bool dropout)
      : model_(std::move(model)),
        precision_(precision),
        needs_logits_(needs_logits),
        vocabulary_(vocabulary),
        dropout_(dropout) {
    model_->freeze();
    model_->params().refresh(precision_);
    model_->params().release_latents();
    if (!order.empty()) order_ = torch::tensor(order, torch::kLong).to(model_->device());
  }

  void bind(const roles::Scene& scene) override { seed_ = scene.seed; }
  bool before_update(const Progress& progress) override {
    step_ = static_cast<uint64_t>(progress.step);
    return false;
  }
  std::string unrecordable() const override {
    return dropout_ ? "dropout of a teacher is drawn apart" : "";
  }

  // Without gradients, not in inference mode: a loss saves these tensors for the student's backward
  // pass.
  nn::Outputs signals(const data::Batch& batch, const nn::Capture& capture) override {
    torch::NoGradGuard no_grad;
    nn::Pass pass;
    pass.precision = precision_;
    pass.training = dropout_;
    if (dropout_) pass.dropout_seed = stream_seed(seed_, "dropout of " + name(), step_, 0);
    nn::Outputs all = model_->forward(batch, capture, pass);
    nn::Outputs kept;
    if (needs_logits_) {
      kept.logits = ordered(all.logits);
      kept.token_logits = nn::has_labels(model_->config().head) ? ordered(all.token_logits)
                                                                : shared(all.token_logits);
      kept.token_index = all.token_index;
    }
    kept.more = std::move(all.more);
    if (capture.pooled) kept.pooled = all.pooled;
    if (capture.hidden) kept.hidden = std::move(all.hidden);
    if (capture.decoder_hidden) kept.decoder_hidden = std::move(all.decoder_hidden);
    if (capture.attention) kept.attention = std::move(all.attention);
    if (capture.decoder_attention) kept.decoder_attention = std::move(all.decoder_attention);
    if (capture.cross_attention) kept.cross_attention = std::move(all.cross_attention);
    return kept;
  }

  const nn::ModelConfig& config() const override { return model_->config(); }
  torch::Device device() const override { return model_->device(); }

 private:
  // Classes in the student's order.
  torch::Tensor ordered(const torch::Tensor& logits) const {
    return order_.defined() && logits.defined() ? logits.index_select(1, order_) : logits;
  }

  // Logits of the tokens that the student has, too.
  torch::Tensor shared(const torch::Tensor& logits) const {
    const bool cut = logits.defined() && nn::predicts_tokens(model_->config().head) &&
                     logits.size(1) > vocabulary_;
    return cut ? logits.narrow(1, 0, vocabulary_) : logits;
  }

  std::unique_ptr<nn::Model> model_;
  nn::Precision precision_;
  bool needs_logits_;
  int64_t vocabulary_;
  bool dropout_;
  uint64_t seed_ = 0, step_ = 0;  // of the update's draws
  torch::Tensor order_;           // undefined: the student's order already
};

}  // namespace

std::vector<int64_t> check_fit(const nn::ModelConfig& student, const nn::ModelConfig& teacher,
                               bool needs_logits, int64_t tokens, const recipe::Mark& mark,
                               bool own_tokens) {
  const int64_t read = tokens > 0 ? std::min(tokens, student.vocab_size) : student.vocab_size;
  if (!own_tokens && teacher.vocab_size < read)
    throw Error(ErrorKind::recipe,
                str("the teacher knows ", teacher.vocab_size, " tokens and the student ",
                    student.vocab_size, ", but both read the same token ids"),
                mark.text(),
                "use a teacher with the student's tokenizer, or resize_vocabulary, which gives its "
                "embedding a row for each token");
  if (!needs_logits) return {};
  require_same_head(student, teacher, mark);
  if (nn::predicts_tokens(student.head) && !own_tokens)
    require_shared_tokens(student, teacher, tokens, mark);
  const bool classes = nn::has_labels(student.head) && student.head != HeadKind::regression;
  return classes ? class_order(student, teacher, mark) : std::vector<int64_t>();
}

void check_own_tokens(const roles::Asked& asked, const nn::ModelConfig& student,
                      const std::string& term, const std::string& teacher,
                      const recipe::Mark& mark) {
  const nn::Capture& seen = asked.capture;
  std::string what;
  if (seen.hidden || seen.decoder_hidden) what = "hidden states of tokens";
  if (seen.any_attention()) what = "attention scores";
  auto see = [&](HeadKind head) {
    const nn::Prediction::Over over = nn::prediction(head).over;
    const bool of_rows =
        over == nn::Prediction::Over::rows || over == nn::Prediction::Over::choices;
    // Words have one label each, whatever tokens they are cut into.
    if (!of_rows && head != HeadKind::token_classification)
      what = str("the logits of a ", nn::head_name(head), " head");
  };
  if (asked.logits) see(student.head);
  for (const std::string& head : seen.heads) see(nn::with_head(student, head).head);
  if (what.empty()) return;
  throw Error(ErrorKind::recipe,
              str("objective '", term, "' compares ", what, ", but the teacher '", teacher,
                  "' reads other tokens than the student"),
              mark.text(),
              "compare outputs of rows or of words, or use a teacher with the "
              "student's tokenizer");
}

std::unique_ptr<Teacher> frozen(std::unique_ptr<nn::Model> model, const nn::ModelConfig& student,
                                bool needs_logits, nn::Precision precision,
                                const recipe::Mark& mark, int64_t tokens, Manner manner) {
  const std::vector<int64_t> order =
      check_fit(student, model->config(), needs_logits, tokens, mark, manner.own_tokens);
  return std::make_unique<Frozen>(std::move(model), precision, needs_logits, order,
                                  student.vocab_size, manner.dropout);
}

void add_model(TeacherRegistry& registry) {
  registry.add(
      recipe::describe<TeacherOptions>(
          "teacher", "model", "a frozen model, in evaluation mode", "z_T = f_T(x; w_T),  w_T fixed",
          "Hinton, Vinyals & Dean 2015, arXiv 1503.02531, section 2",
          "`{model: big}` is short for `{model: {from: big}}`. With `tokenizer: own` it packs the "
          "same rows as its own tokens: outputs of rows are compared row by row, those of labelled "
          "words word by word, and what belongs to other tokens is refused."),
      Maker());
}

}  // namespace compress::teacher
