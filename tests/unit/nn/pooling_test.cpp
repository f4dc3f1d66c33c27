#include "compress/nn/pooling.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "compress/base/error.h"
#include "compress/nn/architecture.h"
#include "support.h"

namespace compress::nn {
namespace {

using torch::Tensor;

// Rows of three, one and two tokens, two wide.
struct Pooling : testing::Test {
  data::Batch batch = random_batch({3, 1, 2});
  Tensor states = torch::tensor(
      {{1.0f, -4.0f}, {3.0f, 0.0f}, {2.0f, 1.0f}, {7.0f, -7.0f}, {-1.0f, 5.0f}, {-2.0f, 8.0f}});

  void expect(const std::string& pooling, const Tensor& due) const {
    const Tensor found = pooled_rows(states, batch, pooling);
    EXPECT_EQ(found.scalar_type(), torch::kFloat32);
    EXPECT_TRUE(torch::allclose(found, due, 0, 1e-6)) << pooling << ": " << found;
  }
};

TEST_F(Pooling, OfEachModeIsTheFormulasValue) {
  expect("cls", torch::tensor({{1.0f, -4.0f}, {7.0f, -7.0f}, {-1.0f, 5.0f}}));
  expect("lasttoken", torch::tensor({{2.0f, 1.0f}, {7.0f, -7.0f}, {-2.0f, 8.0f}}));
  expect("max", torch::tensor({{3.0f, 1.0f}, {7.0f, -7.0f}, {-1.0f, 8.0f}}));
  expect("mean", torch::tensor({{2.0f, -1.0f}, {7.0f, -7.0f}, {-1.5f, 6.5f}}));
  const float three = std::sqrt(3.0f), two = std::sqrt(2.0f);
  expect("mean_sqrt_len_tokens",
         torch::tensor({{6 / three, -3 / three}, {7.0f, -7.0f}, {-3 / two, 13 / two}}));
  // (1 + 2 * 3 + 3 * 2) / 6, (-4 + 0 + 3) / 6; (-1 - 4) / 3, (5 + 16) / 3.
  expect("weightedmean", torch::tensor({{13.0f / 6, -1.0f / 6}, {7.0f, -7.0f}, {-5.0f / 3, 7.0f}}));
}

TEST_F(Pooling, SeveralModesAreJoinedInTheirOrder) {
  const Tensor found = pooled_rows(states, batch, "mean+cls");
  EXPECT_EQ(found.sizes(), (std::vector<int64_t>{3, 4}));
  EXPECT_TRUE(torch::equal(found[0], torch::tensor({2.0f, -1.0f, 1.0f, -4.0f})));
}

TEST_F(Pooling, GradientsGoToTheTokensThatWereRead) {
  auto gradient = [&](const std::string& pooling) {
    const Tensor leaf = states.clone().requires_grad_(true);
    pooled_rows(leaf, batch, pooling).select(1, 0).sum().backward();
    return leaf.grad().select(1, 0).contiguous();
  };
  EXPECT_TRUE(torch::equal(gradient("cls"), torch::tensor({1.0f, 0.0f, 0.0f, 1.0f, 1.0f, 0.0f})));
  EXPECT_TRUE(
      torch::equal(gradient("lasttoken"), torch::tensor({0.0f, 0.0f, 1.0f, 1.0f, 0.0f, 1.0f})));
  EXPECT_TRUE(torch::equal(gradient("max"), torch::tensor({0.0f, 1.0f, 0.0f, 1.0f, 1.0f, 0.0f})));
  const Tensor weighted = torch::tensor({1.0f / 6, 2.0f / 6, 3.0f / 6, 1.0f, 1.0f / 3, 2.0f / 3});
  EXPECT_TRUE(torch::allclose(gradient("weightedmean"), weighted));
  const float three = 1 / std::sqrt(3.0f), two = 1 / std::sqrt(2.0f);
  EXPECT_TRUE(torch::allclose(gradient("mean_sqrt_len_tokens"),
                              torch::tensor({three, three, three, 1.0f, two, two})));
}

TEST_F(Pooling, OfNarrowStatesIsSummedInFloat32) {
  const Tensor many = torch::full({300, 1}, 1.0f, torch::kBFloat16);
  const data::Batch rows = random_batch({300});
  EXPECT_EQ(pooled_rows(many, rows, "mean").item<float>(), 1.0f);
  EXPECT_NEAR(pooled_rows(many, rows, "mean_sqrt_len_tokens").item<float>(), 17.320508f, 1e-4);
}

TEST_F(Pooling, UnknownOnesAreNamed) {
  try {
    pooling_list("mean+median");
    ADD_FAILURE() << "no Error was thrown";
  } catch (const Error& error) {
    EXPECT_THAT(error.message(), testing::HasSubstr("'median'"));
    EXPECT_THAT(error.hint(), testing::HasSubstr("lasttoken"));
  }
  EXPECT_TRUE(reads_single_tokens("cls+lasttoken"));
  EXPECT_FALSE(reads_single_tokens("cls+max"));
}

TEST(EmbeddingHead, ProjectsWhatItsModesGiveAndNormalises) {
  ModelState state = tiny_bert(HeadKind::embedding);
  state.config.pooling = "cls+max";
  state.config.projection = 5;
  state.config.normalize = true;
  const auto model = build(state, 1);
  EXPECT_EQ(model->params().find("projection.weight")->latent.sizes(),
            (std::vector<int64_t>{5, 64}));
  model->params().refresh(Precision::float32);
  const Tensor pooled = model->forward(random_batch({4, 6}), {}, {}).pooled;
  EXPECT_EQ(pooled.sizes(), (std::vector<int64_t>{2, 5}));
  EXPECT_TRUE(torch::allclose(pooled.norm(2, 1), torch::ones({2})));
}

TEST(DecoderHead, ReadsTheLastTokenThatIsNoPadding) {
  ModelState state;
  state.config = family("gpt2").read_config({{"model_type", "gpt2"},
                                             {"architectures", {"GPT2ForSequenceClassification"}},
                                             {"vocab_size", 50},
                                             {"n_embd", 8},
                                             {"n_layer", 1},
                                             {"n_head", 2},
                                             {"n_positions", 16},
                                             {"pad_token_id", 4},
                                             {"num_labels", 3}});
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(5);
  auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    state.tensors[name] = torch::empty(shape).normal_(0, 0.5, generator);
  };
  add("wte.weight", {50, 8});
  add("wpe.weight", {16, 8});
  for (const char* norm : {"h.0.ln_1", "h.0.ln_2", "ln_f"})
    for (const char* part : {".weight", ".bias"}) add(std::string(norm) + part, {8});
  for (const auto& [name, out, in] : {std::tuple{"h.0.attn.c_attn", 24, 8},
                                      {"h.0.attn.c_proj", 8, 8},
                                      {"h.0.mlp.c_fc", 32, 8},
                                      {"h.0.mlp.c_proj", 8, 32}}) {
    add(std::string(name) + ".weight", {out, in});
    add(std::string(name) + ".bias", {out});
  }
  add("score.weight", {3, 8});
  const auto model = build(state, 1);
  model->params().refresh(Precision::float32);
  auto logits = [&](std::vector<int64_t> ids, std::vector<int64_t> lengths) {
    data::Batch batch = random_batch(lengths);
    batch.token_ids = torch::tensor(ids);
    return model->forward(batch, {}, {}).logits;
  };
  // A causal model's states do not depend on what follows.
  const Tensor cut = logits({9, 8, 7, 4, 6}, {2, 1, 2});
  const Tensor whole = logits({9, 8, 4, 4, 7, 4, 6, 4}, {4, 1, 3});
  EXPECT_TRUE(torch::allclose(whole, cut, 1e-5, 1e-6)) << whole << cut;
  const Tensor padding = logits({4, 4, 4}, {3}), first = logits({4}, {1});
  EXPECT_TRUE(torch::allclose(padding, first, 1e-5, 1e-6));
}

}  // namespace
}  // namespace compress::nn
