// Heads beside a model's own: what they compute, learn and are called.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "compress/base/error.h"
#include "compress/nn/architecture.h"
#include "support.h"
#include "support/failure.h"
#include "writers.h"

namespace compress::nn {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using torch::Tensor;

const std::vector<std::string> no_yes = {"no", "yes"};

HeadSpec classes(const std::string& name, int64_t layers = 0,
                 std::vector<std::string> labels = no_yes) {
  return {.name = name,
          .kind = HeadKind::classification,
          .labels = std::move(labels),
          .layers = layers};
}

// A classifier whose own head is trained, and further heads on it.
ModelState with_heads(std::vector<HeadSpec> heads) {
  ModelState state = build(tiny_bert(HeadKind::classification), 1)->state();
  set_more_heads(state, std::move(heads));
  return state;
}

Outputs run(Model& model, const data::Batch& batch, std::set<std::string> heads, Pass pass = {}) {
  model.params().refresh(pass.precision);
  Capture capture;
  capture.heads = std::move(heads);
  return model.forward(batch, capture, pass);
}

std::string refusal(const std::function<void()>& act) {
  const Error error = failure(act);
  return error.message() + " | " + error.hint();
}

TEST(Heads, TheTableSaysWhatEachPredicts) {
  EXPECT_EQ(prediction(HeadKind::span).over, Prediction::Over::row_tokens);
  EXPECT_TRUE(prediction(HeadKind::span).in_token_logits());
  EXPECT_TRUE(prediction(HeadKind::masked_lm).vocabulary);
  EXPECT_FALSE(prediction(HeadKind::masked_lm).every_token);
  EXPECT_TRUE(prediction(HeadKind::causal_lm).every_token);
  EXPECT_EQ(prediction(HeadKind::replaced_token).kind, Prediction::Kind::yes_no);
  EXPECT_FALSE(prediction(HeadKind::embedding).predicts());
  EXPECT_TRUE(has_classes(HeadKind::token_classification));
  EXPECT_FALSE(has_classes(HeadKind::regression));
  EXPECT_TRUE(has_labels(HeadKind::regression));
}

TEST(Heads, ABranchBeginsAsTheModelsOwnHead) {
  for (int64_t layers : {0, 1, 2}) {
    auto model = build(with_heads({classes("second", layers)}), 3);
    const data::Batch batch = random_batch({4, 9, 6});
    const Outputs out = run(*model, batch, {"second"});
    EXPECT_TRUE(torch::equal(out.of("second").logits, out.logits)) << layers;
    EXPECT_EQ(model->params().find("heads.second.layer.0.output.dense.weight") != nullptr,
              layers > 0);
  }
}

// CERBERUS (arXiv 2201.05767): heads that share a body learn apart.
TEST(Heads, WithOneLossOnTheOtherBranchesHaveNoGradient) {
  auto model = build(with_heads({classes("second", 1), classes("third", 1)}), 3);
  run(*model, random_batch({4, 9, 6}), {"second", "third"}, {.training = true})
      .of("second")
      .logits.square()
      .sum()
      .backward();
  model->params().collect_gradients(false);
  auto moved = [&](const std::string& name) {
    const Tensor& gradient = model->params().find(name)->latent.grad();
    return gradient.defined() && gradient.count_nonzero().item<int64_t>() > 0;
  };
  EXPECT_TRUE(moved("heads.second.layer.0.output.dense.weight"));
  EXPECT_TRUE(moved("heads.second.classifier.weight"));
  EXPECT_TRUE(moved("heads.second.pooler.dense.weight"));
  EXPECT_TRUE(moved("encoder.layer.0.output.dense.weight"));  // the shared body
  for (const Parameter& parameter : model->params().list())
    if (parameter.name.starts_with("heads.third.") ||
        parameter.name.starts_with("encoder.layer.1.") || parameter.name.starts_with("pooler.") ||
        parameter.name.starts_with("classifier.")) {
      EXPECT_FALSE(moved(parameter.name)) << parameter.name;
    }
}

TEST(Heads, AreComputedOnlyWhereTheyAreCaptured) {
  auto model = build(with_heads({classes("second", 1)}), 3);
  const data::Batch batch = random_batch({4, 9});
  const Outputs out = run(*model, batch, {});
  EXPECT_THAT(out.more, IsEmpty());
  EXPECT_THROW(out.of("second"), Error);
}

TEST(Heads, ADrawOfOneDoesNotChangeWithTheOthers) {
  auto model = build(with_heads({classes("second", 1), classes("third")}), 3);
  const data::Batch batch = random_batch({4, 9, 6});
  const Pass pass{.training = true, .dropout_seed = 5};
  const Outputs alone = run(*model, batch, {"third"}, pass),
                all = run(*model, batch, {"second", "third"}, pass),
                none = run(*model, batch, {}, pass);
  // Where the second reads all tokens, sums of the last layer have another order.
  EXPECT_TRUE(torch::allclose(alone.of("third").logits, all.of("third").logits, 1e-5, 1e-6));
  EXPECT_TRUE(torch::equal(alone.logits, none.logits));
  EXPECT_FALSE(torch::equal(all.of("second").logits, all.logits));  // draws of its own
}

// Norms come first there: a branch leaves the stream of residuals, and has a final norm.
TEST(Heads, BranchOffDecodersToo) {
  ModelState state = build(tiny_gpt2(), 1)->state();
  set_head(state, HeadKind::classification, no_yes);
  state = build(state, 1)->state();
  set_more_heads(state, {classes("second", 1)});
  auto model = build(state, 3);
  const Outputs out = run(*model, random_batch({4, 9, 6}), {"second"});
  EXPECT_TRUE(torch::equal(out.of("second").logits, out.logits));
  EXPECT_NE(model->params().find("heads.second.final_norm.weight"), nullptr);
}

TEST(Heads, SaysOfEveryTokenWhetherItWasChanged) {
  ModelState state = build(tiny_bert(HeadKind::masked_lm), 1)->state();
  EXPECT_THAT(set_more_heads(state, {{.name = "detect", .kind = HeadKind::replaced_token}}),
              ElementsAre("head 'detect' (replaced_token), drawn anew"));
  auto model = build(state, 3);
  data::Batch batch = random_batch({4, 6});
  batch.targets.token_labels = torch::full({10}, -100);
  batch.targets.token_labels[3] = 7;
  batch.targets.changed = torch::zeros({10}, torch::kInt64);
  const Outputs out = run(*model, batch, {"detect"});
  EXPECT_EQ(out.token_logits.sizes(), (std::vector<int64_t>{1, 50}));
  EXPECT_EQ(out.of("detect").token_logits.sizes(), (std::vector<int64_t>{10, 1}));
}

TEST(Heads, OfPreTrainingFollowFromTheClass) {
  const Json json = {{"architectures", {"BertForPreTraining"}},
                     {"model_type", "bert"},
                     {"vocab_size", 50},
                     {"hidden_size", 32},
                     {"num_hidden_layers", 2},
                     {"num_attention_heads", 4},
                     {"intermediate_size", 64},
                     {"max_position_embeddings", 64}};
  const Family& bert = family("bert");
  ModelConfig config = bert.read_config(json);
  EXPECT_EQ(config.head, HeadKind::masked_lm);
  ASSERT_NE(config.find_head("next_sentence"), nullptr);
  EXPECT_THAT(config.find_head("next_sentence")->labels, ElementsAre("is_next", "not_next"));
  EXPECT_EQ(head_plan(config, config.more_heads[0]).out, "cls.seq_relationship");
  EXPECT_EQ(head_plan(config, config.more_heads[0]).pooler, "pooler.dense");
  EXPECT_EQ(bert.write_config(config).at("architectures"), json.at("architectures"));
  config.more_heads.clear();
  EXPECT_EQ(bert.write_config(config).at("architectures"), Json::array({"BertForMaskedLM"}));
  // Asked for by name, the head is the one that files of the family have.
  ModelState state = build(tiny_bert(HeadKind::masked_lm), 1)->state();
  set_more_heads(state, {classes("next_sentence", 0, {})});
  EXPECT_NE(build(state, 1)->params().find("cls.seq_relationship.weight"), nullptr);
  EXPECT_THAT(state.config.more_heads[0].labels, ElementsAre("is_next", "not_next"));
}

TEST(Heads, KeepTheirRowsUnderTheirNames) {
  ModelState state = build(with_heads({classes("second")}), 3)->state();
  const Tensor before = state.tensors.at("heads.second.classifier.weight").clone();
  EXPECT_THAT(set_more_heads(state, {classes("second", 0, {"yes", "no"})}),
              ElementsAre(HasSubstr("its rows reordered: classes yes, no for no, yes")));
  EXPECT_TRUE(torch::equal(state.tensors.at("heads.second.classifier.weight"), before.flip(0)));
  EXPECT_THAT(set_more_heads(state, {classes("second", 0, {})}), IsEmpty());  // as it is
  EXPECT_THAT(set_more_heads(state, {classes("second", 0, {"a", "b"})}),
              ElementsAre("head 'second' (classification), drawn anew"));
  EXPECT_EQ(state.tensors.count("heads.second.classifier.weight"), 0U);
  // With another kind of the own head they go.
  state = with_heads({classes("second", 1)});
  set_head(state, HeadKind::masked_lm, {});
  EXPECT_THAT(state.config.more_heads, IsEmpty());
  for (const auto& [name, value] : state.tensors) EXPECT_FALSE(name.starts_with("heads.")) << name;
}

TEST(Heads, WhatCannotBeIsRefused) {
  ModelState state = tiny_bert(HeadKind::classification);
  auto refused = [&](HeadSpec head) {
    return refusal([&] { set_more_heads(state, {std::move(head)}); });
  };
  EXPECT_THAT(refused(classes("deep", 3)), HasSubstr("3 layers of its own, but the stack has 2"));
  EXPECT_THAT(refused(classes("nameless", 0, {})), HasSubstr("needs class names"));
  EXPECT_THAT(refused({.name = "writes", .kind = HeadKind::causal_lm}),
              HasSubstr("a bert model has no head 'causal_lm'"));
  EXPECT_THAT(refused({.name = "vector", .kind = HeadKind::embedding}), HasSubstr("no head"));
  const ModelConfig config = with_heads({classes("second")}).config;
  EXPECT_THAT(refusal([&] { with_head(config, "secnd"); }),
              HasSubstr("has no head 'secnd' | did you mean 'second'?"));
  EXPECT_THAT(refusal([&] { with_head(tiny_bert(HeadKind::none).config, "x"); }),
              HasSubstr("no head but its own"));
}

}  // namespace
}  // namespace compress::nn
