#include <gmock/gmock.h>

#include "compress/checkpoint/sentence.h"
#include "compress/nn/architecture.h"
#include "unit/checkpoint/tiny.h"

namespace compress {
namespace {

namespace fs = std::filesystem;
using checkpoint::load_model;
using ::testing::HasSubstr;

class Sentence : public tiny::Scratch {
 protected:
  static std::unique_ptr<nn::Model> model(int64_t projection, const std::string& pooling = "mean",
                                          bool bias = false) {
    nn::ModelState state = tiny::state("BertModel");
    nn::set_head(state, nn::HeadKind::embedding, {}, pooling);
    state.config.projection = projection;
    if (bias) state.tensors["projection.bias"] = torch::arange(projection, torch::kFloat32);
    return nn::build(state, 1);
  }
  nn::Json json(const fs::path& file) { return checkpoint::read_json(root_ / file); }
  std::string failure() {
    return tiny::error_of(ErrorKind::model, [&] { load_model(root_); });
  }
};

TEST_F(Sentence, WritesTheLayoutOfSentenceTransformers) {
  auto saved = model(3, "cls", true);
  checkpoint::save_model(*saved, root_);
  EXPECT_EQ(json("modules.json").size(), 3u);
  EXPECT_EQ(json("modules.json")[2]["type"], "sentence_transformers.models.Dense");
  EXPECT_EQ(json("1_Pooling/config.json")["pooling_mode_cls_token"], true);
  EXPECT_EQ(json("1_Pooling/config.json")["pooling_mode_mean_tokens"], false);
  EXPECT_EQ(json("2_Dense/config.json")["in_features"], 8);
  EXPECT_EQ(json("2_Dense/config.json")["out_features"], 3);
  EXPECT_EQ(json("2_Dense/config.json")["bias"], true);
  EXPECT_EQ(json("sentence_bert_config.json")["max_seq_length"], 12);
  storage::SafetensorsReader base(root_ / "model.safetensors");
  EXPECT_EQ(base.find("projection.weight"), nullptr);
  storage::SafetensorsReader dense(root_ / "2_Dense" / "model.safetensors");
  EXPECT_EQ(dense.at("linear.weight").shape, (std::vector<int64_t>{3, 8}));
  nn::ModelState read = load_model(root_);
  EXPECT_EQ(read.config.head, nn::HeadKind::embedding);
  EXPECT_EQ(read.config.pooling, "cls");
  EXPECT_EQ(read.config.projection, 3);
  for (const auto& [name, tensor] : saved->state().tensors)
    EXPECT_TRUE(torch::equal(read.tensors.at(name), tensor)) << name;
}

TEST_F(Sentence, ReadsFoldersOfOthers) {
  checkpoint::save_model(*model(3), root_);
  nn::Json config = json("config.json");
  config.erase("compress");  // as sentence-transformers writes it
  write_file(root_ / "config.json", config.dump());
  EXPECT_EQ(load_model(root_).config.projection, 3);
  EXPECT_EQ(load_model(root_).config.head, nn::HeadKind::embedding);
  // Pooling alone leaves the model as it is, with its pooler; `head: embedding` then pools so.
  checkpoint::save_model(*nn::build(tiny::state("BertModel"), 1), root_);
  EXPECT_FALSE(fs::exists(root_ / "modules.json"));
  write_file(root_ / "modules.json",
             R"([{"type": "sentence_transformers.models.Transformer", "path": ""},
                 {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"},
                 {"type": "sentence_transformers.models.Normalize", "path": "2_Normalize"}])");
  write_file(root_ / "1_Pooling" / "config.json", R"({"pooling_mode": "cls"})");
  nn::ModelState read = load_model(root_);
  EXPECT_EQ(read.config.head, nn::HeadKind::none);
  EXPECT_TRUE(read.tensors.contains("pooler.dense.weight"));
  nn::set_head(read, nn::HeadKind::embedding, {}, "auto");
  EXPECT_EQ(read.config.pooling, "cls");
}

TEST_F(Sentence, RefusesWhatItCannotCompute) {
  checkpoint::save_model(*model(3), root_);
  write_file(root_ / "2_Dense" / "config.json",
             R"({"out_features": 3, "activation_function": "torch.nn.modules.activation.Tanh"})");
  EXPECT_THAT(failure(), HasSubstr("Tanh"));
  write_file(root_ / "2_Dense" / "config.json", R"({"out_features": -1})");
  EXPECT_THAT(failure(), HasSubstr("out_features"));
  write_file(root_ / "2_Dense" / "config.json", R"({"out_features": 5})");
  EXPECT_THAT(failure(), HasSubstr("projection.weight has shape"));
  write_file(root_ / "2_Dense" / "config.json", "[]");
  EXPECT_FALSE(failure().empty());
  write_file(root_ / "1_Pooling" / "config.json", R"({"pooling_mode_max_tokens": true})");
  write_file(root_ / "2_Dense" / "config.json", R"({"out_features": 3})");
  EXPECT_THAT(failure(), HasSubstr("mean and cls are supported"));
  for (const char* path : {"..", "../x", "/etc", "", "."}) {
    write_file(root_ / "modules.json", str(R"([{"type": "a.Dense", "path": ")", path, R"("}])"));
    EXPECT_THAT(failure(), HasSubstr("not a folder of the model"));
  }
  for (const char* text : {"{}", "[1]", "[{}]", R"([{"type": 3}])"}) {
    write_file(root_ / "modules.json", text);
    EXPECT_FALSE(failure().empty()) << text;
  }
}

TEST_F(Sentence, WithoutModulesNothingChanges) {
  checkpoint::save_model(*nn::build(tiny::state(), 1), root_);
  EXPECT_FALSE(fs::exists(root_ / "modules.json"));
  EXPECT_EQ(load_model(root_).config.projection, 0);
}

}  // namespace
}  // namespace compress
