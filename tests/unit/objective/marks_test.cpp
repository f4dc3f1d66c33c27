// Terms over some of the labelled tokens.

#include "support.h"
#include "unit/nn/support.h"

namespace compress::objective {
namespace {

using testing::HasSubstr;
using torch::Tensor;

// Rows of two tokens, one and three; labels at tokens 0, 3 and 5, of which the last two are of an
// answer.
data::Batch three_rows() {
  data::Batch batch = nn::random_batch({2, 1, 3});
  batch.targets.token_labels = torch::tensor({1, -100, -100, 1, -100, 0});
  batch.targets.labelled = {0, 3, 5};
  batch.targets.token_index = torch::tensor({0, 3, 5});
  batch.targets.marks = {{data::answer_mark, torch::tensor({0.0f, 1.0f, 1.0f}), 2}};
  return batch;
}

// A student that gives these logits at the batch's labelled tokens.
Tensor loss_of(const std::string& term, const data::Batch& batch, const Tensor& logits,
               const Tensor& teacher_logits, HeadKind head = HeadKind::causal_lm) {
  const nn::ModelConfig config = model(head);
  const std::unique_ptr<Objective> objective = made(term);
  nn::ParamTable helpers;
  bind(*objective, config, &config, helpers, 1);
  nn::Outputs student, teacher;
  student.token_index = teacher.token_index = batch.targets.token_index;
  student.token_logits = logits;
  teacher.token_logits = teacher_logits;
  return objective->compute({batch, student, &teacher, {}, nullptr}).share(batch);
}

TEST(Marks, TheMeanIsOverTheMarksTokens) {
  const data::Batch batch = three_rows();
  const Tensor z = torch::randn({3, 5}).requires_grad_(true), t = torch::randn({3, 5});
  const Tensor log_p = at::log_softmax(z, 1);
  const Tensor expected = -(log_p[1][1] + log_p[2][0]) / 2;
  const Tensor loss = loss_of("labels: {tokens: answer}", batch, z, t);
  EXPECT_NEAR(loss.item<double>(), expected.item<double>(), 1e-6);
  loss.backward();
  const Tensor p = log_p.detach().exp();
  Tensor gradient = p / 2;
  gradient[0] = 0;
  gradient[1][1] -= 0.5;
  gradient[2][0] -= 0.5;
  EXPECT_TRUE(torch::allclose(z.grad(), gradient, 1e-5, 1e-6));
  const Tensor kl = (at::softmax(t, 1) * (at::log_softmax(t, 1) - log_p)).sum(1);
  EXPECT_NEAR(loss_of("soft_labels: {tokens: answer}", batch, z.detach(), t).item<double>(),
              (kl[1] + kl[2]).item<double>() / 2, 1e-6);
  EXPECT_NEAR(loss_of("soft_labels: {}", batch, z.detach(), t).item<double>(),
              kl.mean().item<double>(), 1e-6);
}

// Prune Once for All, arXiv 2111.05754: z_T = [2, 0] against z_S = [0, 0] at T = 2 is 0.443776 of
// every token, masked or not; the cross-entropy is of the masked ones alone.
TEST(Marks, SoftLabelsOfAllTokensBesideLabelsOfTheMaskedOnes) {
  data::Batch batch = nn::random_batch({2, 1});
  batch.targets.token_labels = torch::tensor({1, 0, 1});
  batch.targets.labelled = {0, 1, 2};
  batch.targets.token_index = torch::arange(3);
  batch.targets.marks = {{"masked", torch::tensor({0.0f, 1.0f, 0.0f}), 1}};
  const Tensor t = torch::tensor({{2.0f, 0.0f}, {0.0f, 0.0f}, {2.0f, 0.0f}}),
               z = torch::tensor({{0.0f, 0.0f}, {3.0f, 1.0f}, {0.0f, 0.0f}});
  auto loss = [&](const std::string& term, const Tensor& student, const Tensor& teacher) {
    return loss_of(term, batch, student, teacher, HeadKind::masked_lm);
  };
  const Tensor same = torch::zeros({3, 2});
  EXPECT_NEAR(
      loss("soft_labels: {temperature: 2}", same, torch::tensor({{2.0f, 0.0f}}).repeat({3, 1}))
          .item<double>(),
      0.443776, 1e-5);
  EXPECT_NEAR(loss("soft_labels: {temperature: 2}", same, t).item<double>(), 0.443776 * 2 / 3,
              1e-5);
  Tensor trained = z.clone().requires_grad_(true);
  const Tensor ce = loss("labels: {tokens: masked}", trained, t);
  EXPECT_NEAR(ce.item<double>(), std::log1p(std::exp(-2.0)), 1e-6);
  ce.backward();
  const double p = 1 / (1 + std::exp(-2.0));
  const auto slope = static_cast<float>(p - 1);
  EXPECT_TRUE(torch::allclose(
      trained.grad(), torch::tensor({{0.0f, 0.0f}, {slope, -slope}, {0.0f, 0.0f}}), 1e-5, 1e-6));
}

TEST(Marks, PartsAddUpToTheWhole) {
  data::Batch batch = three_rows();
  batch.targets.weights = torch::tensor({1.0f, 5.0f, 2.0f});
  const Tensor z = torch::randn({3, 5}), t = torch::randn({3, 5});
  for (const char* term : {"labels: {tokens: answer}", "soft_labels: {tokens: answer}"}) {
    double sum = 0;
    for (const auto& [begin, end, from, to] : {std::tuple{0, 1, 0, 1}, std::tuple{1, 3, 1, 3}}) {
      const data::Batch part = data::slice(batch, begin, end);
      EXPECT_EQ(part.targets.marks[0].update, 2);
      sum += loss_of(term, part, z.slice(0, from, to), t.slice(0, from, to)).item<double>();
    }
    EXPECT_NEAR(sum, loss_of(term, batch, z, t).item<double>(), 1e-6) << term;
  }
}

TEST(Marks, AreRefusedWhereThereAreNone) {
  data::Batch batch = three_rows();
  batch.targets.marks.clear();
  EXPECT_THAT(
      failure([&] {
        loss_of("labels: {tokens: answer}", batch, torch::zeros({3, 5}), torch::zeros({3, 5}));
      }).message(),
      HasSubstr("no tokens with the mark 'answer'"));
  const std::unique_ptr<Objective> objective = made("labels: {tokens: answer}");
  EXPECT_EQ(objective->needs().mark, "answer");
  EXPECT_NE(objective->unrecordable(), "");
  EXPECT_EQ(made("labels: {}")->unrecordable(), "");
  nn::ParamTable helpers;
  EXPECT_THAT(failure([&] {
                bind(*objective, model(HeadKind::classification), nullptr, helpers, 1);
              }).message(),
              HasSubstr("are not of tokens"));
}

}  // namespace
}  // namespace compress::objective
