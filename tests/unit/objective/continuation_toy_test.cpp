// Continuation-KD's toy: a noisy sine, 3,000 points, a student of two layers of 128. The teacher
// has both frequencies of the curve; the student learns the low one. Kept numbers, in float64.

#include <cmath>
#include <numbers>

#include "compress/base/strings.h"
#include "support.h"

namespace compress::objective {
namespace {

using torch::Tensor;

constexpr int64_t points = 3000, batch_size = 300, epochs = 30;

struct Curve {
  Tensor x, low, high, taught, labels;
  Curve() {
    x = torch::arange(points, torch::kDouble).div_(points).unsqueeze(1);
    low = (x * (2 * std::numbers::pi)).sin();
    high = (x * (20 * std::numbers::pi)).sin();
    taught = low + 0.4 * high;
    torch::manual_seed(5);
    labels = taught + 0.2 * torch::randn({points, 1}, torch::kDouble);
  }
};

// A network of two hidden layers with tanh, drawn from a fixed seed.
struct Student {
  std::vector<Tensor> weights;
  Student() {
    torch::manual_seed(6);
    for (auto [in, out] : {std::pair(1, 128), std::pair(128, 128), std::pair(128, 1)}) {
      weights.push_back(torch::randn({in, out}, torch::kDouble).div_(std::sqrt(in)));
      weights.push_back(torch::zeros({out}, torch::kDouble));
    }
    for (Tensor& weight : weights) weight.requires_grad_(true);
  }
  Tensor operator()(const Tensor& x) const {
    const Tensor first = (torch::mm(2 * x - 1, weights[0]) + weights[1]).tanh();
    const Tensor second = (torch::mm(first, weights[2]) + weights[3]).tanh();
    return torch::mm(second, weights[4]) + weights[5];
  }
};

// How much of each frequency the student says after training on the terms.
struct Said {
  double low, high, error;  // error: mean square to the curve without noise
};

Said taught(const std::vector<std::string>& terms) {
  const Curve curve;
  const Student student;
  const nn::ModelConfig config = model(HeadKind::regression, 1);
  nn::ParamTable weights, helpers;
  constexpr int64_t each = points / batch_size;
  std::vector<std::unique_ptr<Objective>> bound;
  for (const std::string& text : terms) {
    bound.push_back(made(text));
    bound.back()->bind({.student = config,
                        .weights = weights,
                        .helpers = helpers,
                        .teachers = {{"teacher", &config}},
                        .length = {epochs * each, each}});
  }
  std::vector<Tensor> velocity;
  for (const Tensor& weight : student.weights) velocity.push_back(torch::zeros_like(weight));
  for (int64_t step = 0; step < epochs * each; ++step) {
    const Progress progress{step, epochs * each, each};
    // Every tenth point, from another one in each update.
    const Tensor rows = torch::arange(step % each, points, each);
    nn::Outputs ours, theirs;
    ours.logits = student(curve.x.index_select(0, rows));
    theirs.logits = curve.taught.index_select(0, rows);
    data::Batch batch;
    batch.targets.values = curve.labels.index_select(0, rows).squeeze(1);
    Tensor loss = torch::zeros({}, torch::kDouble);
    for (const auto& term : bound)
      loss = loss + term->weight().at(progress) *
                        mean(term->compute({batch, ours, &theirs, progress}), batch);
    const auto gradients = torch::autograd::grad({loss}, student.weights);
    torch::NoGradGuard no_grad;
    for (size_t i = 0; i < velocity.size(); ++i) {
      velocity[i].mul_(0.9).add_(gradients[i]);
      student.weights[i].sub_(velocity[i], 0.01);
    }
  }
  torch::NoGradGuard no_grad;
  const Tensor all = student(curve.x);
  auto part = [&](const Tensor& wave) { return 2 * (all * wave).mean().item<double>(); };
  return {part(curve.low), part(curve.high), (all - curve.taught).square().mean().item<double>()};
}

TEST(ContinuationToy, TheStudentLearnsTheLowFrequency) {
  std::string psi, rest;
  for (int i = 1; i <= 20; ++i) {
    psi += str(i - 1, " epochs: ", i / 40.0, ", ");
    rest += str(i - 1, " epochs: ", 1 - i / 40.0, ", ");
  }
  const Said continuation =
      taught({"continuation: {margin: 0.1, weight: {table: {" + rest + "20 epochs: 0}}}",
              "labels: {weight: {table: {" + psi + "20 epochs: 1}}}"});
  // Its first stage has two thirds of the epochs: T falls every second one.
  std::string phi;
  for (int i = 0; i < 10; ++i) phi += str(i == 0 ? "" : ", ", 2 * i, " epochs: ", (i + 1) / 10.0);
  const Said annealing = taught({"continuation: {scale: {table: {" + phi +
                                     "}}, weight: {table: {0 epochs: 1, 20 epochs: 0}}}",
                                 "labels: {weight: {table: {0 epochs: 0, 20 epochs: 1}}}"});
  const Said vanilla = taught({"logits_mse: {weight: 0.5}", "labels: {weight: 0.5}"});
  const auto expect = [](const Said& said, const Said& wanted) {
    EXPECT_GT(said.low, 0.8);
    EXPECT_LT(std::abs(said.high), 0.1) << "of 0.4";
    EXPECT_NEAR(said.low, wanted.low, 1e-6);
    EXPECT_NEAR(said.high, wanted.high, 1e-6);
    EXPECT_NEAR(said.error, wanted.error, 1e-6);
  };
  expect(continuation, {0.972321386, 0.017686906, 0.082207863});
  expect(annealing, {0.974005810, 0.017279400, 0.081875129});
  expect(vanilla, {0.967375576, 0.015444471, 0.081134491});
}

}  // namespace
}  // namespace compress::objective
