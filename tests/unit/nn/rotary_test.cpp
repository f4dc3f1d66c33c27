#include <gtest/gtest.h>

#include "compress/nn/layers.h"

namespace compress::nn {
namespace {

using torch::Tensor;

Rotary rotary(int64_t positions, int64_t width) {
  Tensor frequency = torch::pow(10000.0, -torch::arange(0, width, 2, torch::kDouble) / width);
  Tensor angle = torch::arange(positions, torch::kDouble).unsqueeze(1) * frequency.unsqueeze(0);
  return {angle.cos().to(torch::kFloat32), angle.sin().to(torch::kFloat32)};
}

// x * cos + rotate_half(x) * sin, as in Hugging Face's models.
Tensor formula(const Rotary& r, const Tensor& x, const Tensor& positions, int64_t heads,
               int64_t width) {
  const int64_t tokens = positions.size(0);
  Tensor c = r.cos.index_select(0, positions).to(x.scalar_type()),
         s = r.sin.index_select(0, positions).to(x.scalar_type());
  Tensor cos = torch::cat({c, c}, 1).unsqueeze(1), sin = torch::cat({s, s}, 1).unsqueeze(1);
  Tensor part = x.narrow(0, 0, tokens).narrow(1, 0, heads * width).reshape({tokens, heads, width});
  Tensor rotated =
      torch::cat({-part.narrow(2, width / 2, width / 2), part.narrow(2, 0, width / 2)}, 2);
  Tensor turned = (part * cos + rotated * sin).reshape({tokens, heads * width});
  Tensor rest = x.narrow(0, 0, tokens).slice(1, heads * width);
  return torch::cat({torch::cat({turned, rest}, 1), x.slice(0, tokens)}, 0);
}

double furthest(const Tensor& a, const Tensor& b) {
  return (a.to(torch::kDouble) - b.to(torch::kDouble)).abs().max().item<double>();
}

TEST(Rotary, IsTheFormula) {
  torch::manual_seed(1);
  for (int64_t width : {2, 8, 20, 64})
    for (torch::ScalarType type : {torch::kFloat32, torch::kBFloat16}) {
      Rotary turn = rotary(50, width);
      Tensor positions = torch::randint(50, {30}, torch::kInt64);
      // Three heads to turn, further columns, and two rows without a position.
      Tensor x = torch::randn({32, 3 * width + 5}).to(type).requires_grad_(true);
      Tensor exact = x.detach().to(torch::kDouble).requires_grad_(true);
      Tensor before = x.detach().clone();
      Tensor y = turn(x, positions, 3, width), expected = formula(turn, exact, positions, 3, width);
      ASSERT_EQ(y.scalar_type(), type);
      EXPECT_LT(furthest(y, expected), type == torch::kFloat32 ? 2e-6 : 3e-2);
      EXPECT_TRUE(torch::equal(y.slice(0, 30).detach(), before.slice(0, 30)));
      EXPECT_TRUE(torch::equal(y.slice(1, 3 * width).detach(), before.slice(1, 3 * width)));
      EXPECT_TRUE(torch::equal(x.detach(), before));
      Tensor upstream = torch::randn(y.sizes()).to(type);
      y.backward(upstream);
      expected.backward(upstream.to(torch::kDouble));
      EXPECT_LT(furthest(x.grad(), exact.grad()), type == torch::kFloat32 ? 2e-6 : 3e-2);
      torch::NoGradGuard no_grad;
      EXPECT_TRUE(torch::equal(turn(x, positions, 3, width), y.detach()));
    }
}

// What rotary positions are for.
TEST(Rotary, ProductsDependOnDistancesOnly) {
  torch::manual_seed(2);
  Rotary turn = rotary(100, 16);
  Tensor q = torch::randn({1, 16}), k = torch::randn({1, 16});
  auto product = [&](int64_t at, int64_t behind) {
    return (turn(q, torch::tensor({at}), 1, 16) * turn(k, torch::tensor({at - behind}), 1, 16))
        .sum()
        .item<float>();
  };
  EXPECT_NEAR(product(5, 3), product(90, 3), 1e-4);
  EXPECT_NEAR(product(5, 0), (q * k).sum().item<float>(), 1e-4);
  EXPECT_GT(std::abs(product(5, 3) - product(5, 4)), 1e-4);
}

TEST(Rotary, PartOfALargerTensor) {
  Rotary turn = rotary(10, 8);
  Tensor x = torch::randn({7, 40}), positions = torch::arange(7);
  EXPECT_TRUE(torch::equal(turn(x.narrow(1, 8, 16), positions, 2, 8),
                           turn(x.narrow(1, 8, 16).contiguous(), positions, 2, 8)));
}

TEST(Rotary, PositionsBeyondTheTableAreErrors) {
  Rotary turn = rotary(10, 8);
  EXPECT_THROW(turn(torch::zeros({1, 8}), torch::tensor({int64_t{10}}), 1, 8), c10::IndexError);
  EXPECT_THROW(turn(torch::zeros({1, 8}), torch::tensor({int64_t{-1}}), 1, 8), c10::IndexError);
}

}  // namespace
}  // namespace compress::nn
