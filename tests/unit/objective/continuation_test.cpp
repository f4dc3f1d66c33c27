// Continuation-KD's term by hand.

#include "compress/base/strings.h"
#include "support.h"

namespace compress::objective {
namespace {

using testing::HasSubstr;
using torch::Tensor;

// A term bound to a stage of `epochs` epochs of ten updates.
std::unique_ptr<Objective> bound(const std::string& text, int64_t epochs) {
  static const nn::ModelConfig config = model(HeadKind::classification, 2);
  static nn::ParamTable weights, helpers;
  auto term = made(text);
  term->bind({.student = config,
              .weights = weights,
              .helpers = helpers,
              .teachers = {{"teacher", &config}},
              .length = {10 * epochs, 10}});
  return term;
}

nn::Outputs logits(const Tensor& values) {
  nn::Outputs outputs;
  outputs.logits = values;
  return outputs;
}

Tensor value(Objective& term, const Tensor& student, const Tensor& teacher, int64_t epoch,
             int64_t epochs) {
  const nn::Outputs ours = logits(student), theirs = logits(teacher);
  return mean(term.compute({{}, ours, &theirs, {10 * (epoch - 1), 10 * epochs, 10}}), {});
}

// phi of epochs 1, 2, 3 of 30 is 0.1, 0.1, 0.2; the last four have 1, where the published loop
// would go beyond.
TEST(Continuation, PhiFollowsTheEpochs) {
  auto term = bound("continuation: {t_max: 10}", 30);
  const Tensor zero = torch::zeros({1, 2}), teacher = torch::tensor({{1.0f, 0.0f}});
  auto phi = [&](int64_t epoch) {
    return std::sqrt(value(*term, zero, teacher, epoch, 30).item<double>());
  };
  const std::vector<std::pair<int64_t, double>> expected = {{1, 0.1}, {2, 0.1},  {3, 0.2}, {5, 0.2},
                                                            {6, 0.3}, {26, 0.9}, {27, 1},  {30, 1}};
  for (const auto& [epoch, wanted] : expected) EXPECT_NEAR(phi(epoch), wanted, 1e-6) << epoch;
}

// z_S = (1, 0), z_T = (2, 0): nothing at phi = 0.5; 1 - 0.4 (sum) or 0.5 - 0.4 (mean) at phi = 1.
TEST(Continuation, ByHand) {
  const Tensor student = torch::tensor({{1.0f, 0.0f}}), teacher = torch::tensor({{2.0f, 0.0f}});
  auto at = [&](const char* text) {
    return value(*bound(text, 1), student, teacher, 1, 1).item<double>();
  };
  EXPECT_NEAR(at("continuation: {scale: 0.5}"), 0, 1e-6);
  EXPECT_NEAR(at("continuation: {scale: 1, margin: 0.4}"), 0.6, 1e-6);
  EXPECT_NEAR(at("continuation: {scale: 1, margin: 0.4, reduction: mean}"), 0.1, 1e-6);
  EXPECT_NEAR(at("continuation: {scale: 1}"), 1, 1e-6);
}

// The published GLUE setting as ramps of a recipe: psi = i / 40 for epochs i <= 20, then 1.
TEST(Continuation, PsiFollowsTheEpochs) {
  std::string psi, rest;
  for (int i = 1; i <= 20; ++i) {
    const std::string point = str(i == 1 ? "" : ", ", i - 1, " epochs: ");
    psi += str(point, i / 40.0);
    rest += str(point, 1 - i / 40.0);
  }
  const auto labels = made("labels: {weight: {table: {" + psi + ", 20 epochs: 1}}}");
  const auto distance = made("continuation: {weight: {table: {" + rest + ", 20 epochs: 0}}}");
  auto at = [&](int64_t epoch) {
    const Progress progress{10 * (epoch - 1), 300, 10};
    EXPECT_NEAR(labels->weight().at(progress) + distance->weight().at(progress), 1, 1e-6);
    return labels->weight().at(progress);
  };
  EXPECT_NEAR(at(1), 0.025, 1e-6);
  EXPECT_NEAR(at(10), 0.25, 1e-6);
  EXPECT_NEAR(at(20), 0.5, 1e-6);
  EXPECT_NEAR(at(21), 1, 1e-6);
  EXPECT_NEAR(at(30), 1, 1e-6);
}

// Its two limits. Without a margin, and with labels that take over at once, it is Annealing-KD:
// the squared distance to phi z_T, then labels alone. At phi = 1 throughout it is the distance to
// the logits, to which vanilla KD comes at a high temperature: T^2 KL -> |z_S - z_T|^2 / (2 C), of
// logits without a common part (Hinton et al. 2015, section 2.1).
TEST(Continuation, AnnealingAndVanillaDistillationAreItsLimits) {
  const nn::ModelConfig config = model(HeadKind::classification, 2);
  const Tensor student = torch::tensor({{1.0f, -1.0f}, {0.5f, -0.5f}}),
               teacher = torch::tensor({{2.0f, -2.0f}, {-1.0f, 1.0f}});
  const nn::Outputs ours = logits(student), theirs = logits(teacher);
  data::Batch batch;
  batch.targets.distribution = torch::tensor({{1.0f, 0.0f}, {0.0f, 1.0f}});
  auto first = bound("continuation: {t_max: 3, weight: {table: {0 epochs: 1, 3 epochs: 0}}}", 4);
  auto second = bound("labels: {weight: {table: {0 epochs: 0, 3 epochs: 1}}}", 4);
  auto loss = [&](int64_t epoch) {
    const Progress progress{10 * (epoch - 1), 40, 10};
    const Signals signals{batch, ours, &theirs, progress};
    return first->weight().at(progress) * mean(first->compute(signals), batch).item<double>() +
           second->weight().at(progress) * mean(second->compute(signals), batch).item<double>();
  };
  // Of T_max = 3 and k = 1: phi = 2/3 in epoch 1, 1 in epochs 2 and 3, by hand in thirds.
  EXPECT_NEAR(loss(1), (2 / 9.0 + 2 * 49 / 36.0) / 2, 1e-5);
  EXPECT_NEAR(loss(2), (2 + 2 * 2.25) / 2, 1e-5);
  EXPECT_NEAR(loss(3), (2 + 2 * 2.25) / 2, 1e-5);
  EXPECT_NEAR(loss(4), (std::log1p(std::exp(-2.0)) + std::log1p(std::exp(1.0))) / 2, 1e-5);

  const double limit =
      Bound("continuation: {scale: 1}", config, config)(batch, ours, &theirs).item<double>();
  EXPECT_NEAR(
      Bound("logits_mse: {reduction: sum}", config, config)(batch, ours, &theirs).item<double>(),
      limit, 1e-6);
  auto softened = [&](const char* text) {
    return Bound(text, config, config)(batch, ours, &theirs).item<double>() * 2 * 2;
  };
  EXPECT_NEAR(softened("soft_labels: {temperature: 20}"), limit, 0.02);
  EXPECT_GT(std::abs(softened("soft_labels: {temperature: 1}") - limit), 0.1);
}

// Scores: the squared error of the label takes cross-entropy's place, the distance is that of one
// number. z_S = 1, z_T = 3, y = 2: (1 - 0.5 * 3)^2 - 0.4 * 0.5 = 0.05, and (1 - 2)^2 = 1.
TEST(Continuation, OfScoresTheLabelsTermIsTheSquaredError) {
  const nn::ModelConfig config = model(HeadKind::regression, 1);
  const nn::Outputs ours = logits(torch::tensor({{1.0f}})),
                    theirs = logits(torch::tensor({{3.0f}}));
  data::Batch batch;
  batch.targets.values = torch::tensor({2.0f});
  for (const char* reduction : {"sum", "mean"}) {
    const std::string text =
        str("continuation: {scale: 0.5, margin: 0.4, reduction: ", reduction, "}");
    EXPECT_NEAR(Bound(text, config, config)(batch, ours, &theirs).item<double>(), 0.05, 1e-6);
  }
  EXPECT_NEAR(Bound("labels", config)(batch, ours).item<double>(), 1, 1e-6);
}

TEST(Continuation, InsideTheMarginThereIsNoGradient) {
  Tensor student = torch::tensor({{1.0f, 0.0f}, {0.0f, 0.0f}}).requires_grad_(true);
  const Tensor teacher = torch::tensor({{1.5f, 0.0f}, {2.0f, 0.0f}});
  auto term = bound("continuation: {scale: 1, margin: 1}", 1);
  const Tensor loss = value(*term, student, teacher, 1, 1);
  EXPECT_NEAR(loss.item<double>(), (0 + 3) / 2.0, 1e-6);
  loss.backward();
  EXPECT_TRUE(torch::allclose(student.grad(), torch::tensor({{0.0f, 0.0f}, {-2.0f, 0.0f}})));
}

// The batch's mean distance, (0.25 + 4) / 2, less the margin.
TEST(Continuation, AHingeOnTheBatch) {
  Tensor student = torch::tensor({{1.0f, 0.0f}, {0.0f, 0.0f}}).requires_grad_(true);
  const Tensor teacher = torch::tensor({{1.5f, 0.0f}, {2.0f, 0.0f}});
  auto term = bound("continuation: {scale: 1, margin: 1, hinge: batch}", 1);
  EXPECT_TRUE(term->whole_batch());
  const Tensor loss = value(*term, student, teacher, 1, 1);
  EXPECT_NEAR(loss.item<double>(), 4.25 / 2 - 1, 1e-6);
  loss.backward();
  EXPECT_TRUE(torch::allclose(student.grad(), torch::tensor({{-0.5f, 0.0f}, {-2.0f, 0.0f}})));
}

TEST(Continuation, WhatDoesNotFitIsRefused) {
  EXPECT_THAT(failure([&] { bound("continuation: {t_max: 10}", 9); }).message(),
              HasSubstr("the stage has 9 epochs"));
  EXPECT_NO_THROW(bound("continuation: {t_max: 10, scale: {from: 0, to: 1}}", 9));
  EXPECT_THAT(failure([&] { made("continuation: {margin: -1}"); }).message(),
              HasSubstr("'margin' must be at least 0"));
  EXPECT_EQ(bound("continuation", 30)->summary(), "phi from 0.1000 to 1 in steps of 0.1000");
}

}  // namespace
}  // namespace compress::objective
