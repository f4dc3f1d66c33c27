#include <gtest/gtest.h>

#include "compress/base/error.h"
#include "compress/nn/architecture.h"
#include "compress/nn/model.h"
#include "support.h"

namespace compress::nn {
namespace {

using torch::Tensor;

Outputs run(Model& model, const data::Batch& batch, Capture capture = {}, Pass pass = {}) {
  model.params().refresh(pass.precision);
  return model.forward(batch, capture, pass);
}

TEST(Bert, ARowDoesNotSeeItsNeighbours) {
  auto model = build(tiny_bert(HeadKind::classification), 1);
  data::Batch both = random_batch({9, 5, 12});
  Tensor together = run(*model, both).logits;
  for (int64_t row = 0; row < 3; ++row) {
    Tensor alone = run(*model, data::slice(both, row, row + 1)).logits;
    EXPECT_LT((together[row] - alone[0]).abs().max().item<float>(), 1e-6f);
  }
}

TEST(Bert, CapturesWhatIsAskedForAndNothingElse) {
  auto model = build(tiny_bert(HeadKind::classification), 1);
  data::Batch batch = random_batch({4, 6});
  Outputs plain = run(*model, batch);
  EXPECT_TRUE(plain.hidden.empty());
  EXPECT_TRUE(plain.attention.empty());
  EXPECT_FALSE(plain.pooled.defined());
  Outputs all = run(*model, batch, {true, true, true});
  ASSERT_EQ(all.hidden.size(), 3u);
  ASSERT_EQ(all.attention.size(), 2u);
  EXPECT_EQ(all.hidden[0].sizes(), (std::vector<int64_t>{10, 32}));
  EXPECT_EQ(all.attention[0].sizes(), (std::vector<int64_t>{2, 4, 6, 6}));
  EXPECT_EQ(all.pooled.sizes(), (std::vector<int64_t>{2, 32}));
  EXPECT_LT((all.logits - plain.logits).abs().max().item<float>(), 1e-5f);
}

// Every parameter's gradient against central differences in a random direction.
TEST(Bert, GradientsMatchFiniteDifferences) {
  auto model = build(tiny_bert(HeadKind::classification), 1);
  data::Batch batch = random_batch({9, 5, 12});
  Pass pass{true, 77, Precision::float32};  // with dropout: the same seed draws the same masks
  auto loss = [&] {
    model->params().refresh(pass.precision);
    return model->forward(batch, {}, pass).logits.mul(torch::tensor({{1.0f, -2.0f}})).sum();
  };
  loss().backward();
  model->params().collect_gradients(false);
  torch::manual_seed(6);
  for (Parameter& parameter : model->params().list()) {
    ASSERT_TRUE(parameter.latent.grad().defined()) << parameter.name;
    torch::NoGradGuard no_grad;
    Tensor direction = torch::randn(parameter.latent.sizes());
    const double step = 2e-3 / direction.norm().item<double>();
    Tensor kept = parameter.latent.clone();
    parameter.latent.copy_(kept + step * direction);
    double high = loss().item<double>();
    parameter.latent.copy_(kept - step * direction);
    double low = loss().item<double>();
    parameter.latent.copy_(kept);
    double analytic = (parameter.latent.grad() * direction).sum().item<double>();
    EXPECT_NEAR((high - low) / (2 * step), analytic, 0.02 * std::abs(analytic) + 0.02)
        << parameter.name;
  }
}

TEST(Bert, EmbeddingGradientsAreClearedInTouchedRows) {
  auto model = build(tiny_bert(HeadKind::classification), 1);
  ParamTable& params = model->params();
  Tensor first;
  for (int round = 0; round < 2; ++round) {
    run(*model, random_batch({5, 7}, 20 + round), {}, {true, 1, Precision::float32})
        .logits.sum()
        .backward();
    params.collect_gradients(false);
    params.clear_gradients();
    for (const char* name :
         {"embeddings.word_embeddings.weight", "embeddings.position_embeddings.weight"}) {
      EXPECT_EQ(params.find(name)->latent.grad().count_nonzero().item<int64_t>(), 0) << name;
      EXPECT_TRUE(params.find(name)->touched.empty());
    }
    EXPECT_FALSE(params.find("pooler.dense.weight")->latent.grad().defined());
  }
}

TEST(Bert, AccumulatedGradientsAddUp) {
  auto model = build(tiny_bert(HeadKind::classification), 1);
  ParamTable& params = model->params();
  data::Batch batch = random_batch({9, 5, 12, 4});
  Pass pass;
  auto gradient = [&](const std::vector<data::Batch>& parts) {
    params.clear_gradients();
    params.refresh(pass.precision);
    for (size_t i = 0; i < parts.size(); ++i) {
      model->forward(parts[i], {}, pass).logits.select(1, 0).sum().backward();
      params.collect_gradients(i > 0);
    }
    TensorMap map;
    for (const Parameter& parameter : params.list())
      map[parameter.name] = parameter.latent.grad().clone();
    return map;
  };
  TensorMap whole = gradient({batch}),
            parts = gradient({data::slice(batch, 0, 1), data::slice(batch, 1, 4)});
  for (const auto& [name, value] : whole)
    EXPECT_LT((value - parts[name]).abs().max().item<float>(), 1e-5f) << name;
}

TEST(Bert, Bfloat16IsCloseAndKeepsFloat32Latents) {
  auto model = build(tiny_bert(HeadKind::classification), 1);
  data::Batch batch = random_batch({9, 5});
  Tensor exact = run(*model, batch).logits;
  Outputs rough = run(*model, batch, {}, {false, 0, Precision::bf16});
  EXPECT_EQ(rough.logits.scalar_type(), torch::kFloat32);
  EXPECT_LT((exact - rough.logits).abs().max().item<float>(), 0.05f);
  rough.logits.sum().backward();
  model->params().collect_gradients(false);
  for (const Parameter& parameter : model->params().list())
    EXPECT_EQ(parameter.latent.grad().scalar_type(), torch::kFloat32) << parameter.name;
}

struct Halve : WeightTransform {
  void forward(Parameter&, Tensor& weight) override { weight.mul_(0.5); }
  void backward(const Parameter&, Tensor& gradient) override { gradient.mul_(0.5); }
};

TEST(ParamTable, TransformsActOnceForwardAndBackward) {
  auto model = build(tiny_bert(HeadKind::classification), 1);
  Parameter& query = *model->params().find("encoder.layer.0.attention.self.query.weight");
  Halve halve;
  query.transforms = {&halve};
  model->params().refresh(Precision::float32);
  EXPECT_TRUE(torch::equal(query.effective.detach(), query.latent.detach() * 0.5));
  Pass pass;
  model->forward(random_batch({4, 8}), {}, pass).logits.sum().backward();
  model->params().collect_gradients(false);
  Tensor with = query.latent.grad().clone();
  auto plain = build(model->state(), 1);
  {
    torch::NoGradGuard no_grad;
    plain->params().find(query.name)->latent.mul_(0.5);
  }
  plain->params().refresh(Precision::float32);
  plain->forward(random_batch({4, 8}), {}, pass).logits.sum().backward();
  plain->params().collect_gradients(false);
  EXPECT_LT(
      (with - 0.5 * plain->params().find(query.name)->latent.grad()).abs().max().item<float>(),
      1e-6f);
}

TEST(ParamTable, SelectsByRoleGroupAndGlob) {
  auto model = build(tiny_bert(HeadKind::classification), 1);
  std::vector<std::string> unmatched;
  EXPECT_EQ(model->params().select({"encoder"}, &unmatched).size(), 12u);
  EXPECT_EQ(model->params().select({"attention"}, &unmatched).size(), 8u);
  EXPECT_EQ(model->params().select({"ffn_in", "query"}, &unmatched).size(), 4u);
  EXPECT_EQ(model->params().select({"encoder.layer.1.*"}, &unmatched).size(), 6u);
  EXPECT_EQ(model->params().select({"linear"}, &unmatched).size(), 14u);
  EXPECT_TRUE(unmatched.empty());
  model->params().select({"encoder.layer.9.*", "query"}, &unmatched);
  EXPECT_EQ(unmatched, std::vector<std::string>{"encoder.layer.9.*"});
}

TEST(Build, ListsEverythingThatDoesNotFit) {
  ModelState state = tiny_bert(HeadKind::classification);
  state.tensors.erase("encoder.layer.1.output.dense.bias");
  state.tensors["pooler.dense.bias"] = torch::zeros({3});
  try {
    build(state, 1);
    FAIL() << "built";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::model);
    EXPECT_NE(error.message().find("encoder.layer.1.output.dense.bias is missing"),
              std::string::npos);
    EXPECT_NE(error.message().find("pooler.dense.bias has shape [3]"), std::string::npos);
  }
}

TEST(Heads, ChangeAndKeep) {
  ModelState state = tiny_bert(HeadKind::classification);
  auto model = build(state, 1);
  state = model->state();
  Tensor kept = state.tensors.at("classifier.weight").clone();
  set_head(state, HeadKind::classification, {"no", "yes"});
  EXPECT_TRUE(torch::equal(build(state, 2)->params().find("classifier.weight")->latent, kept));
  set_head(state, HeadKind::classification, {"a", "b", "c"});
  EXPECT_EQ(build(state, 2)->params().find("classifier.weight")->latent.size(0), 3);
  set_head(state, HeadKind::regression, {});
  EXPECT_EQ(build(state, 2)->params().find("classifier.weight")->latent.size(0), 1);
  set_head(state, HeadKind::embedding, {}, "mean");
  auto embedder = build(state, 2);
  data::Batch batch = random_batch({3, 5});
  Outputs out = run(*embedder, batch, {true, false, false});
  Tensor expected = out.hidden.back().slice(0, 3, 8).mean(0);
  EXPECT_LT((out.pooled[1] - expected).abs().max().item<float>(), 1e-6f);
}

ModelState trained_head() {
  ModelState state = build(tiny_bert(HeadKind::classification), 1)->state();  // no, yes
  state.tensors.at("classifier.bias") = torch::tensor({1.0f, 2.0f});
  return state;
}

TEST(Heads, RowsFollowTheNames) {
  ModelState state = trained_head();
  const Tensor weight = state.tensors.at("classifier.weight").clone();
  EXPECT_EQ(set_head(state, HeadKind::classification, {"no", "yes"}), "");
  EXPECT_EQ(set_head(state, HeadKind::classification, {"yes", "no"}),
            "head kept, its rows reordered: classes yes, no for no, yes");
  EXPECT_TRUE(torch::equal(state.tensors.at("classifier.weight"), weight.flip(0)));
  EXPECT_TRUE(torch::equal(state.tensors.at("classifier.bias"), torch::tensor({2.0f, 1.0f})));
  EXPECT_EQ(state.config.labels, (std::vector<std::string>{"yes", "no"}));
  state.weight_scales["classifier.weight"] = torch::tensor({{3.0f}, {4.0f}});
  set_head(state, HeadKind::classification, {"no", "yes"});
  EXPECT_TRUE(
      torch::equal(state.weight_scales.at("classifier.weight"), torch::tensor({{4.0f}, {3.0f}})));
}

TEST(Heads, PlaceholdersKeepTheHead) {
  ModelState state = trained_head();
  state.config.labels = {"LABEL_0", "LABEL_1"};
  EXPECT_EQ(set_head(state, HeadKind::classification, {"0", "1"}),
            "head kept, classes 0, 1 for LABEL_0, LABEL_1");
  EXPECT_TRUE(torch::equal(state.tensors.at("classifier.bias"), torch::tensor({1.0f, 2.0f})));
  set_head(state, HeadKind::classification, {"1", "0"});
  EXPECT_TRUE(torch::equal(state.tensors.at("classifier.bias"), torch::tensor({2.0f, 1.0f})));
  EXPECT_EQ(set_head(state, HeadKind::classification, {"no", "yes"}),
            "head drawn anew: classes no, yes (the model's were 1, 0)");
  EXPECT_EQ(state.tensors.count("classifier.weight"), 0u);
}

TEST(Heads, SayWhenTheyAreDrawn) {
  ModelState state = trained_head();
  EXPECT_EQ(set_head(state, HeadKind::classification, {"no", "maybe"}),
            "head drawn anew: classes no, maybe (the model's were no, yes)");
  state = tiny_bert(HeadKind::none);
  EXPECT_EQ(set_head(state, HeadKind::none, {}), "");
  EXPECT_EQ(set_head(state, HeadKind::classification, {"a", "b"}), "head drawn anew: classes a, b");
  EXPECT_EQ(set_head(state, HeadKind::span, {}), "head drawn anew: span");
  EXPECT_EQ(set_head(state, HeadKind::regression, {}), "head drawn anew: regression");
  state.tensors["classifier.weight"] = torch::ones({1, 32});
  state.config.labels = {"score"};  // the one output of a regression keeps its name and its row
  EXPECT_EQ(set_head(state, HeadKind::regression, {}), "");
  EXPECT_EQ(state.config.labels, std::vector<std::string>{"score"});
  EXPECT_EQ(state.tensors.count("classifier.weight"), 1u);
}

TEST(Heads, MaskedLmScoresLabelledPositionsOnly) {
  auto model = build(tiny_bert(HeadKind::masked_lm), 1);
  data::Batch batch = random_batch({4, 3});
  batch.targets.token_labels = torch::full({7}, -100, torch::kInt64);
  batch.targets.token_labels[2] = 11;
  batch.targets.token_labels[5] = 12;
  Outputs out = run(*model, batch);
  EXPECT_EQ(out.token_logits.sizes(), (std::vector<int64_t>{2, 50}));
  EXPECT_TRUE(torch::equal(out.token_index, torch::tensor({int64_t{2}, int64_t{5}})));
  out.token_logits.sum().backward();
  EXPECT_GT(model->params()
                .find("embeddings.word_embeddings.weight")
                ->latent.grad()
                .count_nonzero()
                .item<int64_t>(),
            32 * 40);
}

TEST(Census, CountsZerosWithBothDenominators) {
  auto model = build(tiny_bert(HeadKind::classification), 1);
  Census before = census(*model);
  EXPECT_EQ(before.encoder_linear, 2 * (4 * 32 * 32 + 2 * 32 * 64));
  torch::NoGradGuard no_grad;
  model->params().find("encoder.layer.0.output.dense.weight")->latent.zero_();
  Census after = census(*model);
  EXPECT_EQ(after.encoder_linear_zeros - before.encoder_linear_zeros, 32 * 64);
  EXPECT_EQ(after.zeros - before.zeros, 32 * 64);
}

TEST(Family, UnknownOnesAreNamed) {
  try {
    family("mamba");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::model);
    EXPECT_NE(error.hint().find("bert"), std::string::npos);
  }
}

}  // namespace
}  // namespace compress::nn
