// What is plugged into a model's layers, and what it writes with keys and values kept.

#include "compress/nn/plugs.h"

#include <gtest/gtest.h>

#include <cmath>

#include "compress/base/error.h"
#include "compress/nn/decoding.h"
#include "support.h"
#include "writers.h"

namespace compress::nn {
namespace {

using torch::Tensor;

data::Batch rows_of(const std::vector<std::vector<int64_t>>& rows) {
  std::vector<int64_t> lengths;
  for (const auto& row : rows) lengths.push_back(static_cast<int64_t>(row.size()));
  data::Batch batch = random_batch(lengths);
  std::vector<int64_t> ids;
  for (const auto& row : rows) ids.insert(ids.end(), row.begin(), row.end());
  batch.token_ids = torch::tensor(ids);
  batch.segment_ids = torch::zeros_like(batch.token_ids);
  return batch;
}

std::unique_ptr<Model> built(const ModelState& state) {
  auto model = build(state, 1);
  model->params().refresh(Precision::float32);
  return model;
}

// Logits [T, V] of every token.
Tensor all_logits(Model& model, const data::Batch& batch) {
  torch::NoGradGuard no_grad;
  return model.forward(batch, {}, {}).token_logits;
}

// What the tests add to a layer's states [.., width]: not one number for all columns, as a layer
// norm takes the mean away.
Tensor ramp(int64_t width, double by) {
  return torch::linspace(-by, 2 * by, width);
}

// Counts its calls, and changes what it is told to.
struct Recorder : Plugs {
  std::vector<std::pair<int64_t, Sublayer>> places;
  std::vector<int64_t> layers;
  double before = 0, after = 0;
  Tensor front;  // [P, width] of keys and of values

