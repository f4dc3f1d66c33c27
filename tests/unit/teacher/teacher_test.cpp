#include "compress/teacher/teacher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "compress/base/error.h"
#include "support/failure.h"

namespace compress::teacher {
namespace {

using nn::HeadKind;
using testing::HasSubstr;

nn::ModelConfig config(HeadKind head, std::vector<std::string> labels) {
  nn::ModelConfig config;
  config.head = head;
  config.labels = std::move(labels);
  config.vocab_size = 10;
  return config;
}

// Logits are the rows of one weight; it records everything, whatever is asked for. The one that was
// made last can be looked at, as its teacher has it.
class Fake final : public nn::Model {
 public:
  explicit Fake(nn::ModelConfig of) : nn::Model(std::move(of)) {
    latest = this;
    params_
        .add("classifier.weight", nn::Role::head, -1,
             torch::tensor({{1.0f, 2.0f, 3.0f}, {4.0f, 5.0f, 6.0f}}))
        .castable = true;
  }
  nn::Outputs forward(const data::Batch&, const nn::Capture&, const nn::Pass& pass) override {
    last_pass = pass;
    const torch::Tensor& weight = params_.list().front().effective;
    nn::Outputs outputs;
    outputs.logits = (weight * 1).to(torch::kFloat);
    outputs.token_logits = outputs.logits;
    outputs.pooled = outputs.logits;
    outputs.hidden = {outputs.logits, outputs.logits};
    outputs.attention = {outputs.logits};
    return outputs;
  }
  nn::Pass last_pass{.training = true};
  static inline Fake* latest = nullptr;
};

std::unique_ptr<Teacher> taught(const nn::ModelConfig& teacher, const nn::ModelConfig& student,
                                bool needs_logits = true,
                                nn::Precision precision = nn::Precision::float32) {
  return frozen(std::make_unique<Fake>(teacher), student, needs_logits, precision,
                {"recipe.yaml", 7, 5, "stages.student.train.teacher"});
}

const auto classification = HeadKind::classification;

TEST(Teacher, SameOrderIsLeftAlone) {
  const auto model = config(classification, {"a", "b", "c"});
  auto teacher = taught(model, model);
  EXPECT_TRUE(torch::equal(teacher->signals({}, {}).logits,
                           torch::tensor({{1.0f, 2.0f, 3.0f}, {4.0f, 5.0f, 6.0f}})));
  EXPECT_EQ(teacher->config().labels, model.labels);
}

TEST(Teacher, ClassesFollowTheStudentsNames) {
  auto teacher =
      taught(config(classification, {"a", "b", "c"}), config(classification, {"c", "a", "b"}));
  EXPECT_TRUE(torch::equal(teacher->signals({}, {}).logits,
                           torch::tensor({{3.0f, 1.0f, 2.0f}, {6.0f, 4.0f, 5.0f}})));
  // Generic names in another order are names too.
  auto shuffled = taught(config(classification, {"LABEL_0", "LABEL_1", "LABEL_2"}),
                         config(classification, {"LABEL_2", "LABEL_1", "LABEL_0"}));
  EXPECT_EQ(shuffled->signals({}, {}).logits[0][0].item<float>(), 3);
}

TEST(Teacher, GenericNamesMapByNumberOnlyOnBothSides) {
  const auto labels = config(classification, {"LABEL_0", "LABEL_1", "LABEL_2"});
  auto teacher = taught(labels, config(classification, {"0", "1", "2"}));
  EXPECT_EQ(teacher->signals({}, {}).logits[0][0].item<float>(), 1);
  EXPECT_THROW(taught(labels, config(classification, {"a", "b", "c"})), Error);
}

TEST(Teacher, OtherClassesAreRefused) {
  const auto abc = config(classification, {"a", "b", "c"});
  Error error = failure([&] { taught(abc, config(classification, {"a", "b", "C"})); });
  EXPECT_EQ(error.kind(), ErrorKind::recipe);
  EXPECT_THAT(error.message(), HasSubstr("the teacher has a, b, c; the student has a, b, C"));
  EXPECT_THAT(error.where(), HasSubstr("recipe.yaml:7:5"));
  EXPECT_THROW(taught(abc, config(classification, {"a", "b"})), Error);
  EXPECT_THROW(taught(abc, config(classification, {"a", "a", "b"})), Error);
  EXPECT_THAT(failure([&] { taught(abc, config(HeadKind::regression, {"x"})); }).message(),
              HasSubstr("head is classification, but the student's is regression"));
}

TEST(Teacher, HeadDoesNotMatterForHiddenStates) {
  auto teacher = taught(config(HeadKind::none, {}), config(classification, {"a", "b"}), false);
  nn::Outputs outputs = teacher->signals({}, {.hidden = true});
  EXPECT_FALSE(outputs.logits.defined());
  EXPECT_FALSE(outputs.token_logits.defined());
  EXPECT_EQ(outputs.hidden.size(), 2u);
}

TEST(Teacher, ASmallerVocabularyIsRefused) {
  auto student = config(classification, {"a", "b", "c"});
  student.vocab_size = 11;
  EXPECT_THAT(failure([&] {
                taught(config(classification, {"a", "b", "c"}), student, false);
              }).message(),
              HasSubstr("knows 10 tokens and the student 11"));
}

// Rows of embeddings behind the tokenizer's tokens are padding.
TEST(Teacher, TablesMayBePaddedToDifferentSizes) {
  const auto sized = [](HeadKind head, int64_t tokens) {
    auto of = config(head, {});
    if (head == classification) of.labels = {"a", "b", "c"};
    of.vocab_size = tokens;
    return of;
  };
  const recipe::Mark mark{"recipe.yaml", 7, 5, "stages.student.train.teacher"};
  EXPECT_NO_THROW(check_fit(sized(classification, 16), sized(classification, 10), true, 9, mark));
  EXPECT_THROW(check_fit(sized(classification, 16), sized(classification, 10), true, 12, mark),
               Error);
  EXPECT_NO_THROW(
      check_fit(sized(HeadKind::causal_lm, 2), sized(HeadKind::causal_lm, 3), true, 2, mark));
  const Error error = failure([&] {
    check_fit(sized(HeadKind::causal_lm, 10), sized(HeadKind::causal_lm, 16), true, 12, mark);
  });
  EXPECT_THAT(error.message(), HasSubstr("logits of 10 tokens and the teacher of 16, of 12"));
  EXPECT_THAT(error.hint(), HasSubstr("resize_vocabulary: {size: 16}"));
  EXPECT_THAT(error.where(), HasSubstr("recipe.yaml:7:5"));
  auto teacher = frozen(std::make_unique<Fake>(sized(HeadKind::causal_lm, 3)),
                        sized(HeadKind::causal_lm, 2), true, nn::Precision::float32, mark, 2);
  EXPECT_TRUE(torch::equal(teacher->signals({}, {}).token_logits,
                           torch::tensor({{1.0f, 2.0f}, {4.0f, 5.0f}})));
}

TEST(Teacher, KeepsOnlyWhatIsCaptured) {
  const auto model = config(classification, {"a", "b", "c"});
  auto teacher = taught(model, model);
  nn::Outputs none = teacher->signals({}, {});
  EXPECT_FALSE(none.pooled.defined());
  EXPECT_TRUE(none.hidden.empty());
  EXPECT_TRUE(none.attention.empty());
  nn::Outputs all = teacher->signals({}, {true, true, true});
  EXPECT_TRUE(all.pooled.defined());
  EXPECT_EQ(all.hidden.size(), 2u);
  EXPECT_EQ(all.attention.size(), 1u);
}

TEST(Teacher, IsFrozenInEvaluationModeAndUsableInTheStudentsGraph) {
  const auto model = config(classification, {"a", "b", "c"});
  auto teacher = taught(model, model);
  torch::Tensor logits = teacher->signals({}, {}).logits;
  EXPECT_FALSE(logits.requires_grad());
  EXPECT_FALSE(logits.is_inference());
  EXPECT_FALSE(Fake::latest->last_pass.training);
  EXPECT_TRUE(Fake::latest->params().trainable().empty());
  torch::Tensor student = torch::ones({2, 3}).requires_grad_(true);
  (student * logits).sum().backward();  // saves the teacher's logits
  EXPECT_TRUE(torch::equal(student.grad(), logits));
  EXPECT_FALSE(Fake::latest->params().list().front().latent.grad().defined());
}

TEST(Teacher, WeightsAreCastOnce) {
  const auto model = config(classification, {"a", "b", "c"});
  auto teacher = taught(model, model, true, nn::Precision::bf16);
  const nn::Parameter& weight = Fake::latest->params().list().front();
  EXPECT_EQ(weight.effective.scalar_type(), torch::kBFloat16);
  const void* memory = weight.effective.data_ptr();
  teacher->signals({}, {});
  EXPECT_EQ(weight.effective.data_ptr(), memory);
  EXPECT_EQ(Fake::latest->last_pass.precision, nn::Precision::bf16);
}

}  // namespace
}  // namespace compress::teacher
