#include "compress/nn/packed.h"

#include <gtest/gtest.h>

#include <cmath>

#include "compress/nn/model.h"
#include "rounding.h"
#include "support.h"

namespace compress::nn {
namespace {

using torch::Tensor;

// int8 values as floats, the extremes among them.
Tensor whole(int64_t rows, int64_t columns, uint64_t seed) {
  return (random({rows, columns}, seed) * 90).round_().clamp_(-128, 127);
}

const std::vector<int64_t> row_counts = {1, 2, 5, 6, 7, 12, 13, 25, 96, 97, 200};
struct Shape {
  int64_t out, in;
};
const std::vector<Shape> shapes = {{1, 1},    {2, 7},   {16, 4},  {31, 63},
                                   {33, 130}, {70, 33}, {96, 384}};

TEST(PackedWeight, IsTheProductInFloat32) {
  for (const Shape& shape : shapes) {
    Tensor weight = random({shape.out, shape.in}, 1), bias = random({shape.out}, 2);
    PackedWeight packed(weight, {}, nullptr, integer_products());
    EXPECT_FALSE(packed.integers());
    for (int64_t rows : row_counts) {
      Tensor x = random({rows, shape.in}, 3);
      Tensor exact = at::linear(x.to(torch::kDouble), weight.to(torch::kDouble));
      // What rounding may do to a sum of this many terms and its bias, in units of float32's last
      // bit; GELU's slope is at most 1.13.
      Tensor terms = at::linear(x.abs(), weight.abs(), bias.abs()).to(torch::kDouble);
      Tensor bound = terms * (static_cast<double>(shape.in + 2) * 0x1p-24);
      auto near = [&](const Tensor& y, const Tensor& expected, const Tensor& most) {
        return (y.to(torch::kDouble) - expected).abs().le(most).all().item<bool>();
      };
      EXPECT_TRUE(near(packed.multiply(x, {}, {}, false), exact, bound)) << rows;
      exact += bias.to(torch::kDouble);
      EXPECT_TRUE(near(packed.multiply(x, {}, bias, false), exact, bound)) << rows;
      EXPECT_TRUE(near(packed.multiply(x, {}, bias, true), at::gelu(exact),
                       1.13 * bound + 3e-7 * (exact.abs() + 1e-3)))
          << rows;
    }
  }
}

// A further row that bf16 cannot hold makes the same weights lie there as float32.
TEST(PackedWeight, HalvesGiveTheProductInFloat32ToTheBit) {
  for (const Shape& shape : shapes) {
    Tensor weight = random({shape.out, shape.in}, 1).to(torch::kBFloat16).to(torch::kFloat32);
    weight[0][0] = -0.0f;
    Tensor more = torch::cat({weight, torch::full({1, shape.in}, 1.0f + 0x1p-20f)});
    Tensor bias = random({shape.out + 1}, 2);
    PackedWeight narrow(weight, {}, nullptr, integer_products(), Zeros::multiplied),
        wide(more, {}, nullptr, integer_products(), Zeros::multiplied);
    ASSERT_TRUE(narrow.halves());
    ASSERT_FALSE(wide.halves());
    for (int64_t rows : row_counts)
      for (bool gelu : {false, true}) {
        Tensor x = random({rows, shape.in}, 3);
        EXPECT_TRUE(torch::equal(narrow.multiply(x, {}, bias.narrow(0, 0, shape.out), gelu),
                                 wide.multiply(x, {}, bias, gelu).narrow(1, 0, shape.out)))
            << rows << " x " << shape.out << " x " << shape.in;
      }
  }
}

TEST(PackedWeight, GeluIsCloseEverywhere) {
  Tensor x = torch::linspace(-30, 30, 60001).view({-1, 1});
  PackedWeight one(torch::ones({1, 1}), {}, nullptr, integer_products());
  Tensor exact = at::gelu(x.to(torch::kDouble));
  Tensor off = (one.multiply(x, {}, {}, true).to(torch::kDouble) - exact).abs();
  EXPECT_LT((off / (x.abs().to(torch::kDouble) + 1e-3)).max().item<double>(), 3e-7);
}

TEST(PackedWeight, ARowDoesNotDependOnItsNeighbours) {
  Tensor weight = random({70, 33}, 1), x = random({200, 33}, 3);
  PackedWeight packed(weight, {}, nullptr, integer_products());
  Tensor together = packed.multiply(x, {}, {}, true);
  for (int64_t row = 0; row < 200; row += 7)
    EXPECT_TRUE(torch::equal(packed.multiply(x.narrow(0, row, 1), {}, {}, true)[0], together[row]));
}

TEST(PackedWeight, IntegerSumsAreExact) {
  for (IntegerProducts native : available_integer_products())
    for (const Shape& shape : shapes) {
      Tensor q = whole(shape.out, shape.in, 4);
      Tensor steps = random({shape.out}, 5).abs().add(0.01);
      Rounding by_half(0.5f);
      PackedWeight packed(q * steps.unsqueeze(1), steps, &by_half, native);
      ASSERT_TRUE(packed.integers());
      for (int64_t rows : row_counts) {
        Tensor x = whole(rows, shape.in, 6);
        Tensor sums = at::linear(x.to(torch::kDouble), q.to(torch::kDouble)).to(torch::kFloat32);
        // 0.5 * step is exact, so the rescaling rounds once.
        Tensor expected = sums * (steps * 0.5f);
        EXPECT_TRUE(torch::equal(packed.multiply(x * 0.5f, {}, {}, false), expected))
            << name(native) << " " << rows << " x " << shape.out << " x " << shape.in;
      }
    }
}

TEST(PackedWeight, TheLargestIntegersDoNotSaturate) {
  Rounding whole_steps(1.0f);
  for (IntegerProducts products : available_integer_products())
    for (float x_value : {-128.0f, 127.0f})
      for (float w_value : {-128.0f, 127.0f}) {
        // In float32 sums are exact up to 2^24: 1,024 products of -128 and -128.
        const int64_t inputs = products == IntegerProducts::floats ? 1024 : 1537;
        PackedWeight packed(torch::full({40, inputs}, w_value), torch::ones({40}), &whole_steps,
                            products);
        Tensor y = packed.multiply(torch::full({14, inputs}, x_value), {}, {}, false);
        EXPECT_TRUE(
            torch::equal(y, torch::full({14, 40}, x_value * w_value * static_cast<float>(inputs))))
            << name(products);
      }
}

// Beyond 65,536 inputs a sum may leave 32 bits.
TEST(PackedWeight, VeryWideWeightsAreSummedAsFloats) {
  constexpr int64_t inputs = 1 << 18;
  Rounding whole_steps(1.0f);
  PackedWeight packed(torch::full({1, inputs}, -128.0f), torch::ones({1}), &whole_steps,
                      integer_products());
  Tensor y = packed.multiply(torch::full({1, inputs}, -128.0f), {}, {}, false);
  EXPECT_EQ(y.item<float>(), 128.0f * 128.0f * inputs);
}

TEST(PackedWeight, RowsAndBiasAreRescaledAsInTheRoundedProduct) {
  Tensor q = whole(70, 130, 7), steps = random({70}, 8).abs().add(0.01), bias = random({70}, 9);
  Tensor weight = q * steps.unsqueeze(1), x = random({97, 130}, 10);
  for (IntegerProducts native : available_integer_products()) {
    Rounding by_row;
    PackedWeight packed(weight, steps, &by_row, native);
    ASSERT_TRUE(packed.integers());
    Tensor x_scale = by_row.scales(x).to(torch::kDouble);
    Tensor x_whole = x.div(by_row.scales(x)).round().to(torch::kDouble);
    Tensor sums = at::linear(x_whole, q.to(torch::kDouble));
    Tensor expected = sums * x_scale * steps.to(torch::kDouble) + bias.to(torch::kDouble);
    for (bool gelu : {false, true}) {
      Tensor y = packed.multiply(x, {}, bias, gelu).to(torch::kDouble);
      Tensor goal = gelu ? at::gelu(expected) : expected;
      EXPECT_LT(((y - goal).abs() / (goal.abs() + 1)).max().item<double>(), 1e-6);
    }
  }
}

TEST(PackedWeight, AWeightOffTheGridIsMultipliedInFloat32) {
  Tensor steps = torch::full({5}, 0.25f), x = random({3, 9}, 12);
  Tensor weight = whole(5, 9, 11) * 0.25f;
  Rounding by_row;
  weight[4][8] += 0.01f;
  EXPECT_FALSE(PackedWeight(weight, steps, &by_row, integer_products()).integers());
  weight[4][8] = 128 * 0.25f;  // a multiple, but not int8
  PackedWeight beyond(weight, steps, &by_row, integer_products());
  EXPECT_FALSE(beyond.integers());
  Tensor expected = at::linear(by_row.apply(x, {}), weight);  // the input is rounded all the same
  EXPECT_LT((beyond.multiply(x, {}, {}, false) - expected).abs().max().item<float>(), 1e-4f);
  weight[4][8] = NAN;
  EXPECT_FALSE(PackedWeight(weight, steps, &by_row, integer_products()).integers());
}

TEST(PackedWeights, ServeEvaluationOnly) {
  auto model = build(tiny_bert(HeadKind::classification), 1);
  data::Batch batch = random_batch({9, 5, 12});
  model->params().refresh(Precision::float32);
  auto logits = [&](bool gradients, const Pass& pass) {
    torch::AutoGradMode mode(gradients);
    return model->forward(batch, {}, pass).logits.detach();
  };
  const Pass training{true, 5, Precision::float32};
  const Tensor with_gradients = logits(true, {}), plain = logits(false, {}),
               trained = logits(false, training);
  EXPECT_TRUE(torch::equal(with_gradients, plain));
  const Parameter& dense = *model->params().find("encoder.layer.0.output.dense.weight");
  const Parameter& query = *model->params().find("encoder.layer.0.attention.self.query.weight");
  {
    PackedWeights packed(model->params());
    EXPECT_NE(dense.packed, nullptr);
    EXPECT_EQ(query.packed, nullptr);  // its group's is
    EXPECT_NE(query.fused->packed, nullptr);
    EXPECT_LT((logits(false, {}) - plain).abs().max().item<float>(), 1e-5f);
    EXPECT_TRUE(torch::equal(logits(true, {}), plain));
    EXPECT_TRUE(torch::equal(logits(false, training), trained));
  }
  EXPECT_EQ(dense.packed, nullptr);
  EXPECT_EQ(query.fused->packed, nullptr);
  EXPECT_TRUE(torch::equal(logits(false, {}), plain));
  model->params().refresh(Precision::bf16);
  PackedWeights packed(model->params());
  EXPECT_EQ(dense.packed, nullptr);
}

TEST(PackedWeights, LayersOfOneInputMayDifferInHowTheyRoundIt) {
  auto model = build(tiny_bert(HeadKind::classification), 1);
  data::Batch batch = random_batch({9, 5, 12});
  Rounding all;
  struct : InputTransform {
    Tensor apply(const Tensor& x, const RowInfo&) override { return x * 0.5; }
  } half;
  Parameter& query = *model->params().find("encoder.layer.0.attention.self.query.weight");
  Parameter& key = *model->params().find("encoder.layer.0.attention.self.key.weight");
  query.input = &all;
  key.input = &half;
  model->params().refresh(Precision::float32);
  torch::NoGradGuard no_grad;
  Tensor plain = model->forward(batch, {}, {}).logits;
  PackedWeights packed(model->params());
  EXPECT_EQ(query.fused->packed, nullptr);
  EXPECT_NE(query.packed, nullptr);
  EXPECT_LT((model->forward(batch, {}, {}).logits - plain).abs().max().item<float>(), 1e-4f);
}

}  // namespace
}  // namespace compress::nn
