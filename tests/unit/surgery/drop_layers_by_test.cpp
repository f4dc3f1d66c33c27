// Layers by what a stage measured.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/surgery/workshop.h"

namespace compress::surgery {
namespace {

using testing::HasSubstr;

// Which layers of the four are left, told by what is written into each.
std::vector<int64_t> left(const std::string& text, nn::ModelState state, Workshop& workshop) {
  for (int64_t i = 0; i < 4; ++i)
    state.tensors[str("encoder.layer.", i, ".output.dense.bias")].fill_(static_cast<double>(i));
  edit(text, state, workshop);
  std::vector<int64_t> layers;
  for (int64_t i = 0; i < state.config.layers; ++i)
    layers.push_back(
        state.tensors.at(str("encoder.layer.", i, ".output.dense.bias"))[0].item<int64_t>());
  return layers;
}

using Layers = std::vector<int64_t>;

TEST(DropLayersBy, WhatIsAboveGoes) {
  Answers workshop;
  workshop.left["probe"] = {{"layers", {0.5, 0.97, 0.95, 0.96}}};
  EXPECT_EQ(left("drop_layers: {by: probe, above: 0.95}", bert_state(), workshop), Layers({0, 2}));
  EXPECT_EQ(left("drop_layers: {by: probe, above: 0.965}", bert_state(), workshop),
            Layers({0, 2, 3}));
}

TEST(DropLayersBy, TheLowestStay) {
  Answers workshop;
  workshop.left["probe"] = {{"layers", {0.9, 0.2, 0.4, 0.3}}};
  EXPECT_EQ(left("drop_layers: {by: probe, keep: 2}", bert_state(), workshop), Layers({1, 3}));
  EXPECT_EQ(left("drop_layers: {by: probe, drop: 1}", bert_state(), workshop), Layers({1, 2, 3}));
}

TEST(DropLayersBy, AmongEqualOnesTheLaterGoes) {
  Answers workshop;
  workshop.left["probe"] = {{"layers", {0.5, 0.5, 0.5, 0.5}}};
  EXPECT_EQ(left("drop_layers: {by: probe, keep: 3}", bert_state(), workshop), Layers({0, 1, 2}));
}

TEST(DropLayersBy, SaysWhoMeasured) {
  Answers workshop;
  workshop.left["probe"] = {{"layers", {0.1, 0.2, 0.9, 0.3}}};
  nn::ModelState state = bert_state();
  edit("drop_layers: {by: probe, above: 0.8}", state, workshop);
  EXPECT_EQ(state.history.back(),
            "drop_layers: kept 0, 1, 3 of 4 (the first is 0), by the similarities that stage "
            "'probe' measured");
  EXPECT_EQ(recipe::references_of(component_of("drop_layers: {by: probe, above: 0.8}")).at(0).to,
            recipe::Refers::numbers);
  EXPECT_TRUE(recipe::references_of(component_of("drop_layers: {keep: 2}")).empty());
}

TEST(DropLayersBy, APlanKnowsACountAlone) {
  Answers workshop;
  workshop.plan = true;
  nn::ModelState state = bert_state();
  edit("drop_layers: {by: probe, above: 0.8}", state, workshop);
  EXPECT_EQ(state.config.layers, 4);
  EXPECT_EQ(state.history.back(),
            "drop_layers: layers whose similarity is above 0.8 go; how many is known when stage "
            "'probe' has run");
  edit("drop_layers: {by: probe, keep: 2}", state, workshop);
  EXPECT_EQ(state.config.layers, 2);
  EXPECT_EQ(state.history.back(),
            "drop_layers: keeps 2 layers; which ones is known when stage 'probe' has run");
}

TEST(DropLayersBy, OneStackOfAnEncoderDecoder) {
  Answers workshop;
  workshop.left["probe"] = {{"layers", {0.1, 0.2, 0.9, 0.3}}};
  nn::ModelState state = t5_state();
  edit("drop_layers: {by: probe, above: 0.8, stack: encoder}", state, workshop);
  EXPECT_EQ(state.config.layers, 3);
  EXPECT_EQ(state.config.decoder_layers, 3);
  state = t5_state();
  const Error error = failure([&] { edit("drop_layers: {by: probe, keep: 2}", state, workshop); });
  EXPECT_THAT(error.message(), HasSubstr("have no list `decoder_layers`"));
  EXPECT_THAT(error.hint(), HasSubstr("sequence_to_sequence"));
  // The decoder has three layers, by numbers of its own.
  workshop.left["probe"]["decoder_layers"] = {0.9, 0.1, 0.2};
  edit("drop_layers: {by: probe, drop: 1, stack: decoder}", state, workshop);
  EXPECT_EQ(state.config.layers, 4);
  EXPECT_EQ(state.config.decoder_layers, 2);
  EXPECT_THAT(state.history.back(), HasSubstr("decoder kept 1, 2 of 3"));
  // Layer 0 went, and what it says of the distance of tokens stays.
  EXPECT_EQ(state.tensors.count(nn::architecture(state.config).decoder.relative_bias + ".weight"),
            1U);
  state = t5_state();
  edit("drop_layers: {by: probe, above: 0.8}", state, workshop);
  EXPECT_THAT(state.history.back(), HasSubstr("encoder kept 0, 1, 3 of 4, decoder kept 1, 2 of 3"));
}

TEST(DropLayersBy, WrongOptions) {
  Answers workshop;
  workshop.left["probe"] = {{"layers", {0.1, 0.2, 0.9, 0.3}}};
  workshop.left["short"] = {{"layers", {0.1, 0.2}}};
  workshop.left["other"] = {{"accuracy", 0.5}};
  workshop.left["words"] = {{"layers", {"a", "b", "c", "d"}}};
  const char* cases[][2] = {
      {"drop_layers: {by: probe}", "does not say how many"},
      {"drop_layers: {above: 0.5}", "`above` needs similarities"},
      {"drop_layers: {by: probe, above: 0.5, keep: 2}", "more than once"},
      {"drop_layers: {by: probe, layers: [0, 1]}", "both say which layers go"},
      {"drop_layers: {by: probe, above: 2}", ""},
      {"drop_layers: {by: probe, keep: 2, stack: decoder}", "has one stack"},
      {"drop_layers: {by: probe, above: 0.95}", "no layer has a similarity above 0.95"},
      {"drop_layers: {by: probe, above: 0.05}", "every layer has a similarity above 0.05"},
      {"drop_layers: {by: probe, keep: 4}", "cannot keep 4 of 4"},
      {"drop_layers: {by: probe, drop: 4}", "cannot keep 0 of 4"},
      {"drop_layers: {by: short, keep: 2}", "measured 2 layers, and the model has 4"},
      {"drop_layers: {by: other, keep: 2}", "have no list `layers`"},
      {"drop_layers: {by: words, keep: 2}", "have no list `layers`"},
      {"drop_layers: {by: nobody, keep: 2}", "no stage 'nobody'"}};
  for (const auto& [text, message] : cases) {
    nn::ModelState state = bert_state();
    const Error error = failure([&, text = text] { edit(text, state, workshop); });
    EXPECT_EQ(error.kind(), ErrorKind::recipe) << text;
    EXPECT_THAT(error.message(), HasSubstr(message)) << text;
    EXPECT_THAT(error.where(), HasSubstr("recipe.yaml:1")) << text;
    EXPECT_EQ(state.config.layers, 4);
  }
}

}  // namespace
}  // namespace compress::surgery
