// Products that leave out zeros against those that do not.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "compress/nn/model.h"
#include "compress/nn/packed.h"
#include "rounding.h"
#include "support.h"

namespace compress::nn {
namespace {

using torch::Tensor;

// int8 values as floats, the extremes among them, of which `density` of all runs of `together` are
// not 0; of a ragged one the first row is empty and the second full.
Tensor pruned(int64_t rows, int64_t columns, double density, int64_t together, bool whole,
              bool ragged = false) {
  Tensor values = random({rows, columns}, 4);
  if (whole) values = (values * 90).round_().clamp_(-128, 127);
  const int64_t runs = (columns + together - 1) / together;
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(5);
  Tensor kept = torch::empty({rows, runs}).uniform_(0, 1, generator).le(density);
  if (ragged && rows > 2) {
    kept[0] = false;
    kept[1] = true;
  }
  return values * kept.repeat_interleave(together, 1).narrow(1, 0, columns);
}

const std::vector<int64_t> row_counts = {1, 3, 4, 8, 9, 13, 16, 17, 24, 25, 36, 47, 48, 49, 130};
struct Shape {
  int64_t out, in;
};

std::vector<IntegerProducts> integer_kinds() {
  std::vector<IntegerProducts> all = available_integer_products();
  std::erase(all, IntegerProducts::floats);
  return all;
}

TEST(SparseWeight, IntegerProductsAreTheDenseOnes) {
  std::vector<Rounding> inputs = {Rounding(), Rounding(0.03f), Rounding(0.02f, -117)};
  for (IntegerProducts kind : integer_kinds())
    for (const Shape& shape :
         std::vector<Shape>{{1, 4}, {31, 64}, {33, 132}, {70, 36}, {96, 384}, {40, 1544}}) {
      Tensor steps = random({shape.out}, 6).abs().add(0.01), bias = random({shape.out}, 7);
      Tensor weight = pruned(shape.out, shape.in, 0.2, 4, true, true) * steps.unsqueeze(1);
      for (Rounding& input : inputs) {
        PackedWeight dense(weight, steps, &input, kind, Zeros::multiplied);
        PackedWeight sparse(weight, steps, &input, kind, Zeros::skipped);
        ASSERT_TRUE(dense.integers() && !dense.sparse());
        ASSERT_TRUE(sparse.integers() && sparse.sparse());
        for (int64_t rows : row_counts) {
          Tensor x = random({rows, shape.in}, 8);
          for (bool gelu : {false, true})
            EXPECT_TRUE(
                torch::equal(sparse.multiply(x, {}, bias, gelu), dense.multiply(x, {}, bias, gelu)))
                << name(kind) << " " << rows << " x " << shape.out << " x " << shape.in;
          EXPECT_TRUE(
              torch::equal(sparse.multiply(x, {}, {}, false), dense.multiply(x, {}, {}, false)));
        }
      }
    }
}

TEST(SparseWeight, FloatProductsAreTheDenseOnes) {
  for (const Shape& shape :
       std::vector<Shape>{{1, 1}, {2, 7}, {16, 4}, {31, 63}, {33, 130}, {96, 384}, {40, 1601}}) {
    Tensor bias = random({shape.out}, 7);
    for (Tensor weight : {pruned(shape.out, shape.in, 0.2, 1, false, true),
                          pruned(shape.out, shape.in, 0.3, 1, true)}) {  // bf16 holds the second
      PackedWeight dense(weight, {}, nullptr, integer_products(), Zeros::multiplied);
      PackedWeight sparse(weight, {}, nullptr, integer_products(), Zeros::skipped);
      ASSERT_TRUE(!dense.sparse() && sparse.sparse());
      for (int64_t rows : row_counts) {
        Tensor x = random({rows, shape.in}, 8);
        for (bool gelu : {false, true})
          EXPECT_TRUE(
              torch::equal(sparse.multiply(x, {}, bias, gelu), dense.multiply(x, {}, bias, gelu)))
              << rows << " x " << shape.out << " x " << shape.in;
      }
    }
  }
}

// y = [1 2 -3 4 | 5 0 0 -128] x of two rows, and of a row without weights; the blocks of a row of
// X are multiplied where they lie.
TEST(SparseWeight, BlocksMeetTheirInputs) {
  Rounding by_one(1.0f);
  Tensor weight = torch::zeros({3, 12});
  weight[0].narrow(0, 8, 4).copy_(torch::tensor({1.0f, 2.0f, -3.0f, 4.0f}));
  weight[2].narrow(0, 0, 4).copy_(torch::tensor({5.0f, 0.0f, 0.0f, -128.0f}));
  Tensor x = torch::stack({torch::arange(12, torch::kFloat32), torch::full({12}, -128.0f)});
  for (IntegerProducts kind : integer_kinds()) {
    PackedWeight packed(weight, torch::ones({3}), &by_one, kind, Zeros::skipped);
    ASSERT_TRUE(packed.sparse()) << name(kind);
    // 8 + 2 * 9 - 3 * 10 + 4 * 11 = 40; -128 * 3; (5 - 128) * -128.
    EXPECT_TRUE(torch::equal(packed.multiply(x, {}, torch::tensor({0.5f, 2.0f, 0.0f}), false),
                             torch::tensor({{40.5f, 2.0f, -384.0f}, {-511.5f, 2.0f, 15744.0f}})));
  }
}

TEST(SparseWeight, TheLargestIntegersDoNotSaturate) {
  Rounding by_one(1.0f);
  for (IntegerProducts kind : integer_kinds())
    for (float x_value : {-128.0f, 127.0f})
      for (float w_value : {-128.0f, 127.0f}) {
        PackedWeight packed(torch::full({40, 1600}, w_value), torch::ones({40}), &by_one, kind,
                            Zeros::skipped);
        ASSERT_TRUE(packed.sparse());
        EXPECT_TRUE(torch::equal(packed.multiply(torch::full({14, 1600}, x_value), {}, {}, false),
                                 torch::full({14, 40}, x_value * w_value * 1600)));
      }
}

// As 0 * NaN in the dense product.
TEST(SparseWeight, WhatIsNotANumberIsNotSkipped) {
  Tensor weight = pruned(40, 36, 0.1, 1, false), x = random({20, 36}, 8);
  weight.select(1, 5).zero_();
  for (float value : {NAN, INFINITY}) {
    x[7][5] = value;
    PackedWeight packed(weight, {}, nullptr, integer_products(), Zeros::skipped);
    Tensor y = packed.multiply(x, {}, {}, false);
    EXPECT_TRUE(y[7].isnan().all().item<bool>());
    y[7].zero_();
    EXPECT_TRUE(y.isfinite().all().item<bool>());
  }
}

TEST(SparseWeight, ZerosAreSkippedWhereThatIsFaster) {
  Rounding by_one(1.0f);
  auto packed = [&](const Tensor& weight, bool integers) {
    return PackedWeight(weight, integers ? torch::ones({weight.size(0)}) : Tensor(),
                        integers ? &by_one : nullptr, integer_products());
  };
  const bool integers = integer_products() != IntegerProducts::floats;
  // Few blocks; many, as single zeros leave of 80%; inputs that are no blocks of four.
  EXPECT_EQ(packed(pruned(96, 384, 0.02, 4, true), true).sparse(), integers);
  EXPECT_FALSE(packed(pruned(96, 384, 0.2, 1, true), true).sparse());
  EXPECT_FALSE(packed(pruned(96, 382, 0.04, 4, true), true).sparse());
  EXPECT_FALSE(packed(pruned(96, 384, 1, 4, true), true).sparse());
  EXPECT_TRUE(packed(pruned(96, 384, 0.2, 1, false), false).sparse());
  EXPECT_TRUE(packed(pruned(96, 382, 0.1, 4, false), false).sparse());
  EXPECT_FALSE(packed(pruned(96, 384, 0.7, 1, false), false).sparse());
  EXPECT_FALSE(packed(torch::empty({0, 4}), false).sparse());
}

TEST(SparseWeight, KernelsTellHowAModelIsMultiplied) {
  torch::NoGradGuard no_grad;
  auto model = build(tiny_bert(HeadKind::classification), 1);
  for (Parameter& parameter : model->params().list()) {
    if (parameter.role == Role::ffn_in && parameter.latent.dim() == 2)
      parameter.latent.copy_(
          pruned(parameter.latent.size(0), parameter.latent.size(1), 0.1, 1, false));
    if (parameter.role == Role::query && parameter.latent.dim() == 2)
      parameter.latent.copy_(
          pruned(parameter.latent.size(0), parameter.latent.size(1), 0.1, 4, false));
  }
  model->params().refresh(Precision::float32);
  EXPECT_THAT(kernels(model->params()), testing::IsEmpty());
  data::Batch batch = random_batch({7, 3, 12});
  Tensor sparse, dense;
  {
    const PackedWeights packed(model->params());
    sparse = model->forward(batch, {}, {}).logits;
    bool single = false, together = false;
    for (const NamedKernel& each : kernels(model->params())) {
      EXPECT_EQ(each.kernel.arithmetic, "float32");
      if (each.names.front() == "encoder.layer.0.intermediate.dense.weight") {
        single = true;
        EXPECT_EQ(each.kernel.pattern, "single");
        EXPECT_TRUE(each.kernel.sparse);
        EXPECT_NEAR(each.kernel.density, 0.12, 0.05);
      }
      if (each.names.size() == 3 && each.names.front().starts_with("encoder.layer.1.")) {
        together = true;
        EXPECT_EQ(each.kernel.pattern, "1 x 4");
        EXPECT_FALSE(each.kernel.sparse);  // two thirds of the group are dense
        EXPECT_EQ(each.outputs, 3 * each.inputs);
      }
    }
    EXPECT_TRUE(single && together);
  }
  {
    const PackedWeights packed(model->params(), integer_products(), Zeros::multiplied);
    dense = model->forward(batch, {}, {}).logits;
  }
  EXPECT_TRUE(torch::equal(sparse, dense));
}

}  // namespace
}  // namespace compress::nn