  Tensor before_layer(const Tensor& x, int64_t layer, const RowInfo&) override {
    layers.push_back(layer);
    return before == 0 ? x : x + ramp(x.size(-1), before);
  }
  Tensor sublayer_output(const Tensor& x, Place place, const RowInfo&) override {
    places.emplace_back(place.layer, place.sublayer);
    return after == 0 ? x : x + ramp(x.size(-1), after);
  }
  std::pair<Tensor, Tensor> prefix(Place, const RowInfo&) override {
    if (!front.defined()) return {};
    return {front, front * 0.5};
  }
};

TEST(Plugs, SeeEveryLayerAndSublayerInOrder) {
  auto model = built(tiny_t5(2));
  Recorder plugs;
  model->plug(&plugs);
  data::Batch batch = rows_of({{5, 6, 7}, {8, 9}});
  batch.decoder = std::make_shared<data::Batch>(rows_of({{4, 3}, {2, 1, 7}}));
  all_logits(*model, batch);
  EXPECT_EQ(plugs.layers, (std::vector<int64_t>{0, 1, 2, 3}));
  using S = Sublayer;
  EXPECT_EQ(plugs.places, (std::vector<std::pair<int64_t, S>>{{0, S::attention},
                                                              {0, S::feed_forward},
                                                              {1, S::attention},
                                                              {1, S::feed_forward},
                                                              {2, S::attention},
                                                              {2, S::cross_attention},
                                                              {2, S::feed_forward},
                                                              {3, S::attention},
                                                              {3, S::cross_attention},
                                                              {3, S::feed_forward}}));
}

TEST(Plugs, ThatDoNothingChangeNothing) {
  for (const ModelState& state : {tiny_bert(HeadKind::masked_lm), tiny_gpt2(2), tiny_t5(2)}) {
    auto model = built(state);
    const data::Batch batch = rows_of({{5, 6, 7}, {8, 9}});
    const Tensor plain = all_logits(*model, batch);
    Recorder plugs;
    model->plug(&plugs);
    EXPECT_TRUE(torch::equal(all_logits(*model, batch), plain)) << state.config.family;
    plugs.before = 0.5;
    EXPECT_FALSE(torch::allclose(all_logits(*model, batch), plain)) << state.config.family;
    plugs.before = 0;
    plugs.after = 0.5;
    EXPECT_FALSE(torch::allclose(all_logits(*model, batch), plain)) << state.config.family;
  }
}

// Shifting a layer's input is shifting what the embeddings gave, or the sub-layer before added.
TEST(Plugs, BeforeALayerActsOnTheResidual) {
  ModelState state = tiny_gpt2(1);
  auto model = built(state);
  Recorder plugs;
  plugs.before = 0.25;
  model->plug(&plugs);
  const data::Batch batch = rows_of({{5, 6, 7}, {8, 9}});
  const Tensor shifted = all_logits(*model, batch);
  Tensor& positions = state.tensors["wpe.weight"];
  positions += ramp(positions.size(-1), 0.25);
  EXPECT_TRUE(torch::allclose(all_logits(*built(state), batch), shifted, 1e-5, 1e-6));
}

TEST(Plugs, AfterASublayerActsOnItsBias) {
  ModelState state = tiny_gpt2(2);
  auto model = built(state);
  Recorder plugs;
  plugs.after = 0.25;
  model->plug(&plugs);
  const data::Batch batch = rows_of({{5, 6, 7}, {8, 9}});
  const Tensor shifted = all_logits(*model, batch);
  for (const char* name : {"h.0.attn.c_proj.bias", "h.0.mlp.c_proj.bias", "h.1.attn.c_proj.bias",
                           "h.1.mlp.c_proj.bias"})
    state.tensors[name] += ramp(state.tensors[name].size(-1), 0.25);
  EXPECT_TRUE(torch::allclose(all_logits(*built(state), batch), shifted, 1e-5, 1e-6));
}

// A prefix of one token's keys and values is that token, which all rows then see in front; without
// positions in the way, as nothing moves a token's keys but the positions table.
TEST(Plugs, PrefixesAreSeenByEveryToken) {
  ModelState state = tiny_gpt2(1);
  state.tensors["wpe.weight"].zero_();
  auto model = built(state);
  const Tensor with_front = all_logits(*model, rows_of({{3, 5, 6, 7}})).narrow(0, 1, 3);
  // The keys and values of token 3, which sees itself alone.
  torch::NoGradGuard no_grad;
  const Tensor x = state.tensors["wte.weight"][3].unsqueeze(0);
  const Tensor normed = at::layer_norm(x, {16}, state.tensors["h.0.ln_1.weight"],
                                       state.tensors["h.0.ln_1.bias"], state.config.norm_eps);
  const Tensor qkv = at::linear(normed, state.tensors["h.0.attn.c_attn.weight"],
                                state.tensors["h.0.attn.c_attn.bias"]);
  struct Front : Plugs {
    Tensor keys, values;
    std::pair<Tensor, Tensor> prefix(Place, const RowInfo&) override { return {keys, values}; }
  } plugs;
  plugs.keys = qkv.narrow(1, 16, 16);
  plugs.values = qkv.narrow(1, 32, 16);
  model->plug(&plugs);
  EXPECT_TRUE(torch::allclose(all_logits(*model, rows_of({{5, 6, 7}})), with_front, 1e-5, 1e-6));
}

TEST(Plugs, PrefixesGetGradients) {
  for (const ModelState& state : {tiny_bert(HeadKind::masked_lm), tiny_gpt2(1), tiny_t5(1)}) {
    auto model = built(state);
    Recorder plugs;
    const int64_t width = state.config.family == "bert" ? 32 : 16;
    plugs.front = torch::full({3, width}, 0.3).requires_grad_(true);
    model->plug(&plugs);
    model->forward(rows_of({{5, 6, 7}, {8, 9}}), {}, {}).token_logits.square().sum().backward();
    EXPECT_GT(plugs.front.grad().abs().min().item<float>(), 0) << state.config.family;
  }
}

// Several plugs act one after the other, and their prefixes lie one behind the other.
TEST(Plugs, MayBeSeveral) {
  for (const ModelState& state : {tiny_bert(HeadKind::masked_lm), tiny_gpt2(2), tiny_t5(1)}) {
    const int64_t width = state.config.family == "bert" ? 32 : 16;
    auto model = built(state);
    const data::Batch batch = rows_of({{5, 6, 7}, {8, 9}});
    const Tensor plain = all_logits(*model, batch);
    Recorder one, two, both;
    one.front = torch::full({1, width}, 0.3);
    two.front = torch::full({2, width}, -0.2);
    both.front = torch::cat({one.front, two.front});
    one.before = 0.25;
    two.before = 0.5;
    both.before = 0.75;
    model->plug(&one);
    model->plug(&two);
    const Tensor seen = all_logits(*model, batch);
    EXPECT_EQ(one.layers.size(), two.layers.size());
    model->unplug(&one);
    model->unplug(&two);
    EXPECT_TRUE(torch::equal(all_logits(*model, batch), plain)) << state.config.family;
    model->plug(&both);
    EXPECT_TRUE(torch::allclose(all_logits(*model, batch), seen, 1e-4, 1e-5))
        << state.config.family;
  }
}

// What a plug changes between attention and the feed-forward unit is what attention would have
// added: the bias of its output, where norms come first.
TEST(Plugs, BeforeTheFeedForwardUnitActsOnTheResidual) {
  ModelState state = tiny_gpt2(1);
  auto model = built(state);
  struct Between : Plugs {
    Tensor before_feed_forward(const Tensor& x, int64_t, const RowInfo&) override {
      return x + ramp(x.size(-1), 0.25);
    }
  } plugs;
  model->plug(&plugs);
  const data::Batch batch = rows_of({{5, 6, 7}, {8, 9}});
  const Tensor shifted = all_logits(*model, batch);
  Tensor& bias = state.tensors["h.0.attn.c_proj.bias"];
  bias += ramp(bias.size(-1), 0.25);
  EXPECT_TRUE(torch::allclose(all_logits(*built(state), batch), shifted, 1e-5, 1e-6));
}

TEST(Plugs, MayTurnDropoutOnHiddenStatesOff) {
  ModelState state = tiny_bert(HeadKind::masked_lm);
  state.config.hidden_dropout = 0.5;
  state.config.attention_dropout = 0;
  struct Quiet : Plugs {
    bool drops_hidden() const override { return false; }
  } quiet;
  auto model = built(state);
  const data::Batch batch = rows_of({{5, 6, 7}, {8, 9}});
  torch::NoGradGuard no_grad;
  const Tensor still = model->forward(batch, {}, {}).token_logits;
  const Pass training{true, 3, Precision::float32};
  EXPECT_FALSE(torch::allclose(model->forward(batch, {}, training).token_logits, still));
  model->plug(&quiet);
  EXPECT_TRUE(torch::equal(model->forward(batch, {}, training).token_logits, still));
}

// The laws: mean and variance of many draws; each element by itself; parts as the whole.
TEST(Noise, FollowsItsLaw) {
  const Tensor like = torch::zeros({2000, 31});
  const Tensor normal = noise(like, Law::normal, 5, 0), uniform = noise(like, Law::uniform, 5, 0);
  EXPECT_NEAR(normal.mean().item<double>(), 0, 4 / std::sqrt(62000.0));
  EXPECT_NEAR(normal.var().item<double>(), 1, 0.03);
  EXPECT_NEAR(normal.pow(4).mean().item<double>(), 3, 0.2);
  EXPECT_NEAR(normal.abs().lt(1).to(torch::kFloat).mean().item<double>(), 0.6827, 0.01);
  EXPECT_NEAR(uniform.mean().item<double>(), 0.5, 0.01);
  EXPECT_NEAR(uniform.var().item<double>(), 1 / 12.0, 0.002);
  EXPECT_GE(uniform.min().item<double>(), 0);
  EXPECT_LT(uniform.max().item<double>(), 1);
  // Neighbours that share a counter are independent.
  const Tensor flat = normal.reshape({-1, 2});
  EXPECT_NEAR((flat.select(1, 0) * flat.select(1, 1)).mean().item<double>(), 0, 0.03);
  for (Law law : {Law::normal, Law::uniform}) {
    const Tensor all = noise(like, law, 5, 0);
    EXPECT_TRUE(torch::equal(noise(like.narrow(0, 0, 700), law, 5, 13), all.narrow(0, 13, 700)));
    EXPECT_FALSE(torch::equal(noise(like, law, 6, 0), all));
  }
}

// --- decoding

// Logits behind each row's last token are forward()'s, whether a row is read at once or in pieces.
void expect_same_as_forward(Model& model, const data::Batch* source,
                            const std::vector<std::vector<int64_t>>& rows, double tolerance) {
  data::Batch whole = rows_of(rows);
  Tensor expected;
  if (source != nullptr) {
    data::Batch batch = *source;  // the decoder reads its rows behind the start token
    batch.decoder = std::make_shared<data::Batch>(whole);
    expected = all_logits(model, batch);
  } else {
    expected = all_logits(model, whole);
  }
  torch::NoGradGuard no_grad;
  Decoding decoding = model.begin_decoding(source != nullptr ? *source : whole, 1, 8, {});
  for (size_t at = 0; at < 3; ++at) {
    std::vector<std::vector<int64_t>> piece;
    std::vector<int64_t> last;
    for (size_t row = 0; row < rows.size(); ++row) {
      // The first piece is all but the last two tokens of the row.
      const size_t left = rows[row].size() - 2, begin = at == 0 ? 0 : left + at - 1,
                   end = left + at;
      std::vector<int64_t> tokens(rows[row].begin() + static_cast<std::ptrdiff_t>(begin),
                                  rows[row].begin() + static_cast<std::ptrdiff_t>(end));
      if (source != nullptr) {  // shifted by one place
        tokens.insert(tokens.begin(), begin == 0 ? 0 : rows[row][begin - 1]);
        tokens.pop_back();
      }
      piece.push_back(tokens);
      last.push_back(whole.row_offsets[row] + static_cast<int64_t>(end) - 1);
    }
    const Tensor logits = model.decode(decoding, rows_of(piece), {});
    EXPECT_TRUE(torch::allclose(logits, expected.index_select(0, torch::tensor(last)), tolerance,
                                tolerance))
        << "piece " << at;
  }
}

TEST(Decoding, GivesTheLogitsOfForward) {
  auto gpt2 = built(tiny_gpt2(2));
  expect_same_as_forward(*gpt2, nullptr, {{5, 6, 7, 8, 9}, {3, 4, 5}}, 1e-5);
  auto t5 = built(tiny_t5(2));
  const data::Batch source = rows_of({{5, 6, 7}, {8, 9, 1, 2}});
  expect_same_as_forward(*t5, &source, {{5, 6, 7, 8, 9}, {3, 4, 5}}, 1e-5);
}

TEST(Decoding, KeepsPrefixesOutsideOfItsCapacity) {
  auto model = built(tiny_gpt2(2));
  Recorder plugs;
  plugs.front = torch::full({3, 16}, 0.3);
  model->plug(&plugs);
  const std::vector<std::vector<int64_t>> rows = {{5, 6, 7, 8, 9, 1, 2, 3}, {3, 4, 5}};
  expect_same_as_forward(*model, nullptr, rows, 1e-5);
}

TEST(Decoding, SelectsRows) {
  auto model = built(tiny_gpt2(2));
  torch::NoGradGuard no_grad;
  const data::Batch prompt = rows_of({{5, 6, 7}, {3, 4}});
  Decoding decoding = model->begin_decoding(prompt, 1, 6, {});
  model->decode(decoding, prompt, {});
  decoding.select({1, 0, 1});
  EXPECT_EQ(decoding.lengths, (std::vector<int64_t>{2, 3, 2}));
  const Tensor logits = model->decode(decoding, rows_of({{9}, {9}, {8}}), {});
  const Tensor expected = all_logits(*model, rows_of({{3, 4, 9}, {5, 6, 7, 9}, {3, 4, 8}}));
  EXPECT_TRUE(torch::allclose(
      logits, expected.index_select(0, torch::tensor({int64_t{2}, int64_t{6}, int64_t{9}})), 1e-5,
      1e-6));
}

TEST(Decoding, NeedsAHeadThatWrites) {
  auto model = built(tiny_bert(HeadKind::masked_lm));
  EXPECT_THROW(model->begin_decoding(rows_of({{5, 6}}), 1, 4, {}), Error);
}

}  // namespace
}  // namespace compress::nn
