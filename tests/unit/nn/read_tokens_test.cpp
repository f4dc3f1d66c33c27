// Heads that read the first token of each row alone: the last layer computes no other.

#include <gtest/gtest.h>

#include "compress/nn/architecture.h"
#include "compress/nn/plugs.h"
#include "support.h"

namespace compress::nn {
namespace {

using torch::Tensor;

// How many rows each sub-layer gives.
struct Counter : Plugs {
  std::vector<int64_t> rows;
  Tensor sublayer_output(const Tensor& x, Place, const RowInfo& info) override {
    EXPECT_EQ(info.of(x).size(0), x.size(0));
    rows.push_back(x.size(0));
    return x;
  }
};

std::vector<int64_t> counted(Model& model, const data::Batch& batch, const Capture& capture) {
  torch::NoGradGuard no_grad;
  Counter counter;
  model.plug(&counter);
  model.params().refresh(Precision::float32);
  model.forward(batch, capture, {});
  model.unplug(&counter);
  return counter.rows;
}

Capture last_states() {
  Capture capture;
  capture.hidden.add(2);
  return capture;
}

TEST(ReadTokens, OnlyTheLastLayerNarrowsAndOnlyWhereNothingElseIsRead) {
  const data::Batch batch = random_batch({9, 5, 12});
  const std::vector<int64_t> narrow = {26, 26, 3, 3}, wide = {26, 26, 26, 26};
  auto classifier = build(tiny_bert(HeadKind::classification), 1);
  EXPECT_EQ(counted(*classifier, batch, {}), narrow);
  EXPECT_EQ(counted(*classifier, batch, last_states()), wide);
  Capture scores;
  scores.attention.add(1);
  EXPECT_EQ(counted(*classifier, batch, scores), wide);
  Capture before;  // states and scores of the layer before
  before.hidden.add(1);
  before.attention.add(0);
  EXPECT_EQ(counted(*classifier, batch, before), narrow);
  EXPECT_EQ(counted(*build(tiny_bert(HeadKind::masked_lm), 1), batch, {}), wide);
  ModelState both = classifier->state();
  set_more_heads(both, {{.name = "words", .kind = HeadKind::masked_lm}});
  auto two = build(both, 1);
  Capture words;
  words.heads = {"words"};
  EXPECT_EQ(counted(*two, batch, words), wide);
  EXPECT_EQ(counted(*two, batch, {}), narrow);
}

TEST(ReadTokens, AnEmbeddingOfTheFirstTokenIsTheSame) {
  ModelState state = tiny_bert(HeadKind::embedding);
  state.config.pooling = "cls";
  auto model = build(state, 1);
  const data::Batch batch = random_batch({9, 5, 12});
  model->params().refresh(Precision::float32);
  torch::NoGradGuard no_grad;
  const Tensor narrow = model->forward(batch, {}, {}).pooled,
               wide = model->forward(batch, last_states(), {}).pooled;
  EXPECT_LT((narrow - wide).abs().max().item<float>(), 2e-6f);
  EXPECT_EQ(counted(*model, batch, {}).back(), 3);
}

// With dropout: what a token draws does not depend on which others are computed.
TEST(ReadTokens, LogitsAndGradientsAreThoseOfAllTokens) {
  for (const Precision precision : {Precision::float32, Precision::bf16}) {
    auto model = build(tiny_bert(HeadKind::classification), 1);
    data::Batch batch = random_batch({9, 5, 12});
    batch.part = {.first_row = 4, .first_token = 31, .rows = 9, .tokens = 80};
    ParamTable& params = model->params();
    auto gradients = [&](const Capture& capture, Tensor& logits) {
      params.clear_gradients();
      params.refresh(precision);
      logits = model->forward(batch, capture, {true, 77, precision}).logits;
      logits.mul(torch::tensor({{1.0f, -2.0f}})).sum().backward();
      params.collect_gradients(false);
      TensorMap map;
      for (const Parameter& each : params.list()) map[each.name] = each.latent.grad().clone();
      return map;
    };
    Tensor narrow, wide;
    const TensorMap ours = gradients({}, narrow), all = gradients(last_states(), wide);
    // Sums over rows have another order; bf16 rounds to 8 bits.
    const double bound = precision == Precision::float32 ? 1e-5 : 3e-2;
    EXPECT_LT((narrow - wide).abs().max().item<double>(), bound);
    for (const auto& [name, gradient] : all)
      EXPECT_LE((ours.at(name) - gradient).abs().max().item<double>(),
                bound * gradient.abs().max().item<double>() + 1e-7)
          << name << " " << precision_name(precision);
  }
}

}  // namespace
}  // namespace compress::nn
