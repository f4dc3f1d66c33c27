// Embeddings with some of their tables, and linear layers without a bias.

#include <gtest/gtest.h>

#include "compress/nn/layers.h"
#include "compress/nn/packed.h"
#include "support.h"

namespace compress::nn {
namespace {

using torch::Tensor;

struct Tables {
  ParamTable table;
  Parameter *word, *position, *segment, *one;
  Tables() {
    torch::manual_seed(1);
    auto add = [&](const char* name, int64_t rows) {
      Parameter& parameter = table.add(name, Role::embedding, -1, torch::randn({rows, 12}));
      parameter.row_gradient = true;
      return &parameter;
    };
    word = add("word", 50);
    position = add("position", 40);
    segment = add("segment", 2);
    one = add("one", 1);
  }
};

Tensor rows_of(const Parameter* table, const Tensor& ids) {
  return table->latent.detach().index_select(0, ids);
}

TEST(Embeddings, AreTheSumOfTheTablesThatAreThere) {
  Tables t;
  const data::Batch batch = random_batch({5, 9});
  auto near = [](const Tensor& a, const Tensor& b) {
    return (a - b).abs().max().item<float>() < 1e-6f;
  };
  const Tensor words = rows_of(t.word, batch.token_ids);
  torch::NoGradGuard no_grad;
  EXPECT_TRUE(torch::equal(Embeddings{t.word}(batch, 14), words));
  EXPECT_TRUE(near(Embeddings{.word = t.word, .position = t.position}(batch, 14),
                   words + rows_of(t.position, batch.positions)));
  EXPECT_TRUE(near(Embeddings{.word = t.word, .segment = t.segment}(batch, 14),
                   words + rows_of(t.segment, batch.segment_ids)));
  EXPECT_TRUE(torch::equal(Embeddings{.position = t.position}(batch, 14),
                           rows_of(t.position, batch.positions)));
  // Segments 0 and 1 are one where the table has one row.
  EXPECT_TRUE(near(Embeddings{.word = t.word, .segment = t.one}(batch, 14), words + t.one->latent));
  EXPECT_TRUE(
      near(Embeddings{.word = t.word, .position = t.position, .position_offset = 2, .scale = 3}(
               batch, 14),
           words * 3 + rows_of(t.position, batch.positions + 2)));
  const Tensor longer = Embeddings{t.word}(batch, 16);
  ASSERT_EQ(longer.size(0), 16);
  EXPECT_EQ(longer.slice(0, 14).abs().max().item<float>(), 0);
  EXPECT_THROW(
      (Embeddings{.word = t.word, .position = t.position, .position_offset = 32}(batch, 14)),
      c10::IndexError);
}

TEST(Embeddings, GradientsGoToTouchedRows) {
  Tables t;
  const data::Batch batch = random_batch({5, 9});
  Embeddings embeddings{t.word, t.position, t.one, 2, 3};
  const Tensor upstream = torch::randn({16, 12});
  (embeddings(batch, 16) * upstream).sum().backward();
  auto expected = [&](const Parameter* table, const Tensor& ids, double scale) {
    return torch::zeros_like(table->latent.detach())
        .index_add(0, ids, upstream.narrow(0, 0, 14) * scale);
  };
  auto near = [](const Tensor& a, const Tensor& b) {
    return (a - b).abs().max().item<float>() < 1e-5f;
  };
  EXPECT_TRUE(near(t.word->latent.grad(), expected(t.word, batch.token_ids, 3)));
  EXPECT_TRUE(near(t.position->latent.grad(), expected(t.position, batch.positions + 2, 1)));
  EXPECT_TRUE(near(t.one->latent.grad(), expected(t.one, torch::zeros({14}, torch::kInt64), 1)));
  EXPECT_FALSE(t.segment->latent.grad().defined());
  ASSERT_EQ(t.position->touched.size(), 1u);
  EXPECT_TRUE(torch::equal(t.position->touched[0], batch.positions + 2));
  // Without positions, too.
  t.table.clear_gradients();
  (Embeddings{.word = t.word}(batch, 16) * upstream).sum().backward();
  EXPECT_TRUE(near(t.word->latent.grad(), expected(t.word, batch.token_ids, 1)));
}

// Rounds to whole numbers and counts the rows that it saw.
struct Whole final : WeightTransform {
  int64_t rows = 0;
  void forward(Parameter&, Tensor& weight) override {
    rows += weight.size(0);
    weight.mul_(4).round_();
  }
  void backward(const Parameter&, Tensor&) override {}
};

TEST(Embeddings, TransformsActOnTheRowsThatAreRead) {
  Tables t;
  Whole whole;
  t.word->transforms.push_back(&whole);
  const data::Batch batch = random_batch({5, 9});
  const Embeddings embeddings{.word = t.word, .position = t.position, .scale = 3};
  t.table.refresh(Precision::float32);
  EXPECT_EQ(whole.rows, 0);
  EXPECT_TRUE(t.word->effective.is_same(t.word->latent));
  const Tensor upstream = torch::randn({14, 12});
  const Tensor out = embeddings(batch, 14);
  EXPECT_EQ(whole.rows, 14);
  const Tensor rounded = (rows_of(t.word, batch.token_ids) * 4).round();
  EXPECT_TRUE(torch::equal(out.detach(), rounded * 3 + rows_of(t.position, batch.positions)));
  (out * upstream).sum().backward();
  const Tensor expected =
      torch::zeros_like(t.word->latent.detach()).index_add(0, batch.token_ids, upstream * 3);
  EXPECT_TRUE(torch::equal(t.word->latent.grad(), expected));
  // A table that is there as a whole, as that of a tied output layer, is computed once; what the
  // output layer leaves and what the rows leave are one gradient.
  t.table.clear_gradients();
  t.word->row_gradient = false;
  t.table.refresh(Precision::float32);
  EXPECT_EQ(whole.rows, 14 + 50);
  const Tensor again = embeddings(batch, 14);
  EXPECT_EQ(whole.rows, 14 + 50);
  EXPECT_TRUE(torch::equal(again.detach(), out.detach()));
  ((again * upstream).sum() + (t.word->effective * 2).sum()).backward();
  t.table.collect_gradients(false);
  EXPECT_LT((t.word->latent.grad() - (expected + 2)).abs().max().item<float>(), 1e-5f);
  EXPECT_FALSE(t.word->effective.grad().defined());
}

TEST(FusedLinear, WithoutABias) {
  ParamTable table;
  torch::manual_seed(2);
  std::vector<Parameter*> weights;
  FusedLinear fused;
  for (const char* name : {"gate", "up"}) {
    weights.push_back(&table.add(name, Role::ffn_in, 0, torch::randn({40, 24})));
    fused.parts.push_back({weights.back(), nullptr});
  }
  fused.weight = &table.fuse(weights);
  table.refresh(Precision::float32);
  const Tensor x = torch::randn({3, 24});
  const Tensor expected = torch::cat(
      {torch::matmul(x, weights[0]->latent.t()), torch::matmul(x, weights[1]->latent.t())}, 1);
  auto near = [&](const Tensor& y) { return (y - expected).abs().max().item<float>() < 1e-5f; };
  EXPECT_TRUE(near(fused(x, {})));
  fused(x, {true}).sum().backward();
  table.collect_gradients(false);
  EXPECT_TRUE(weights[1]->latent.grad().defined());
  torch::NoGradGuard no_grad;
  PackedWeights packed(table);
  ASSERT_NE(fused.weight->packed, nullptr);
  EXPECT_TRUE(near(fused(x, {})));
  EXPECT_TRUE((fused.parts[1](x, {}) - expected.narrow(1, 40, 40)).abs().max().item<float>() <
              1e-5f);
}

}  // namespace
}  // namespace compress::nn
