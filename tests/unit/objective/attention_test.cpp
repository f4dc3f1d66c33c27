#include "unit/nn/support.h"
#include "unit/objective/support.h"

namespace compress::objective {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using torch::Tensor;

nn::ModelConfig bert(int64_t layers, int64_t heads) {
  nn::ModelConfig config = model(HeadKind::none, 0, layers, 4 * heads);
  config.family = "bert";
  config.attention_heads = heads;
  return config;
}

nn::Outputs with_attention(std::vector<Tensor> scores) {
  nn::Outputs outputs;
  outputs.attention = std::move(scores);
  return outputs;
}

// Rows of two tokens and of one; what lies outside of them must not count, not even as NaN.
Tensor two_rows(float first) {
  const float nan = std::nanf("");
  return torch::tensor({first, 2.0f, 3.0f, 4.0f, 2.0f, nan, nan, nan}).view({2, 1, 2, 2});
}

TEST(Attention, IsTheMeanOverHeadsAndTheRowsOwnPairs) {
  const data::Batch batch = nn::random_batch({2, 1});
  Bound term("attention", bert(1, 1), bert(1, 1));
  const Tensor scores = two_rows(1).requires_grad_(true);
  const nn::Outputs student = with_attention({scores}),
                    teacher = with_attention({torch::zeros({2, 1, 2, 2})});
  // (1 + 4 + 9 + 16) / 4 of the first row, 4 / 1 of the second
  const Tensor loss = term(batch, student, &teacher);
  EXPECT_FLOAT_EQ(loss.item<float>(), (7.5f + 4) / 2);
  loss.backward();
  // d/dA = 2 A / (2 rows * 4 pairs)
  EXPECT_FLOAT_EQ(scores.grad()[0][0][1][1].item<float>(), 1);
  EXPECT_FLOAT_EQ(scores.grad()[1][0][0][0].item<float>(), 2);
  EXPECT_EQ(scores.grad()[1][0][0][1].item<float>(), 0);
}

// TinyBERT's published code pads rows to one length: scores of padding are 0 on both sides.
TEST(Attention, MayCountPadding) {
  const data::Batch batch = nn::random_batch({2, 1});
  const nn::Outputs student = with_attention({two_rows(1)}),
                    teacher = with_attention({torch::zeros({2, 1, 2, 2})});
  // (1 + 4 + 9 + 16) / 9 of the first row, 4 / 9 of the second
  EXPECT_FLOAT_EQ(
      Bound("attention: {padded_to: 3}", bert(1, 1), bert(1, 1))(batch, student, &teacher)
          .item<float>(),
      (30.0f + 4) / 9 / 2);
  Bound shorter("attention: {padded_to: 1}", bert(1, 1), bert(1, 1));
  EXPECT_THAT(failure([&] { shorter(batch, student, &teacher); }).message(),
              HasSubstr("a row of 2 tokens is longer than padded_to: 1"));
}

// Keys of a prefix come before a row's own, and the teacher has none of them.
TEST(Attention, LeavesPrefixesOut) {
  const data::Batch batch = nn::random_batch({2, 1});
  Bound term("attention", bert(1, 1), bert(1, 1));
  const Tensor prefix = torch::full({2, 1, 2, 3}, 9);
  const nn::Outputs plain = with_attention({two_rows(1)}),
                    prefixed = with_attention({torch::cat({prefix, two_rows(1)}, 3)}),
                    other = with_attention({torch::zeros({2, 1, 2, 2})});
  EXPECT_FLOAT_EQ(term(batch, prefixed, &other).item<float>(), (7.5f + 4) / 2);
  EXPECT_FLOAT_EQ(term(batch, other, &prefixed).item<float>(), (7.5f + 4) / 2);
  EXPECT_EQ(term(batch, prefixed, &plain).item<float>(), 0);
}

TEST(Attention, ACopyOfTheTeacherHasNone) {
  const data::Batch batch = nn::random_batch({3, 2, 5});
  const std::unique_ptr<nn::Model> twin = nn::build(nn::tiny_bert(HeadKind::none), 1);
  twin->params().refresh(nn::Precision::float32);
  Bound term("attention", twin->config(), twin->config());
  const roles::Needs needs = term.term->needs();
  const nn::Outputs outputs = twin->forward(batch, needs.student, {});
  EXPECT_EQ(term(batch, outputs, &outputs).item<float>(), 0);
}

// TinyBERT's general stage where the student is a copy of the teacher.
TEST(HiddenStates, ACopyOfTheTeacherHasNone) {
  const std::unique_ptr<nn::Model> twin = nn::build(nn::tiny_bert(HeadKind::none), 1);
  twin->params().refresh(nn::Precision::float32);
  Bound term("hidden_states: {layers: even, include_embeddings: true}", twin->config(),
             twin->config());
  const nn::Outputs outputs =
      twin->forward(nn::random_batch({3, 2}), term.term->needs().student, {});
  EXPECT_EQ(term({}, outputs, &outputs).item<float>(), 0);
}

TEST(Attention, KeepsTheScoresOfTheMappedLayersAlone) {
  Bound term("attention: {map: {2: 6}}", bert(3, 2), bert(6, 2));
  EXPECT_EQ(term.term->summary(), "student 2<-6");
  EXPECT_THAT(term.term->needs().student.attention.below(3), ElementsAre(1));
  EXPECT_THAT(term.term->needs().teachers.at("teacher").capture.attention.below(6), ElementsAre(5));
  EXPECT_FALSE(term.term->needs().teachers.at("teacher").logits);
  // TinyBERT's four layers of twelve: attention of the layers 3, 6, 9, 12, counted from 1.
  EXPECT_EQ(Bound("attention", bert(4, 2), bert(12, 2)).term->summary(),
            "student 1<-3, 2<-6, 3<-9, 4<-12");

  EXPECT_EQ(Bound("attention: {layers: even}", bert(4, 2), bert(12, 2)).term->summary(),
            "student 1<-3, 2<-6, 3<-9, 4<-12");
  EXPECT_EQ(Bound("attention: {layers: first}", bert(2, 2), bert(4, 2)).term->summary(),
            "student 1<-1, 2<-2");

  const std::unique_ptr<nn::Model> two = nn::build(nn::tiny_bert(HeadKind::none), 1);
  two->params().refresh(nn::Precision::float32);
  nn::Capture last;
  last.attention.add(two->config().layers - 1);
  const nn::Outputs outputs = two->forward(nn::random_batch({3, 2}), last, {});
  ASSERT_EQ(outputs.attention.size(), static_cast<size_t>(two->config().layers));
  EXPECT_FALSE(outputs.attention.front().defined());
  EXPECT_TRUE(outputs.attention.back().defined());
}

TEST(Attention, RefusesWhatCannotBeCompared) {
  EXPECT_THAT(failure([] { Bound("attention", bert(1, 2), bert(1, 3)); }).message(),
              HasSubstr("the student has 2 heads and the teacher 3"));
  EXPECT_THAT(failure([] { Bound("attention", bert(3, 2), bert(2, 2)); }).message(),
              HasSubstr("needs a teacher at least as deep"));
  EXPECT_THAT(failure([] { Bound("attention: {map: {1: 7}}", bert(1, 2), bert(2, 2)); }).message(),
              HasSubstr("teacher's layer 7"));
  EXPECT_THAT(
      failure([] { Bound("attention: {layers: even}", bert(5, 2), bert(12, 2)); }).message(),
      HasSubstr("a multiple of the student's layers, but the student has 5 and the teacher 12"));
  EXPECT_THROW(made("attention: {map: {0: 1}, layers: x}"), Error);
  EXPECT_THROW(Bound("attention", bert(1, 2)), Error);  // no teacher
}

}  // namespace
}  // namespace compress::objective
