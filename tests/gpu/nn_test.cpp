// Layers and models on a card, beside the CPU.

#include "compress/nn/layers.h"
#include "gpu.h"

namespace compress::nn {
namespace {

using torch::Tensor;

const std::vector<int64_t> lengths = {7, 1, 30, 64, 12};

Outputs run(Model& model, const data::Batch& batch, const Pass& pass) {
  torch::NoGradGuard no_grad;
  model.params().refresh(pass.precision);
  return model.forward(batch.to(model.device()), {.hidden = true}, pass);
}

TEST_F(OnCard, LogitsAreThoseOfTheCpu) {
  auto here = without_dropout(), there = without_dropout();
  there->to(card_);
  const data::Batch batch = random_batch(lengths);
  Outputs expected = run(*here, batch, {});
  Outputs exact = run(*there, batch, {});
  EXPECT_LT(furthest(expected.logits, exact.logits), 1e-4);
  EXPECT_LT(furthest(expected.hidden.back(), exact.hidden.back()), 1e-3);
  for (Precision precision : {Precision::bf16, Precision::fp16}) {
    Outputs rough = run(*there, batch, {false, 0, precision});
    EXPECT_LT(furthest(expected.logits, rough.logits), precision == Precision::bf16 ? 0.1 : 0.02);
  }
}

class Flash : public OnCard, public testing::WithParamInterface<std::tuple<int64_t, bool>> {
 protected:
  AttentionShape shape(double dropout) const {
    const int64_t width = std::get<0>(GetParam());
    return {4, width, 1 / std::sqrt(static_cast<double>(width)), dropout};
  }
  torch::ScalarType type() const {
    return std::get<1>(GetParam()) ? torch::kHalf : torch::kBFloat16;
  }
};

TEST_P(Flash, EqualsPaddedProducts) {
  need_flash();
  const data::Batch batch = random_batch(lengths).to(card_);
  const AttentionShape form = shape(0);
  torch::manual_seed(2);
  Tensor values = torch::randn({batch.tokens(), 3 * form.heads * form.width}).to(card_, type());
  Tensor upstream = torch::randn({batch.tokens(), form.heads * form.width}).to(card_, type());
  DropoutSeeds none(0, false);
  Tensor fast = values.clone().requires_grad_(), slow = values.to(torch::kFloat32).requires_grad_();
  Tensor a = attention(fast, batch, form, none), b = padded_attention(slow, batch, form, none);
  ASSERT_EQ(a.scalar_type(), type());
  EXPECT_LT(furthest(a, b), 0.03);
  a.backward(upstream);
  b.backward(upstream.to(torch::kFloat32));
  EXPECT_LT(furthest(fast.grad(), slow.grad()), 0.06);
}

TEST_P(Flash, MasksAndSharedKeysEqualPaddedProducts) {
  need_flash();
  const data::Batch batch = random_batch(lengths).to(card_);
  AttentionShape form = shape(0);
  form.causal = true;
  form.kv_heads = 2;
  for (int64_t window : {0, 9}) {
    form.window = window;
    torch::manual_seed(2);
    Tensor values = torch::randn({batch.tokens(), 8 * form.width}).to(card_, type());
    Tensor upstream = torch::randn({batch.tokens(), form.heads * form.width}).to(card_, type());
    DropoutSeeds none(0, false);
    Tensor fast = values.clone().requires_grad_(),
           slow = values.to(torch::kFloat32).requires_grad_();
    Tensor a = attention(fast, batch, form, none), b = padded_attention(slow, batch, form, none);
    EXPECT_LT(furthest(a, b), 0.03) << window;
    a.backward(upstream);
    b.backward(upstream.to(torch::kFloat32));
    EXPECT_LT(furthest(fast.grad(), slow.grad()), 0.1) << window;
  }
}

TEST_P(Flash, DropoutRepeatsAndBackwardDrawsItAgain) {
  need_flash();
  const data::Batch batch = random_batch(lengths).to(card_);
  const AttentionShape form = shape(0.5);
  torch::manual_seed(3);
  Tensor values = torch::randn({batch.tokens(), 3 * form.heads * form.width}).to(card_, type());
  auto once = [&](uint64_t seed, Tensor input) {
    begin_draws(card_, seed);
    DropoutSeeds seeds(seed, true);
    return attention(input, batch, form, seeds);
  };
  Tensor first = once(5, values);
  EXPECT_TRUE(torch::equal(first, once(5, values)));
  EXPECT_GT(furthest(first, once(6, values)), 0.1);
  // The output is linear in the values: <upstream, out> = <gradient, values>.
  Tensor leaf = values.clone().requires_grad_();
  Tensor out = once(5, leaf);
  Tensor upstream = torch::randn_like(out);
  out.backward(upstream);
  const int64_t third = form.heads * form.width;
  auto sum = [](const Tensor& x, const Tensor& y) {
    return (x.to(torch::kFloat64) * y.to(torch::kFloat64)).sum().item<double>();
  };
  const double through =
      sum(leaf.grad().narrow(1, 2 * third, third), values.narrow(1, 2 * third, third));
  const double size = std::sqrt(sum(upstream, upstream) * sum(out.detach(), out.detach()));
  EXPECT_NEAR(through, sum(upstream, out.detach()), 0.02 * size);
}

TEST_P(Flash, GradientsRepeatToTheBit) {
  need_flash();
  const data::Batch batch = random_batch({500, 300, 64, 1}).to(card_);
  const AttentionShape form = shape(0);
  torch::manual_seed(4);
  Tensor values = torch::randn({batch.tokens(), 3 * form.heads * form.width}).to(card_, type());
  Tensor upstream = torch::randn({batch.tokens(), form.heads * form.width}).to(card_, type());
  auto gradient = [&] {
    Tensor leaf = values.clone().requires_grad_();
    DropoutSeeds none(0, false);
    attention(leaf, batch, form, none).backward(upstream);
    return leaf.grad();
  };
  at::Context& context = at::globalContext();
  const bool strict = context.deterministicAlgorithms(),
             warn_only = context.deterministicAlgorithmsWarnOnly();
  context.setDeterministicAlgorithms(true, /*warn_only=*/true);
  const Tensor first = gradient();
  for (int round = 0; round < 5; ++round) EXPECT_TRUE(torch::equal(first, gradient()));
  EXPECT_TRUE(context.deterministicAlgorithmsWarnOnly());
  context.setDeterministicAlgorithms(strict, warn_only);
}

// 26: heads of TinyBERT's 312 wide layers, padded to 32.
INSTANTIATE_TEST_SUITE_P(Widths, Flash,
                         testing::Combine(testing::Values<int64_t>(26, 32, 64), testing::Bool()),
                         [](const auto& tested) {
                           return std::string(std::get<1>(tested.param) ? "fp16" : "bf16") +
                                  "Width" + std::to_string(std::get<0>(tested.param));
                         });

TEST_F(OnCard, DropoutOfAPassRepeats) {
  Tensor x = torch::ones({1000, 64}, card_);
  auto pass = [&](uint64_t seed) {
    begin_draws(card_, seed);
    const Tensor first = dropout(x, 0.25, uint64_t{1});  // draws come in turn
    return std::pair(first, dropout(x, 0.25, uint64_t{2}));
  };
  auto [a, b] = pass(9);
  auto [c, d] = pass(9);
  auto [e, f] = pass(10);
  EXPECT_TRUE(torch::equal(a, c) && torch::equal(b, d));
  EXPECT_FALSE(torch::equal(a, b));
  EXPECT_FALSE(torch::equal(a, e));
  EXPECT_NEAR(a.mean().item<double>(), 1, 0.02);
  EXPECT_NEAR((a == 0).to(torch::kFloat32).mean().item<double>(), 0.25, 0.01);
  Tensor leaf = x.clone().requires_grad_();
  begin_draws(card_, 9);
  dropout(leaf, 0.25, uint64_t{1}).sum().backward();
  // Forward and backward round 1 / (1 - p) by themselves: one unit in the last place.
  EXPECT_TRUE(torch::equal(leaf.grad() == 0, a == 0));
  EXPECT_LE(furthest(leaf.grad(), a), std::ldexp(1.0, -23));
}

}  // namespace
}  // namespace compress::nn
