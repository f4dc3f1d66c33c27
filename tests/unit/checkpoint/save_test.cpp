#include <cmath>

#include "compress/nn/model.h"
#include "unit/checkpoint/tiny.h"

namespace compress {
namespace {

namespace fs = std::filesystem;

using checkpoint::RunState;

class Save : public tiny::Scratch {};
class State : public tiny::Scratch {};

TEST_F(Save, RoundTripKeepsTensorsAndConfig) {
  auto model = nn::build(tiny::state(), 1);
  model->history() = {"drop_layers: kept 0, 1 of 6"};
  checkpoint::save_model(*model, root_ / "out");
  nn::ModelState loaded = checkpoint::load_model(root_ / "out");
  for (const auto& [name, tensor] : tiny::tensors())
    EXPECT_TRUE(torch::equal(loaded.tensors.at(name), tensor)) << name;
  EXPECT_EQ(loaded.config.labels, model->config().labels);
  EXPECT_EQ(loaded.config.raw.at("some_other_key"), "kept");
  EXPECT_EQ(loaded.history, model->history());
  EXPECT_FALSE(loaded.config.raw.contains("compress"));
}

TEST_F(Save, WritesHuggingFaceNames) {
  checkpoint::save_model(*nn::build(tiny::state(), 1), root_);
  storage::SafetensorsReader reader(root_ / "model.safetensors");
  EXPECT_EQ(reader.metadata().at("format"), "pt");
  EXPECT_EQ(reader.tensors().size(), tiny::tensors().size());
  for (const char* name :
       {"bert.embeddings.LayerNorm.weight", "bert.encoder.layer.1.output.dense.bias",
        "bert.pooler.dense.weight", "classifier.weight"})
    EXPECT_NE(reader.find(name), nullptr) << name;
  nn::Json json = checkpoint::read_json(root_ / "config.json");
  EXPECT_EQ(json.at("architectures"), nn::Json::array({"BertForSequenceClassification"}));
  EXPECT_EQ(json.at("id2label").at("1"), "positive");
}

TEST_F(Save, NegativeZerosBecomeZerosAndOtherValuesStay) {
  nn::ModelState state = tiny::state();
  const float tiniest = std::numeric_limits<float>::denorm_min(), nan = std::nanf("");
  state.tensors["classifier.bias"] = torch::tensor({-0.0f, -tiniest});
  state.tensors["encoder.layer.0.output.dense.bias"][3] = nan;
  checkpoint::save_model(*nn::build(state, 1), root_);
  nn::ModelState loaded = checkpoint::load_model(root_);
  const auto* bias = loaded.tensors["classifier.bias"].const_data_ptr<float>();
  EXPECT_FALSE(std::signbit(bias[0]));
  EXPECT_EQ(bias[1], -tiniest);
  EXPECT_TRUE(std::isnan(loaded.tensors["encoder.layer.0.output.dense.bias"][3].item<float>()));
}

TEST_F(Save, ShardsReadBackAndGiveWayToAWholeFile) {
  auto model = nn::build(tiny::state(), 1);
  checkpoint::save_model(*model, root_, {}, 2000);
  EXPECT_FALSE(fs::exists(root_ / "model.safetensors"));
  EXPECT_TRUE(fs::exists(root_ / "model.safetensors.index.json"));
  nn::ModelState loaded = checkpoint::load_model(root_);
  for (const auto& [name, tensor] : tiny::tensors())
    EXPECT_TRUE(torch::equal(loaded.tensors.at(name), tensor)) << name;
  checkpoint::save_model(*model, root_);
  EXPECT_FALSE(fs::exists(root_ / "model.safetensors.index.json"));
  EXPECT_EQ(checkpoint::load_model(root_).tensors.size(), loaded.tensors.size());
}

TEST_F(Save, AnEmbeddingHeadSurvives) {
  nn::ModelState state = tiny::state("BertModel");
  nn::set_head(state, nn::HeadKind::embedding, {}, "cls");
  checkpoint::save_model(*nn::build(state, 1), root_);
  nn::ModelConfig config = checkpoint::load_config(root_);
  EXPECT_EQ(config.head, nn::HeadKind::embedding);
  EXPECT_EQ(config.pooling, "cls");
}

TEST_F(Save, FurtherHeadsSurvive) {
  nn::ModelState state = tiny::state();
  nn::set_more_heads(state, {{.name = "second",
                              .kind = nn::HeadKind::classification,
                              .labels = {"a", "b", "c"},
                              .layers = 1},
                             {.name = "detect", .kind = nn::HeadKind::replaced_token}});
  auto model = nn::build(state, 1);
  checkpoint::save_model(*model, root_);
  const nn::ModelState loaded = checkpoint::load_model(root_);
  ASSERT_EQ(loaded.config.more_heads.size(), 2U);
  EXPECT_EQ(loaded.config.more_heads[0].labels, (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(loaded.config.more_heads[0].layers, 1);
  EXPECT_EQ(loaded.config.more_heads[1].kind, nn::HeadKind::replaced_token);
  ASSERT_EQ(loaded.tensors.size(), model->params().list().size());
  for (const nn::Parameter& parameter : model->params().list())
    EXPECT_TRUE(torch::equal(loaded.tensors.at(parameter.name), parameter.latent))
        << parameter.name;
  EXPECT_EQ(nn::Json::parse(read_file(root_ / "config.json")).at("architectures"),
            nn::Json::array({"BertForSequenceClassification"}));
}

TEST_F(Save, DamagedHeadsAreRefused) {
  nn::ModelState state = tiny::state();
  nn::set_more_heads(state, {{.name = "detect", .kind = nn::HeadKind::replaced_token}});
  checkpoint::save_model(*nn::build(state, 1), root_);
  nn::Json json = nn::Json::parse(read_file(root_ / "config.json"));
  for (const nn::Json& heads :
       {nn::Json(3), nn::Json::array({1}), nn::Json::array({{{"name", "../x"}, {"kind", "span"}}}),
        nn::Json::array({{{"name", "x"}, {"kind", "spam"}}}),
        nn::Json::array({{{"name", "x"}, {"kind", "span"}, {"layers", 100000000}}}),
        nn::Json::array({{{"name", "x"}, {"kind", "span"}}, {{"name", "x"}, {"kind", "span"}}}),
        nn::Json::array({{{"name", 5}, {"kind", "span"}}})}) {
    json["compress"]["heads"] = heads;
    write_file(root_ / "config.json", json.dump());
    tiny::error_of(ErrorKind::model, [&] { checkpoint::load_config(root_); });
  }
}

TEST_F(Save, CopiesTokenizersByteForByte) {
  tiny::write_tokenizer(root_ / "from");
  write_file(root_ / "from" / "README.md", "not a tokenizer");
  write_file(root_ / "from" / "generation_config.json", "{}\n");
  checkpoint::save_model(*nn::build(tiny::state(), 1), root_ / "to", root_ / "from");
  EXPECT_EQ(read_file(root_ / "to" / "vocab.txt"), read_file(root_ / "from" / "vocab.txt"));
  EXPECT_EQ(checkpoint::tokenizer_files(root_ / "to").size(), 2u);
  EXPECT_EQ(read_file(root_ / "to" / "generation_config.json"), "{}\n");
  EXPECT_FALSE(fs::exists(root_ / "to" / "README.md"));
  tiny::error_of(ErrorKind::model, [&] { checkpoint::copy_tokenizer(root_, root_ / "to"); });
}

TEST_F(Save, ValuesMustBeAsAnnounced) {
  std::vector<checkpoint::Planned> tensors = {
      {"a", torch::kFloat32, {2}, [] { return torch::ones({3}); }}};
  tiny::error_of(ErrorKind::internal,
                 [&] { checkpoint::write_folder(tensors, tiny::config(), root_); });
  EXPECT_TRUE(fs::is_empty(root_));
}

TEST_F(State, RoundTripsTypesShapesAndTexts) {
  RunState state;
  state.tensors["model/encoder.layer.0.weight"] = torch::randn({3, 4}).t();
  state.tensors["moments/1 with spaces/\u00e9"] = torch::tensor({1, 2, 3}, torch::kInt64);
  state.tensors["mask"] = torch::tensor({true, false});
  state.tensors["bytes"] = torch::tensor({1, 255}, torch::kUInt8);
  state.tensors["half"] = torch::randn({5}).to(torch::kBFloat16);
  state.tensors["scalar"] = torch::tensor(2.5);
  state.tensors["empty"] = torch::empty({0, 7});
  state.tensors["signs"] = torch::tensor({-0.0f, 1.0f});
  state.texts = {{"progress", "{\"step\": 7}"},
                 {"format", "a key that the container has too"},
                 {"", "quote \" and \u00e9\n"}};
  checkpoint::save_state(state, root_ / "state.safetensors");
  RunState loaded = checkpoint::load_state(root_ / "state.safetensors");
  EXPECT_EQ(loaded.texts, state.texts);
  ASSERT_EQ(loaded.tensors.size(), state.tensors.size());
  for (const auto& [name, tensor] : state.tensors) {
    EXPECT_EQ(loaded.tensors.at(name).scalar_type(), tensor.scalar_type()) << name;
    EXPECT_TRUE(torch::equal(loaded.tensors.at(name), tensor)) << name;
  }
  EXPECT_TRUE(std::signbit(loaded.tensors.at("signs").const_data_ptr<float>()[0]));  // to the bit
}

TEST_F(State, RefusesOtherAndDamagedFiles) {
  checkpoint::save_model(*nn::build(tiny::state(), 1), root_);
  std::string text = tiny::error_of(ErrorKind::model,
                                    [&] { checkpoint::load_state(root_ / "model.safetensors"); });
  EXPECT_NE(text.find("is not a run state"), std::string::npos) << text;
  checkpoint::save_state({{{"a", torch::ones({100})}}, {}}, root_ / "state");
  fs::resize_file(root_ / "state", 200);
  tiny::error_of(ErrorKind::model, [&] { checkpoint::load_state(root_ / "state"); });
  tiny::error_of(ErrorKind::model, [&] { checkpoint::load_state(root_ / "absent"); });
  tiny::error_of(ErrorKind::internal, [&] {
    checkpoint::save_state({{{"a", torch::Tensor()}}, {}}, root_ / "state");
  });
  tiny::error_of(ErrorKind::internal, [&] { checkpoint::stored_dtype(torch::kComplexFloat); });
}

}  // namespace
}  // namespace compress
