#include <gmock/gmock.h>

#include <cmath>
#include <iostream>

#include "../../../src/optim/mover/ascent_weights.h"
#include "helpers.h"

namespace compress::optim {
namespace {

using testing::HasSubstr;
using torch::Tensor;

// Rows with losses (h_i / 2) |w - c_i|^2: every pass is computed by hand.
class Quadratics final : public Passes {
 public:
  // Of the rows, `parts` make the update one after the other.
  Quadratics(nn::Parameter& w, Tensor h, Tensor c, int64_t parts = 1)
      : w_(w), h_(std::move(h)), c_(std::move(c)), parts_(parts) {}

  Tensor pass(const Ask& ask) override {
    asked.push_back(ask);
    places.push_back(w_.latent.detach().clone());
    const int64_t all = h_.size(0), count = ask.part < 0 ? all : all / parts_,
                  first = std::max<int64_t>(ask.part, 0) * count;
    const Tensor h = h_.narrow(0, first, count), c = c_.narrow(0, first, count);
    const Tensor away = w_.latent.detach() - c;  // [rows, n]
    if (ask.gradient) {
      Tensor each = h.unsqueeze(1) * away;
      if (ask.weights.defined()) each = each * ask.weights.unsqueeze(1);
      w_.latent.mutable_grad() = each.sum(0, /*keepdim=*/true) / all;
    }
    return ask.rows ? h / 2 * away.square().sum(1) : Tensor();
  }
  int64_t parts() const override { return parts_; }
  void clear_gradients() override { w_.latent.mutable_grad().reset(); }
  void weights_moved() override {}
  void weights_restored() override {}

  std::vector<Ask> asked;
  std::vector<Tensor> places;

 private:
  nn::Parameter& w_;
  Tensor h_, c_;
  int64_t parts_;
};

struct Rows {
  nn::ParamTable table;
  nn::Parameter& w =
      table.add("w.weight", nn::Role::query, 0, torch::tensor({{0.5f, -1.0f, 2.0f}}));
  Tensor h = torch::tensor({1.0f, 4.0f}),
         c = torch::tensor({{1.0f, 0.0f, 0.0f}, {0.0f, 1.0f, -1.0f}});

