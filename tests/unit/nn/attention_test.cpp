#include <gtest/gtest.h>

#include "compress/nn/layers.h"
#include "support.h"

namespace compress::nn {
namespace {

using torch::Tensor;

struct Case {
  std::vector<int64_t> lengths;
  int64_t heads, width;
};

std::ostream& operator<<(std::ostream& out, const Case& each) {
  out << each.heads << " heads of " << each.width << ", rows of";
  for (int64_t length : each.lengths) out << " " << length;
  return out;
}

class PackedAttention : public testing::TestWithParam<Case> {};

double furthest(const Tensor& a, const Tensor& exact) {
  return (a.to(torch::kDouble) - exact).abs().max().item<double>();
}

// Output and gradient of the packed kernel and of padded batched products, both beside the latter
// in double precision. The kernel rounds sums of the same length in float32, in an order that
// depends on the registers, so it may be off by a few times as much as the products are; and its
// exponential is off by up to 3e-7 (simd.h), above and below the fraction of the softmax.
TEST_P(PackedAttention, EqualsPaddedProducts) {
  const auto& [lengths, heads, width] = GetParam();
  data::Batch batch = random_batch(lengths);
  torch::manual_seed(1);
  AttentionShape shape{heads, width, 1.0 / std::sqrt(static_cast<double>(width)), 0.0};
  Tensor qkv = torch::randn({batch.tokens(), 3 * heads * width}) * 2;
  Tensor upstream = torch::randn({batch.tokens(), heads * width});
  auto run = [&](bool packed, torch::ScalarType type) {
    Tensor x = qkv.to(type, /*non_blocking=*/false, /*copy=*/true).requires_grad_(true);
    DropoutSeeds seeds(5, true);
    Tensor y =
        packed ? attention(x, batch, shape, seeds) : padded_attention(x, batch, shape, seeds);
    (y * upstream.to(type)).sum().backward();
    return std::pair{y.detach(), x.grad()};
  };
  auto [exact, exact_gradient] = run(false, torch::kDouble);
  auto [ours, our_gradient] = run(true, torch::kFloat32);
  auto [theirs, their_gradient] = run(false, torch::kFloat32);
  auto bound = [](const Tensor& rounded, const Tensor& right) {
    return 4 * furthest(rounded, right) + 2 * 3e-7 * right.abs().max().item<double>();
  };
  EXPECT_LT(furthest(ours, exact), bound(theirs, exact));
  EXPECT_LT(furthest(our_gradient, exact_gradient), bound(their_gradient, exact_gradient));
}

INSTANTIATE_TEST_SUITE_P(Shapes, PackedAttention,
                         testing::Values(Case{{5}, 1, 16}, Case{{1, 1, 1}, 2, 8},
                                         Case{{7, 3, 16, 1, 17}, 4, 8}, Case{{33, 32, 31}, 3, 32},
                                         Case{{128, 2}, 2, 64}, Case{{9, 20}, 2, 20}));

TEST(PackedAttention, DropoutIsReplayedAndUnbiased) {
  data::Batch batch = random_batch({12, 30, 3});
  AttentionShape shape{2, 16, 0.25, 0.3};
  torch::manual_seed(2);
  Tensor qkv = torch::randn({batch.tokens(), 96});
  auto run = [&](uint64_t seed) {
    DropoutSeeds seeds(seed, true);
    return attention(qkv, batch, shape, seeds);
  };
  EXPECT_TRUE(torch::equal(run(1), run(1)));
  EXPECT_FALSE(torch::equal(run(1), run(2)));
  Tensor mean = torch::zeros_like(run(0));
  for (uint64_t seed = 0; seed < 2000; ++seed) mean += run(seed) / 2000;
  DropoutSeeds none(0, false);
  EXPECT_LT((mean - attention(qkv, batch, shape, none)).abs().mean().item<float>(), 0.02f);
}

// With dropout on, the gradient is that of the function that the same seed draws: checked by finite
// differences.
TEST(PackedAttention, GradientWithDropout) {
  data::Batch batch = random_batch({4, 3});
  AttentionShape shape{1, 8, 0.3, 0.4};
  torch::manual_seed(3);
  Tensor qkv = torch::randn({7, 24});
  Tensor direction = torch::randn({7, 24}), upstream = torch::randn({7, 8});
  auto value = [&](const Tensor& x) {
    DropoutSeeds seeds(9, true);
    return (attention(x, batch, shape, seeds) * upstream).sum();
  };
  Tensor x = qkv.clone().requires_grad_(true);
  value(x).backward();
  double analytic = (x.grad() * direction).sum().item<double>();
  double numeric = (value(qkv + 1e-3 * direction).item<double>() -
                    value(qkv - 1e-3 * direction).item<double>()) /
                   2e-3;
  EXPECT_NEAR(analytic, numeric, 2e-3 * std::max(1.0, std::abs(numeric)));
}

TEST(PackedAttention, Bfloat16IsClose) {
  data::Batch batch = random_batch({12, 30});
  AttentionShape shape{2, 16, 0.25, 0.0};
  torch::manual_seed(4);
  Tensor qkv = torch::randn({42, 96});
  DropoutSeeds none(0, false);
  Tensor exact = attention(qkv, batch, shape, none),
         rough = attention(qkv.to(torch::kBFloat16), batch, shape, none);
  EXPECT_EQ(rough.scalar_type(), torch::kBFloat16);
  EXPECT_LT((exact - rough.to(torch::kFloat32)).abs().max().item<float>(), 0.03f);
}

TEST(PaddedAttention, CapturesScoresBeforeSoftmax) {
  data::Batch batch = random_batch({3, 2});
  AttentionShape shape{1, 2, 0.5, 0.0};
  torch::manual_seed(5);
  Tensor qkv = torch::randn({5, 6}), scores;
  DropoutSeeds none(0, false);
  attention(qkv, batch, shape, none, &scores);
  ASSERT_EQ(scores.sizes(), (std::vector<int64_t>{2, 1, 3, 3}));
  Tensor expected = (qkv[3].slice(0, 0, 2) * qkv[4].slice(0, 2, 4)).sum() *
                    0.5;  // row 1: query of token 0, key of token 1
  EXPECT_NEAR(scores[1][0][0][1].item<float>(), expected.item<float>(), 1e-6);
}

TEST(Dropout, KeepsTheRightShareAndReplays) {
  Tensor x = torch::ones({1000, 257}).requires_grad_(true);
  Tensor y = nn::dropout(x, 0.25, 11);
  EXPECT_TRUE(torch::equal(y, nn::dropout(x, 0.25, 11)));
  EXPECT_NEAR(y.eq(0).to(torch::kFloat32).mean().item<double>(), 0.25, 0.005);
  EXPECT_NEAR(y.max().item<float>(), 1 / 0.75, 1e-6);
  y.sum().backward();
  EXPECT_TRUE(torch::equal(x.grad(), y.detach()));  // x is one: the factors themselves
  EXPECT_TRUE(nn::dropout(x, 0, 11).is_same(x));
}

}  // namespace
}  // namespace compress::nn
