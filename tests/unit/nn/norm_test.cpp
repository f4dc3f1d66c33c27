// Root mean square norms, norms without a bias, and the sum beside the norm.

#include <gtest/gtest.h>

#include "compress/nn/layers.h"
#include "support.h"

namespace compress::nn {
namespace {

using torch::Tensor;

struct Weights {
  ParamTable table;
  Norm norm;
  Weights(int64_t width, bool rms, bool bias) {
    torch::manual_seed(3);
    norm.weight = &table.add("norm.weight", Role::norm, 0, torch::rand({width}) + 0.5);
    if (bias) norm.bias = &table.add("norm.bias", Role::norm, 0, torch::randn({width}));
    norm.eps = 1e-5;
    norm.rms = rms;
  }
};

// The equation, in float64.
Tensor formula(const Tensor& x, const Norm& norm, const Tensor& gain, const Tensor& bias) {
  Tensor centred = norm.rms ? x : x - x.mean(-1, true);
  Tensor y = centred / torch::sqrt(centred.square().mean(-1, true) + norm.eps) * gain;
  return bias.defined() ? y + bias : y;
}

Tensor leaf(const Tensor& x, torch::ScalarType type) {
  return x.detach().to(type).clone().requires_grad_(true);
}
void expect_near(const Tensor& a, const Tensor& b, double tolerance, const char* what) {
  const double largest = std::max(1.0, b.abs().max().item<double>());
  EXPECT_LT((a.to(torch::kDouble) - b.to(torch::kDouble)).abs().max().item<double>(),
            tolerance * largest)
      << what;
}

struct Kind {
  bool rms, bias;
};
const std::vector<Kind> kinds = {{true, false}, {true, true}, {false, false}, {false, true}};

TEST(Norm, IsTheFormula) {
  for (const Kind& kind : kinds)
    for (int64_t width : {1, 6, 64, 100, 896})
      for (torch::ScalarType type : {torch::kFloat32, torch::kBFloat16}) {
        if (width == 1 && !kind.rms) continue;
        Weights w(width, kind.rms, kind.bias);
        Tensor x = leaf(torch::randn({70, width}) * 2 + 1, type), exact = leaf(x, torch::kDouble);
        Tensor upstream = torch::randn({70, width}).to(type);
        Tensor gain = leaf(w.norm.weight->latent, torch::kDouble),
               bias = kind.bias ? leaf(w.norm.bias->latent, torch::kDouble) : Tensor();
        Tensor y = w.norm(x), expected = formula(exact, w.norm, gain, bias);
        ASSERT_EQ(y.scalar_type(), type);
        const double tolerance = type == torch::kFloat32 ? 2e-5 : 2e-2;
        expect_near(y, expected, tolerance, "y");
        y.backward(upstream);
        expected.backward(upstream.to(torch::kDouble));
        expect_near(x.grad(), exact.grad(), tolerance, "dx");
        expect_near(w.norm.weight->latent.grad(), gain.grad(), tolerance, "d_gain");
        if (kind.bias) expect_near(w.norm.bias->latent.grad(), bias.grad(), tolerance, "d_bias");
        torch::NoGradGuard no_grad;
        EXPECT_TRUE(torch::equal(w.norm(x), y.detach()));
      }
}

TEST(Norm, RmsOfHeads) {
  Weights w(16, true, false);
  Tensor x = torch::randn({5, 3, 32}).narrow(2, 8, 16);  // neither contiguous nor a matrix
  Tensor y = w.norm(x);
  ASSERT_EQ(y.sizes(), x.sizes());
  expect_near(y, formula(x.to(torch::kDouble), w.norm, w.norm.weight->latent, {}), 1e-5, "y");
}

TEST(ResidualNorm, RmsIsItsParts) {
  for (double p : {0.0, 0.4})
    for (const Kind& kind : kinds) {
      Weights w(64, kind.rms, kind.bias);
      Tensor x = leaf(torch::randn({150, 64}), torch::kFloat32),
             residual = leaf(torch::randn({150, 64}), torch::kFloat32);
      auto run = [&](bool whole) {
        DropoutSeeds seeds(11, true);
        for (Tensor* leaf : {&x, &residual}) leaf->mutable_grad().reset();
        w.norm.weight->latent.mutable_grad().reset();
        Tensor y = whole ? residual_norm(x, residual, w.norm, p, seeds)
                         : w.norm(dropout(x, p, seeds.next()).add(residual));
        y.square().sum().backward();
        return std::vector<Tensor>{y.detach(), x.grad().clone(), residual.grad().clone(),
                                   w.norm.weight->latent.grad().clone()};
      };
      const auto whole = run(true), parts = run(false);
      for (size_t i = 0; i < whole.size(); ++i) expect_near(whole[i], parts[i], 1e-5, "part");
    }
}

// Both results have gradients, or one of them.
TEST(ResidualNorm, GivesTheSumToo) {
  for (const Kind& kind : kinds)
    for (torch::ScalarType type : {torch::kFloat32, torch::kBFloat16})
      for (int used : {1, 2, 3}) {
        Weights w(48, kind.rms, kind.bias);
        Tensor x = leaf(torch::randn({67, 48}), type),
               residual = leaf(torch::randn({67, 48}), type);
        Tensor first = torch::randn({67, 48}).to(type), second = torch::randn({67, 48}).to(type);
        auto run = [&](bool whole) {
          for (Tensor* leaf : {&x, &residual}) leaf->mutable_grad().reset();
          DropoutSeeds seeds(11, true);
          SumAndNorm both;
          if (whole) {
            both = residual_sum_norm(x, residual, w.norm, 0.2, seeds);
          } else {
            both.sum = dropout(x, 0.2, seeds.next()).add(residual);
            both.normed = w.norm(both.sum);
          }
          Tensor loss = torch::zeros({}, torch::kFloat32);
          if ((used & 1) != 0) loss = loss + (both.sum * first).sum();
          if ((used & 2) != 0) loss = loss + (both.normed * second).sum();
          loss.backward();
          return std::vector<Tensor>{both.sum.detach(), both.normed.detach(), x.grad().clone(),
                                     residual.grad().clone()};
        };
        const auto whole = run(true), parts = run(false);
        const double tolerance = type == torch::kFloat32 ? 1e-5 : 3e-2;
        for (size_t i = 0; i < whole.size(); ++i)
          expect_near(whole[i], parts[i], tolerance, i == 0 ? "sum" : "rest");
        torch::NoGradGuard no_grad;
        DropoutSeeds seeds(11, true);
        SumAndNorm plain = residual_sum_norm(x, residual, w.norm, 0.2, seeds);
        EXPECT_TRUE(torch::equal(plain.sum, whole[0]));
        EXPECT_TRUE(torch::equal(plain.normed, whole[1]));
      }
}

TEST(ResidualNorm, SumsOfOddWidthsTakeTheParts) {
  Weights w(6, true, false);
  Tensor x = torch::randn({5, 6}), residual = torch::randn({5, 6});
  DropoutSeeds seeds(11, false);
  SumAndNorm both = residual_sum_norm(x, residual, w.norm, 0.5, seeds);
  EXPECT_TRUE(torch::equal(both.sum, x + residual));
  EXPECT_TRUE(torch::equal(both.normed, w.norm(x + residual)));
}

}  // namespace
}  // namespace compress::nn
