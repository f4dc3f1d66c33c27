#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/surgery/surgery.h"
#include "support/failure.h"
#include "unit/nn/support.h"

namespace compress::surgery {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Layers = std::vector<int64_t>;

// The layers that go, counted from 1 as the paper does.
Layers dropped(const std::string& strategy, int64_t layers, int64_t drop) {
  const Layers kept = kept_layers(strategy, layers, layers - drop);
  EXPECT_TRUE(std::is_sorted(kept.begin(), kept.end()));
  Layers gone;
  for (int64_t layer = 0; layer < layers; ++layer)
    if (std::find(kept.begin(), kept.end(), layer) == kept.end()) gone.push_back(layer + 1);
  return gone;
}

TEST(KeptLayers, TwelveLayersAsInThePaper) {
  EXPECT_THAT(dropped("top", 12, 2), ElementsAre(11, 12));
  EXPECT_THAT(dropped("top", 12, 4), ElementsAre(9, 10, 11, 12));
  EXPECT_THAT(dropped("top", 12, 6), ElementsAre(7, 8, 9, 10, 11, 12));
  EXPECT_THAT(dropped("bottom", 12, 2), ElementsAre(1, 2));
  EXPECT_THAT(dropped("bottom", 12, 4), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(dropped("bottom", 12, 6), ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_THAT(dropped("alternate", 12, 2), ElementsAre(10, 12));
  EXPECT_THAT(dropped("alternate", 12, 4), ElementsAre(6, 8, 10, 12));
  EXPECT_THAT(dropped("alternate", 12, 6), ElementsAre(2, 4, 6, 8, 10, 12));
  EXPECT_THAT(dropped("alternate_odd", 12, 2), ElementsAre(9, 11));
  EXPECT_THAT(dropped("alternate_odd", 12, 4), ElementsAre(5, 7, 9, 11));
  EXPECT_THAT(dropped("alternate_odd", 12, 6), ElementsAre(1, 3, 5, 7, 9, 11));
  EXPECT_THAT(dropped("symmetric", 12, 2), ElementsAre(6, 7));
  EXPECT_THAT(dropped("symmetric", 12, 4), ElementsAre(5, 6, 7, 8));
  EXPECT_THAT(dropped("symmetric", 12, 6), ElementsAre(4, 5, 6, 7, 8, 9));
}

TEST(KeptLayers, SixLayers) {
  EXPECT_THAT(kept_layers("top", 6, 3), ElementsAre(0, 1, 2));
  EXPECT_THAT(kept_layers("bottom", 6, 3), ElementsAre(3, 4, 5));
  EXPECT_THAT(kept_layers("alternate", 6, 3), ElementsAre(0, 2, 4));
  EXPECT_THAT(kept_layers("alternate", 6, 5), ElementsAre(0, 1, 2, 3, 4));
  EXPECT_THAT(kept_layers("alternate_odd", 6, 3), ElementsAre(1, 3, 5));
  EXPECT_THAT(kept_layers("alternate_odd", 6, 4), ElementsAre(0, 1, 3, 5));
  EXPECT_THAT(kept_layers("symmetric", 6, 4), ElementsAre(0, 1, 4, 5));
  EXPECT_THAT(kept_layers("symmetric", 6, 3), ElementsAre(0, 4, 5));
  EXPECT_THAT(kept_layers("top", 6, 1), ElementsAre(0));
}

TEST(KeptLayers, EveryCountKeepsAsManyAsAsked) {
  for (const char* strategy : {"top", "bottom", "symmetric", "alternate", "alternate_odd"})
    for (int64_t layers : {2, 5, 6, 12})
      for (int64_t keep = 1; keep < layers; ++keep) {
        const bool alternate = starts_with(strategy, "alternate");
        if (alternate ? layers - keep > layers / 2 : keep < 2 && *strategy == 's') {
          EXPECT_THROW(kept_layers(strategy, layers, keep), Error);
          continue;
        }
        const Layers kept = kept_layers(strategy, layers, keep);
        EXPECT_EQ(kept.size(), static_cast<size_t>(keep)) << strategy << " " << layers;
        if (*strategy == 's') {
          EXPECT_EQ(kept.front(), 0);
          EXPECT_EQ(kept.back(), layers - 1);
        }
      }
}

TEST(KeptLayers, WrongRequests) {
  Error many = failure([] { kept_layers("alternate", 12, 4); });
  EXPECT_EQ(many.kind(), ErrorKind::recipe);
  EXPECT_THAT(many.message(), HasSubstr("at most 6 of 12, but 8 are to go"));
  EXPECT_THAT(many.hint(), HasSubstr("keep at least 6"));
  EXPECT_THAT(failure([] { kept_layers("top", 6, 6); }).message(), HasSubstr("cannot keep 6 of 6"));
  EXPECT_THAT(failure([] { kept_layers("top", 6, 0); }).hint(), HasSubstr("between 1 and 5"));
  EXPECT_THAT(failure([] { kept_layers("middle", 6, 3); }).hint(), HasSubstr("symmetric"));
}

// BERT's encoder in shapes alone.
nn::ModelState bert(int64_t layers, int64_t width, int64_t inner) {
  nn::ModelState state;
  state.config.family = "bert";
  state.config.layers = layers;
  auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    state.tensors[name] = torch::empty(shape, torch::kMeta);
  };
  add("embeddings.word_embeddings.weight", {30522, width});
  add("pooler.dense.weight", {width, width});
  for (int64_t i = 0; i < layers; ++i) {
    const std::string layer = str("encoder.layer.", i, ".");
    for (const char* name : {"attention.self.query", "attention.self.key", "attention.self.value",
                             "attention.output.dense"}) {
      add(layer + name + ".weight", {width, width});
      add(layer + name + ".bias", {width});
    }
    for (const char* name : {"attention.output.LayerNorm", "output.LayerNorm"})
      for (const char* part : {".weight", ".bias"}) add(layer + name + part, {width});
    add(layer + "intermediate.dense.weight", {inner, width});
    add(layer + "intermediate.dense.bias", {inner});
    add(layer + "output.dense.weight", {width, inner});
    add(layer + "output.dense.bias", {width});
  }
  return state;
}

int64_t parameters(const nn::ModelState& state) {
  int64_t total = 0;
  for (const auto& entry : state.tensors) total += entry.second.numel();
  return total;
}

void edit(const std::string& text, nn::ModelState& state) {
  recipe::Component component;
  recipe::Problems problems;
  edits().read(recipe::parse_text(text, "recipe.yaml"), component, problems);
  problems.raise();
  Workshop workshop(0);
  apply({component}, state, workshop);
}

TEST(DropLayers, ParameterCountOfBertBase) {
  for (int64_t drop : {2, 4, 6}) {
    nn::ModelState state = bert(12, 768, 3072);
    const int64_t before = parameters(state);
    edit(str("drop_layers: {drop: ", drop, "}"), state);
    EXPECT_EQ(parameters(state), before - drop * 7'087'872);
    EXPECT_EQ(state.config.layers, 12 - drop);
  }
}

TEST(DropLayers, RenumbersWhatIsKept) {
  nn::ModelState state = bert(12, 2, 2);
  for (int64_t i = 0; i < 12; ++i)
    state.tensors[str("encoder.layer.", i, ".output.dense.bias")] = torch::full({2}, i);
  const nn::ModelState before = state;
  edit("drop_layers: {layers: [0, 7, 11]}", state);
  EXPECT_EQ(state.config.layers, 3);
  auto value = [&](int64_t i) {
    return state.tensors.at(str("encoder.layer.", i, ".output.dense.bias"))[0].item<int64_t>();
  };
  EXPECT_EQ(value(0), 0);
  EXPECT_EQ(value(1), 7);
  EXPECT_EQ(value(2), 11);
  EXPECT_EQ(state.tensors.size(), 2u + 3 * 16);
  EXPECT_EQ(state.tensors.count("encoder.layer.3.output.dense.bias"), 0u);
  EXPECT_TRUE(state.tensors.at("embeddings.word_embeddings.weight")
                  .is_same(before.tensors.at("embeddings.word_embeddings.weight")))
      << "nothing is copied";
  EXPECT_THAT(state.history, ElementsAre("drop_layers: kept 0, 7, 11 of 12 (the first is 0)"));
  edit("drop_layers: {keep: 2}", state);
  EXPECT_EQ(state.config.layers, 2);
  EXPECT_EQ(value(1), 7);
  EXPECT_EQ(state.history.size(), 2u);
}

TEST(DropLayers, WithoutTheTopItIsTheForwardPassCutShort) {
  nn::ModelState state = nn::tiny_bert(nn::HeadKind::classification, 4);
  const data::Batch batch = nn::random_batch({3, 5, 2});
  auto hidden = [&](const nn::ModelState& of) {
    auto model = nn::build(of, 1);
    model->params().refresh(nn::Precision::float32);
    torch::NoGradGuard no_grad;
    nn::Capture capture;
    capture.hidden = true;
    return model->forward(batch, capture, {}).hidden;
  };
  const std::vector<torch::Tensor> whole = hidden(state);
  edit("drop_layers: {strategy: top, drop: 2}", state);
  const std::vector<torch::Tensor> cut = hidden(state);
  ASSERT_EQ(cut.size(), 3U);
  for (size_t i = 0; i < cut.size(); ++i) EXPECT_TRUE(torch::equal(cut[i], whole[i])) << i;
}

TEST(DropLayers, StrategyAndKeep) {
  nn::ModelState state = bert(6, 2, 2);
  edit("drop_layers: {strategy: alternate, keep: 3}", state);
  EXPECT_EQ(state.history.back(), "drop_layers: kept 0, 2, 4 of 6 (the first is 0)");
}

TEST(DropLayers, WrongOptions) {
  const char* cases[][2] = {{"drop_layers", "does not say how many"},
                            {"drop_layers: {strategy: top}", "does not say how many"},
                            {"drop_layers: {keep: 3, drop: 3}", "more than once"},
                            {"drop_layers: {keep: 3, layers: [0]}", "more than once"},
                            {"drop_layers: {keep: 0}", ""},
                            {"drop_layers: {strategy: contribution, keep: 3}", ""},
                            {"drop_layers: {keep: 6}", "cannot keep 6 of 6"},
                            {"drop_layers: {drop: 6}", "cannot drop 6 of 6"},
                            {"drop_layers: {layers: [0, 6]}", "no layer 6"},
                            {"drop_layers: {layers: [2, 1]}", "1 follows 2"},
                            {"drop_layers: {layers: [1, 1]}", "1 follows 1"},
                            {"drop_layers: {layers: [0, 1, 2, 3, 4, 5]}", "all 6 layers are kept"},
                            {"drop_layers: {strategy: alternate, keep: 2}", "at most 3 of 6"},
                            {"drop_layers: {strategy: symmetric, keep: 1}", "both ends"}};
  for (const auto& [text, message] : cases) {
    nn::ModelState state = bert(6, 2, 2);
    Error error = failure([&, text = text] { edit(text, state); });
    EXPECT_EQ(error.kind(), ErrorKind::recipe) << text;
    EXPECT_THAT(error.message(), HasSubstr(message)) << text;
    EXPECT_THAT(error.where(), HasSubstr("recipe.yaml:1")) << text;
    EXPECT_EQ(state.config.layers, 6);
  }
}

TEST(DropLayers, ListsOfConfigJsonWithOneEntryALayerAreCut) {
  nn::ModelState state = bert(6, 2, 2);
  state.config.raw["layer_types"] = {"a", "b", "c", "d", "e", "f"};
  edit("drop_layers: {layers: [0, 3]}", state);
  EXPECT_EQ(state.config.raw["layer_types"], nn::Json({"a", "d"}));
}

TEST(DropLayers, StrayTensorsAreReported) {
  for (const char* name :
       {"encoder.layer.6.output.dense.bias", "encoder.layer.x.bias", "encoder.layer.1"}) {
    nn::ModelState state = bert(6, 2, 2);
    state.tensors[name] = torch::zeros({2});
    EXPECT_EQ(failure([&] { edit("drop_layers: {keep: 3}", state); }).kind(), ErrorKind::model)
        << name;
  }
}

}  // namespace
}  // namespace compress::surgery