  Quadratics run(const std::string& text, int64_t step = 0, int64_t parts = 1) {
    auto mover = made(movers(), text);
    bind(*mover, table);
    Quadratics passes(w, h, c, parts);
    const Tensor before = w.latent.detach().clone();
    mover->gradients({step, 100, 10}, passes);
    EXPECT_TRUE(torch::equal(w.latent.detach(), before)) << "weights are put back to the bit";
    return passes;
  }
};

TEST(DeltaSam, UniformWeightsAreSam) {
  Rows one, two;
  const Quadratics ours = one.run("delta_sam: {rho: 0.3, weighting: uniform}"),
                   sam = two.run("sam: {rho: 0.3}");
  ASSERT_EQ(ours.places.size(), 2u);
  EXPECT_TRUE(torch::equal(ours.places[1], sam.places[1]));
  EXPECT_TRUE(torch::equal(one.w.latent.grad(), two.w.latent.grad()));
}

TEST(DeltaSam, CurvatureWeighsRowsByTheirSecondDifference) {
  Rows rows;
  const Quadratics passes = rows.run("delta_sam: {rho: 0.3, sigma: 0.05}");
  // At w, ahead, behind, the weighted pass, the one at w + eps.
  ASSERT_EQ(passes.asked.size(), 5u);
  for (int i : {0, 1, 2}) {
    EXPECT_FALSE(passes.asked[i].gradient);
    EXPECT_TRUE(passes.asked[i].rows);
  }
  const Tensor start = rows.w.latent.detach(), d = passes.places[1] - start;
  EXPECT_LT(furthest(passes.places[2], start - d), 1e-6);
  // A quadratic's second difference is h_i |d|^2, whatever c_i is: the weights are as 1 to 4, of
  // mean 1.
  EXPECT_TRUE(torch::allclose(passes.asked[3].weights, torch::tensor({0.4f, 1.6f}), 2e-3));
  // The ascent of length rho along the weighted gradient.
  const Tensor g = (passes.asked[3].weights * rows.h).unsqueeze(1) * (start - rows.c);
  const Tensor mean = g.mean(0, true), eps = passes.places[4] - start;
  EXPECT_LT(furthest(eps, 0.3 * mean / mean.norm()), 1e-5);
  EXPECT_FALSE(passes.asked[4].weights.defined()) << "the update's own gradient is unweighted";
}

TEST(DeltaSam, SlopeDividesTheCurvature) {
  Rows rows;
  const Quadratics passes =
      rows.run("delta_sam: {sigma: 0.01, weighting: curvature_over_slope, renormalise: false}");
  const Tensor start = rows.w.latent.detach(), d = passes.places[1] - start;
  // l(w + d) - l(w - d) = 2 h d.(w - c)
  const Tensor slope =
      (rows.h * (d * (start - rows.c)).sum(1)).abs() * 2 * (std::sqrt(M_PI / 2) / (2 * 0.01));
  const Tensor curvature = rows.h * d.square().sum() / (0.01 * 0.01);
  const Tensor wanted = curvature / slope / curvature.mean();
  EXPECT_TRUE(torch::allclose(passes.asked[3].weights, wanted, 2e-2));
  // rho times the weighted gradient, without a norm.
  const Tensor g =
      ((passes.asked[3].weights * rows.h).unsqueeze(1) * (start - rows.c)).mean(0, true);
  EXPECT_LT(furthest(passes.places[4] - start, 0.05 * g), 1e-6);
}

// With h_i I as every row's Hessian and true slopes, rho sum_i h_i g_i / |g_i| / sum_i h_i gives
// the mean of the rows' own sharpness-aware gradients. One probe's slope is a guess of |g_i|; in
// the mean over many it is |g_i| itself.
TEST(DeltaSam, ManyProbesGiveThePerRowGradient) {
  Rows rows;
  rows.run(
      "delta_sam: {rho: 0.1, sigma: 0.01, probes: 64, weighting: curvature_over_slope, "
      "renormalise: false, clip: 100}");
  const Tensor start = rows.w.latent.detach();
  const Tensor g = rows.h.unsqueeze(1) * (start - rows.c);
  const Tensor per_row = rows.h.unsqueeze(1) * (start + 0.1 * g / g.norm(2, {1}, true) - rows.c);
  const double error = furthest(rows.w.latent.grad(), per_row.mean(0, true)),
               unperturbed = furthest(g.mean(0, true), per_row.mean(0, true));
  EXPECT_LT(error, 0.25 * unperturbed);
}

// Rows with losses (w - c_i)^T H_i (w - c_i) / 2 at w = 0 in 20 dimensions, 8 of them.
struct Bowls {
  Tensor hessians, gradients, slopes;  // [8, 20, 20], [8, 20], [8]
  explicit Bowls(bool isotropic) {
    const auto type = torch::TensorOptions().dtype(torch::kFloat64);
    if (isotropic) {
      hessians = torch::eye(20, type).unsqueeze(0) * torch::rand({8, 1, 1}, type);
    } else {
      const Tensor a = torch::randn({8, 20, 20}, type);
      hessians = a.matmul(a.transpose(1, 2)) / 20;
    }
    gradients = -hessians.matmul(torch::randn({8, 20, 1}, type)).squeeze(2);
    slopes = gradients.norm(2, {1});
  }
  Tensor curvature() const { return hessians.diagonal(0, 1, 2).sum(1); }
  Tensor units() const { return gradients / slopes.unsqueeze(1); }
  // |change of the shared gradient - mean of the rows' own| / |that mean|, rho = 1: what is left of
  // the error that no perturbation at all makes.
  double error(const Tensor& eps) const {
    const Tensor own = hessians.matmul(units().unsqueeze(2)).squeeze(2).mean(0);
    return ((hessians.mean(0).matmul(eps) - own).norm() / own.norm()).item<double>();
  }
  Tensor weighted(const Tensor& slope, bool renormalise = false) const {
    const Tensor v = ascent_weights(curvature(), slope, 1e9, renormalise, nullptr);
    return (v.unsqueeze(1) * gradients).mean(0);
  }
};

// With h_i I as every row's Hessian and true slopes, v_i ~ h_i / |g_i| without a length of its own
// gives the mean of the rows' own sharpness-aware gradients; with other Hessians it does hardly
// better than SAM. What each rule leaves of the error that no perturbation makes, over 60 draws.
TEST(DeltaSam, ErrorToThePerRowGradient) {
  torch::manual_seed(5);
  for (bool isotropic : {true, false}) {
    double rule = 0, uniform = 0, sam = 0;
    for (int draw = 0; draw < 60; ++draw) {
      const Bowls bowls(isotropic);
      rule += bowls.error(bowls.weighted(bowls.slopes)) / 60;
      uniform += bowls.error(bowls.units().mean(0)) / 60;
      const Tensor g = bowls.gradients.mean(0);
      sam += bowls.error(g / g.norm()) / 60;
    }
    std::cout << (isotropic ? "isotropic" : "positive semi-definite") << ": curvature over slope "
              << rule << ", uniform " << uniform << ", SAM " << sam << "\n";
    if (isotropic) {
      EXPECT_LT(rule, 1e-5);
      EXPECT_GT(uniform, 0.2);
      EXPECT_GT(sam, 0.8);
    } else {
      EXPECT_GT(rule, 0.3);
      EXPECT_LT(rule, uniform);
      EXPECT_NEAR(rule, sam, 0.2);
    }
  }
}

TEST(DeltaSam, WeightsByHand) {
  const Tensor c = torch::tensor({1.0, 3.0, 8.0}), s = torch::tensor({1.0, 1.0, 2.0});
  auto expect = [](const Tensor& found, const Tensor& wanted) {
    EXPECT_LT(furthest(found, wanted), 1e-6) << found;
  };
  expect(ascent_weights(c, {}, 10, true, nullptr), torch::tensor({0.25, 0.75, 2.0}));
  // c / s = 1, 3, 4: divided by their mean 8 / 3, or by the mean of c, 4.
  expect(ascent_weights(c, s, 10, true, nullptr), torch::tensor({0.375, 1.125, 1.5}));
  expect(ascent_weights(c, s, 10, false, nullptr), torch::tensor({0.25, 0.75, 1.0}));
  // At most 1.25 times the mean 4.
  expect(ascent_weights(c, {}, 1.25, true, nullptr), torch::tensor({0.25, 0.75, 1.25}));
  expect(ascent_weights(c * 0, s, 10, false, nullptr), torch::ones({3}));
}

// Each micro-batch weighs, perturbs and puts back for itself, along directions of its own, and the
// perturbed gradients add up.
TEST(DeltaSam, PartsPerturbForThemselves) {
  Rows rows;
  const Quadratics passes =
      rows.run("delta_sam: {rho: 0.3, sigma: 0.05, accumulation: per_micro_batch}", 0, 2);
  ASSERT_EQ(passes.asked.size(), 10u);
  const Tensor start = rows.w.latent.detach();
  Tensor sum = torch::zeros_like(start);
  for (int part : {0, 1}) {
    for (int i = 0; i < 5; ++i) EXPECT_EQ(passes.asked[5 * part + i].part, part);
    EXPECT_TRUE(torch::equal(passes.places[5 * part], start));
    // One row has the mean weight: the ascent is along its own gradient.
    const Tensor g = rows.h[part] * (start - rows.c[part]);
    EXPECT_LT(furthest(passes.places[5 * part + 4] - start, 0.3 * g / g.norm()), 1e-5);
    sum += rows.h[part] * (passes.places[5 * part + 4] - rows.c[part]) / 2;
  }
  EXPECT_LT(furthest(rows.w.latent.grad(), sum), 1e-6);
  EXPECT_FALSE(torch::allclose(passes.places[1], passes.places[6]));
}

TEST(DeltaSam, AProcessMayLookAtItsOwnRows) {
  Rows one, two;
  const Quadratics shared = one.run("delta_sam"),
                   own = two.run("delta_sam: {processes: per_process}");
  EXPECT_TRUE(shared.asked[3].shared);
  EXPECT_FALSE(own.asked[3].shared);
  EXPECT_TRUE(own.asked[4].shared) << "the update's gradient is that of all";
}

TEST(DeltaSam, DrawsAreAFunctionOfTheStep) {
  Rows rows;
  const Tensor first = rows.run("delta_sam", 3).places[1],
               again = rows.run("delta_sam", 3).places[1],
               other = rows.run("delta_sam", 4).places[1];
  EXPECT_TRUE(torch::equal(first, again));
  EXPECT_FALSE(torch::equal(first, other));
}

TEST(DeltaSam, Options) {
  EXPECT_THAT(made(movers(), "delta_sam")->unrecordable(), HasSubstr("weighed anew"));
  EXPECT_TRUE(made(movers(), "delta_sam")->repeats());
  for (const char* text : {"delta_sam: {sigma: 0}", "delta_sam: {weighting: some}",
                           "delta_sam: {clip: 0.5}", "delta_sam: {probes: 0}"})
    EXPECT_EQ(failure([&] { made(movers(), text); }).kind(), ErrorKind::recipe) << text;
  // A probe below the spacing of bf16 is refused as a perturbation is.
  nn::ParamTable table;
  table.add("w.weight", nn::Role::query, 0, torch::full({100, 100}, 0.05)).castable = true;
  auto mover = made(movers(), "delta_sam: {rho: 1, sigma: 0.00001}");
  EXPECT_THAT(failure([&] { bind(*mover, table, {}, nn::Precision::bf16); }).message(),
              HasSubstr("sigma 1e-05 moves"));
}

}  // namespace
}  // namespace compress::optim
