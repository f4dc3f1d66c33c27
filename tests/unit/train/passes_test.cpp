// What a mover's passes over the same rows share, and what is cut of the gradients that they leave.

#include <gtest/gtest.h>

#include "unit/train/stage.h"

namespace compress::train {
namespace {

// How far one update moves all weights together.
Tensor change(const std::string& more) {
  Bench bench(
      "for: 1 step\nobjectives: [labels: {}]\noptimizer: {sgd: {lr: 0.1, momentum: 0}}\n"
      "schedule: constant\n" +
      more);
  const nn::TensorMap before = bench.weights();
  run(bench.job);
  std::vector<Tensor> parts;
  for (const auto& [name, value] : bench.weights())
    parts.push_back((value - before.at(name)).flatten());
  return torch::cat(parts);
}

double alike(const Tensor& a, const Tensor& b) {
  return at::cosine_similarity(a, b, 0).item<double>();
}

// An ascent whose length is the gradient's own tells whether that gradient was cut.
TEST(Passes, WhatIsClippedIsTheUpdateAlone) {
  const std::string ascent =
      "sharpness: {delta_sam: {rho: 0.5, weighting: uniform, renormalise: false}}\n";
  const Tensor whole = change(ascent + "clip: 0\n"), cut = change(ascent + "clip: 0.1\n"),
               plain = change("clip: 0\n");
  ASSERT_GT(whole.norm().item<double>(), 0.02);
  EXPECT_NEAR(cut.norm().item<double>(), 0.1 * 0.1, 1e-5);
  EXPECT_GT(alike(whole, cut), 0.9999);
  EXPECT_LT(alike(whole, plain), 0.999);
}

// A perturbation of next to nothing leaves the plain step only where the second pass has the first
// one's noise.
TEST(Passes, ASecondPassHasTheSameNoise) {
  const std::string noise = "augment: [hidden_noise: {sigma: 0.5, where: both}]\n";
  const Tensor once = change(noise), twice = change(noise + "sharpness: {sam: {rho: 1e-6}}\n"),
               parts = change(noise + "accumulate: 2\nsharpness: {sam: {rho: 1e-6}}\n"),
               without = change("augment: [hidden_noise: {sigma: 0}]\n");
  EXPECT_GT(alike(once, twice), 0.9999);
  EXPECT_GT(alike(once, parts), 0.9999);
  EXPECT_LT(alike(once, without), 0.999);
}

}  // namespace
}  // namespace compress::train
