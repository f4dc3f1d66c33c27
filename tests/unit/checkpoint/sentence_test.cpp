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
  make_folder(root_ / "1_Pooling");
  write_file(root_ / "1_Pooling" / "config.json", R"({"pooling_mode": "cls"})");
  nn::ModelState read = load_model(root_);
  EXPECT_EQ(read.config.head, nn::HeadKind::none);
  EXPECT_TRUE(read.tensors.contains("pooler.dense.weight"));
  nn::set_head(read, nn::HeadKind::embedding, {}, "auto");
  EXPECT_EQ(read.config.pooling, "cls");
}

TEST_F(Sentence, PoolsAsTheFolderSays) {
  const std::string modules =
      R"([{"type": "sentence_transformers.models.Transformer", "path": ""},
          {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}])";
  struct Row {
    const char *file, *pooling;
  };
  for (const Row& row :
       {Row{R"({"pooling_mode_cls_token": true})", "cls"},
        Row{R"({"pooling_mode_max_tokens": true, "pooling_mode_mean_tokens": false})", "max"},
        Row{R"({"pooling_mode_mean_tokens": true})", "mean"},
        Row{R"({"pooling_mode_mean_sqrt_len_tokens": true})", "mean_sqrt_len_tokens"},
        Row{R"({"pooling_mode_weightedmean_tokens": true})", "weightedmean"},
        Row{R"({"pooling_mode_lasttoken": true, "include_prompt": true})", "lasttoken"},
        Row{R"({"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": true})", "cls+mean"},
        Row{R"({"word_embedding_dimension": 8})", "mean"},
        Row{R"({"embedding_dimension": 8, "pooling_mode": "lasttoken"})", "lasttoken"},
        Row{R"({"embedding_dimension": 8, "pooling_mode": ["mean", "cls"]})", "mean+cls"}}) {
    for (const char* type : {"BertModel", "BertForMaskedLM"}) {
      nn::TensorMap named = tiny::tensors(true, false);
      if (std::string_view(type) == "BertForMaskedLM") {
        for (const char* part :
             {"dense.weight", "dense.bias", "LayerNorm.weight", "LayerNorm.bias"})
          named[str("cls.predictions.transform.", part)] =
              std::string_view(part) == "dense.weight" ? torch::ones({8, 8}) : torch::ones({8});
        named["cls.predictions.bias"] = torch::ones({40});
      }
      tiny::write(root_, named, tiny::config(type));
      write_file(root_ / "modules.json", modules);
      make_folder(root_ / "1_Pooling");
      write_file(root_ / "1_Pooling" / "config.json", row.file);
      nn::ModelState read = load_model(root_);
      nn::set_head(read, nn::HeadKind::embedding, {}, "auto");
      EXPECT_EQ(read.config.pooling, row.pooling) << row.file << type;
      // What is written says the same in the same spelling.
      const fs::path again = root_ / "again";
      checkpoint::save_model(*nn::build(read, 1), again);
      const nn::Json before = nn::Json::parse(row.file),
                     after = json("again/1_Pooling/config.json");
      EXPECT_EQ(before.contains("pooling_mode"), after.contains("pooling_mode")) << after;
      for (const auto& [key, value] : before.items()) EXPECT_EQ(after.at(key), value) << key;
      EXPECT_EQ(load_model(again).config.pooling, row.pooling) << after;
    }
  }
}

TEST_F(Sentence, KeepsModulesOfModelsThatAreOnlyCopied) {
  tiny::write(root_, tiny::tensors(true, false), tiny::config("BertModel"));
  write_file(root_ / "modules.json",
             R"([{"type": "sentence_transformers.base.modules.transformer.Transformer", "path": ""},
                 {"type": "x.Pooling", "path": "1_Pooling"},
                 {"type": "x.Normalize", "path": "2_Normalize"}])");
  make_folder(root_ / "1_Pooling");
  write_file(root_ / "1_Pooling" / "config.json", R"({"pooling_mode_lasttoken": true})");
  write_file(root_ / "sentence_bert_config.json",
             R"({"max_seq_length": 9, "do_lower_case": false})");
  write_file(root_ / "config_sentence_transformers.json",
             R"({"prompts": {"query": "query: "}, "default_prompt_name": null})");
  nn::ModelState read = load_model(root_);
  EXPECT_EQ(read.config.head, nn::HeadKind::none);
  EXPECT_TRUE(read.config.normalize);
  checkpoint::save_model(*nn::build(read, 1), root_ / "again");
  const nn::Json modules = json("again/modules.json");
  ASSERT_EQ(modules.size(), 3u);
  EXPECT_EQ(modules[0]["type"], "sentence_transformers.base.modules.transformer.Transformer");
  EXPECT_EQ(modules[2]["type"], "x.Normalize");
  EXPECT_EQ(modules[2]["path"], "2_Normalize");
  for (const char* file : {"sentence_bert_config.json", "config_sentence_transformers.json"})
    EXPECT_EQ(json(fs::path("again") / file), json(file));
  // A classifier made of it is no such model.
  nn::set_head(read, nn::HeadKind::classification, {"no", "yes"}, "auto");
  checkpoint::save_model(*nn::build(read, 1), root_ / "again");
  EXPECT_FALSE(fs::exists(root_ / "again" / "modules.json"));
}

