// Continuation-KD's term by hand.

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
              .length = {0, 10 * epochs, 10}});
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
