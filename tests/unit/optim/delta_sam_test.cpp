#include <gmock/gmock.h>

#include <cmath>

#include "helpers.h"

namespace compress::optim {
namespace {

using testing::HasSubstr;
using torch::Tensor;

// Rows with losses (h_i / 2) |w - c_i|^2: every pass is computed by hand.
class Quadratics final : public Passes {
 public:
  Quadratics(nn::Parameter& w, Tensor h, Tensor c) : w_(w), h_(std::move(h)), c_(std::move(c)) {}

  Tensor pass(const Ask& ask) override {
    asked.push_back(ask);
    places.push_back(w_.latent.detach().clone());
    const Tensor away = w_.latent.detach() - c_;  // [rows, n]
    if (ask.gradient) {
      Tensor each = h_.unsqueeze(1) * away;
      if (ask.weights.defined()) each = each * ask.weights.unsqueeze(1);
      w_.latent.mutable_grad() = each.mean(0, /*keepdim=*/true);
    }
    return ask.rows ? h_ / 2 * away.square().sum(1) : Tensor();
  }
  int64_t parts() const override { return 1; }
  void clear_gradients() override { w_.latent.mutable_grad().reset(); }
  void weights_moved() override {}
  void weights_restored() override {}

  std::vector<Ask> asked;
  std::vector<Tensor> places;

 private:
  nn::Parameter& w_;
  Tensor h_, c_;
};

struct Rows {
  nn::ParamTable table;
  nn::Parameter& w =
      table.add("w.weight", nn::Role::query, 0, torch::tensor({{0.5f, -1.0f, 2.0f}}));
  Tensor h = torch::tensor({1.0f, 4.0f}),
         c = torch::tensor({{1.0f, 0.0f, 0.0f}, {0.0f, 1.0f, -1.0f}});

  Quadratics run(const std::string& text, int64_t step = 0) {
    auto mover = made(movers(), text);
    bind(*mover, table);
    Quadratics passes(w, h, c);
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