TEST_F(Sentence, ADenseModuleIsAsWideAsItsPooling) {
  nn::ModelState state = tiny::state("BertModel");
  nn::set_head(state, nn::HeadKind::embedding, {}, "max+mean");
  state.config.projection = 3;
  state.config.normalize = true;
  const auto saved = nn::build(state, 1);
  checkpoint::save_model(*saved, root_);
  EXPECT_EQ(json("2_Dense/config.json")["in_features"], 16);
  EXPECT_EQ(json("modules.json")[3]["path"], "3_Normalize");
  const nn::ModelState read = load_model(root_);
  EXPECT_EQ(read.config.pooling, "max+mean");
  EXPECT_TRUE(read.config.normalize);
  EXPECT_TRUE(torch::equal(read.tensors.at("projection.weight"),
                           saved->state().tensors.at("projection.weight")));
}

TEST_F(Sentence, RefusesWhatItCannotCompute) {
  checkpoint::save_model(*model(3), root_);
  auto dense = [&](const std::string& more, int64_t size = 3) {
    write_file(root_ / "2_Dense" / "config.json",
               str("{\"out_features\": ", size, more,
                   R"(, "activation_function": "torch.nn.modules.linear.Identity"})"));
  };
  write_file(root_ / "2_Dense" / "config.json",
             R"({"out_features": 3, "activation_function": "torch.nn.modules.activation.Tanh"})");
  EXPECT_THAT(failure(), HasSubstr("Tanh"));
  write_file(root_ / "2_Dense" / "config.json", R"({"out_features": 3})");  // means it as well
  EXPECT_THAT(failure(), HasSubstr("Tanh"));
  for (const char* more :
       {R"(, "use_residual": true)", R"(, "module_input_name": "token_embeddings")"}) {
    dense(more);
    EXPECT_THAT(failure(), HasSubstr(std::string(more).substr(3, 12)));
  }
  dense("", -1);
  EXPECT_THAT(failure(), HasSubstr("out_features"));
  dense("", 5);
  EXPECT_THAT(failure(), HasSubstr("projection.weight has shape"));
  write_file(root_ / "2_Dense" / "config.json", "[]");
  EXPECT_FALSE(failure().empty());
  dense("");
  struct Row {
    const char *file, *word;
  };
  for (const Row& row : {Row{R"({"pooling_mode_attention": true})", "pooling_mode_attention"},
                         Row{R"({"pooling_mode": "median"})", "'median'"},
                         Row{R"({"pooling_mode": []})", "names no mode"},
                         Row{R"({"pooling_mode_cls_token": true, "include_prompt": false})",
                             "include_prompt false"}}) {
    write_file(root_ / "1_Pooling" / "config.json", row.file);
    EXPECT_THAT(failure(), HasSubstr(row.word)) << row.file;
  }
  write_file(root_ / "1_Pooling" / "config.json", R"({"pooling_mode": "mean"})");
  for (const char* path : {"..", "../x", "/etc", "", "."}) {
    write_file(root_ / "modules.json", str(R"([{"type": "a.Dense", "path": ")", path, R"("}])"));
    EXPECT_THAT(failure(), HasSubstr("not a folder of the model"));
  }
  const std::string pooling = R"({"type": "x.Pooling", "path": "1_Pooling"})",
                    layer = R"({"type": "x.Dense", "path": "2_Dense"})",
                    normal = R"({"type": "x.Normalize", "path": "3_Normalize"})";
  for (const auto& [modules, word] :
       {std::pair{layer, "right behind"},
        {normal, "without a Pooling"},
        {pooling + "," + pooling, "several Pooling"},
        {pooling + "," + normal + "," + layer, "right behind"},
        {pooling + R"(,{"type": "x.LSTM", "path": "2_LSTM"})", "LSTM"},
        {std::string(R"({"type": "x.Transformer", "path": "0_Transformer"})"), "of its own"}}) {
    write_file(root_ / "modules.json", "[" + modules + "]");
    EXPECT_THAT(failure(), HasSubstr(word)) << modules;
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
