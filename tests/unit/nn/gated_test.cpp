#include <gtest/gtest.h>

#include "compress/base/error.h"
#include "compress/nn/layers.h"

namespace compress::nn {
namespace {

using torch::Tensor;

double furthest(const Tensor& a, const Tensor& b) {
  return (a.to(torch::kDouble) - b.to(torch::kDouble)).abs().max().item<double>();
}

class Gated : public testing::TestWithParam<const char*> {};

TEST_P(Gated, IsActivationTimesUp) {
  torch::manual_seed(1);
  for (int64_t width : {1, 16, 37, 300}) {
    Tensor x = (torch::randn({33, 2 * width}) * 4).requires_grad_(true);
    Tensor exact = x.detach().to(torch::kDouble).requires_grad_(true);
    Tensor upstream = torch::randn({33, width});
    Tensor y = gated(x, GetParam());
    Tensor expected =
        activation(exact.narrow(1, 0, width), GetParam()) * exact.narrow(1, width, width);
    EXPECT_LT(furthest(y, expected), 1e-5);
    y.backward(upstream);
    expected.backward(upstream.to(torch::kDouble));
    EXPECT_LT(furthest(x.grad(), exact.grad()),
              1e-6 * exact.grad().abs().max().item<double>() + 1e-6);
    torch::NoGradGuard no_grad;
    EXPECT_TRUE(torch::equal(gated(x, GetParam()), y.detach()));
  }
}

TEST_P(Gated, HoldsFarOut) {
  Tensor gate = torch::linspace(-60, 60, 24001).view({-1, 1});
  Tensor x = torch::cat({gate, torch::ones_like(gate)}, 1).requires_grad_(true);
  Tensor exact = gate.to(torch::kDouble).requires_grad_(true);
  Tensor y = gated(x, GetParam()), expected = activation(exact, GetParam());
  Tensor room = gate.abs().to(torch::kDouble) + 1;
  EXPECT_LT(((y - expected).abs() / room).max().item<double>(), 3e-7);
  y.sum().backward();
  expected.sum().backward();
  EXPECT_LT(((x.grad().narrow(1, 0, 1) - exact.grad()).abs() / room).max().item<double>(), 1e-6);
}

TEST_P(Gated, Bfloat16RoundsTheResult) {
  torch::manual_seed(2);
  Tensor x = (torch::randn({20, 66}) * 2).to(torch::kBFloat16).requires_grad_(true);
  Tensor exact = x.detach().to(torch::kFloat32).requires_grad_(true);
  Tensor y = gated(x, GetParam()), expected = gated(exact, GetParam());
  EXPECT_TRUE(torch::equal(y, expected.to(torch::kBFloat16)));
  Tensor upstream = torch::randn({20, 33}).to(torch::kBFloat16);
  y.backward(upstream);
  expected.backward(upstream.to(torch::kFloat32));
  EXPECT_TRUE(torch::equal(x.grad(), exact.grad().to(torch::kBFloat16)));
}

INSTANTIATE_TEST_SUITE_P(Activations, Gated, testing::Values("gelu", "gelu_new", "relu", "silu"),
                         [](const auto& test) { return std::string(test.param); });

TEST(Gated, UnknownActivationsAreErrors) {
  EXPECT_THROW(gated(torch::zeros({2, 2}), "maxout"), Error);
}

}  // namespace
}  // namespace compress::nn
