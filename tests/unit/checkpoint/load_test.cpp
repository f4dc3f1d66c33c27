#include "compress/nn/outline.h"
#include "unit/checkpoint/tiny.h"

namespace compress {
namespace {

namespace fs = std::filesystem;
using checkpoint::load_model;

class Load : public tiny::Scratch {
 protected:
  std::string failure() {
    return tiny::error_of(ErrorKind::model, [&] { load_model(root_); });
  }
  static bool has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  }
  void expect_same(const nn::TensorMap& loaded, const nn::TensorMap& expected) {
    ASSERT_EQ(loaded.size(), expected.size());
    for (const auto& [name, tensor] : expected) {
      ASSERT_TRUE(loaded.contains(name)) << name;
      EXPECT_EQ(loaded.at(name).scalar_type(), torch::kFloat32);
      EXPECT_TRUE(torch::equal(loaded.at(name), tensor)) << name;
    }
  }
};

TEST_F(Load, AcceptsNamesWithAndWithoutPrefixAndOldLayerNorms) {
  nn::TensorMap expected = tiny::tensors(), named;
  for (const auto& [name, tensor] : expected) {
    std::string on_disk = name;
    if (ends_with(name, "embeddings.LayerNorm.weight")) on_disk = "embeddings.LayerNorm.gamma";
    if (ends_with(name, "embeddings.LayerNorm.bias")) on_disk = "bert.embeddings.LayerNorm.beta";
    if (starts_with(name, "encoder.layer.1")) on_disk = "bert." + name;
    named[on_disk] = tensor;
  }
  named["bert.embeddings.position_ids"] = torch::arange(12).unsqueeze(0);  // a buffer, int64
  tiny::write(root_, named);
  nn::ModelState state = load_model(root_);
  expect_same(state.tensors, expected);
  EXPECT_EQ(state.config.labels, (std::vector<std::string>{"negative", "positive"}));
  EXPECT_EQ(state.config.head, nn::HeadKind::classification);
  EXPECT_TRUE(state.quantization.is_null());
}

TEST_F(Load, ConvertsEveryFloatingType) {
  nn::TensorMap expected = tiny::tensors(), named = expected;
  auto store = [&](const std::string& name, torch::ScalarType type) {
    named[name] = expected[name].to(type);
    expected[name] = named[name].to(torch::kFloat32);
  };
  store("encoder.layer.0.output.dense.weight", torch::kFloat16);
  store("encoder.layer.0.output.dense.bias", torch::kBFloat16);
  store("classifier.weight", torch::kFloat64);
  tiny::write(root_, named);
  expect_same(load_model(root_).tensors, expected);
}

TEST_F(Load, AConfigurationAloneTellsNamesAndShapes) {
  tiny::write(root_, tiny::tensors());
  const auto shapes = checkpoint::tensor_shapes(root_);
  EXPECT_TRUE(checkpoint::has_weights(root_));
  fs::remove(root_ / "model.safetensors");
  EXPECT_FALSE(checkpoint::has_weights(root_));
  const nn::ModelState outline = nn::outline(checkpoint::load_config(root_));
  std::map<std::string, std::vector<int64_t>> outlined;
  for (const auto& [name, tensor] : outline.tensors) outlined[name] = tensor.sizes().vec();
  EXPECT_EQ(outlined, shapes);
}

TEST_F(Load, LeavesOutHeadsThatTheArchitectureDoesNotUse) {
  nn::TensorMap named = tiny::tensors(true, true);
  named["cls.predictions.transform.dense.weight"] = torch::ones({8, 8});
  tiny::write(root_, named, tiny::config("BertModel"));
  expect_same(load_model(root_).tensors, tiny::tensors(true, false));
  // A masked LM uses no pooler.
  named["cls.predictions.transform.dense.bias"] = torch::ones({8});
  named["cls.predictions.transform.LayerNorm.gamma"] = torch::ones({8});
  named["cls.predictions.transform.LayerNorm.beta"] = torch::ones({8});
  named["cls.predictions.bias"] = torch::ones({40});
  named["cls.seq_relationship.weight"] = torch::ones({2, 8});
  tiny::write(root_, named, tiny::config("BertForMaskedLM"));
  nn::ModelState state = load_model(root_);
  EXPECT_FALSE(state.tensors.contains("pooler.dense.weight"));
  EXPECT_FALSE(state.tensors.contains("classifier.weight"));
  EXPECT_EQ(state.tensors.size(), tiny::tensors(false, false).size() + 5);
}

// TinyBERT's published checkpoints say BertForPreTraining and have no head for pairs.
TEST_F(Load, AFurtherHeadOfTheClassMayBeMissingAsAWhole) {
  nn::TensorMap named = tiny::tensors(true, false);
  for (const char* part : {"transform.dense.weight", "transform.dense.bias",
                           "transform.LayerNorm.weight", "transform.LayerNorm.bias"})
    named[str("cls.predictions.", part)] = torch::ones(
        ends_with(part, "dense.weight") ? std::vector<int64_t>{8, 8} : std::vector<int64_t>{8});
  named["cls.predictions.bias"] = torch::ones({40});
  named["fit_denses.0.weight"] = torch::ones({4, 8});
  tiny::write(root_, named, tiny::config("BertForPreTraining"));
  testing::internal::CaptureStderr();
  const nn::ModelState state = load_model(root_);
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_EQ(state.config.head, nn::HeadKind::masked_lm);
  EXPECT_TRUE(state.config.more_heads.empty());
  EXPECT_TRUE(has(said, "nothing of the head 'next_sentence' (cls.seq_relationship)")) << said;
  EXPECT_TRUE(has(said, "'fit_denses.0.weight'")) << said;
  // A part of it is no whole head.
  named["cls.seq_relationship.weight"] = torch::ones({2, 8});
  tiny::write(root_, named, tiny::config("BertForPreTraining"));
  EXPECT_TRUE(has(failure(), "cls.seq_relationship.bias is missing"));
}

TEST_F(Load, AHeadWithoutTheClassThatNamesItIsTold) {
  nn::Json config = tiny::config("BertModel");
  config.erase("architectures");
  tiny::write(root_, tiny::tensors(true, true), config);
  testing::internal::CaptureStderr();
  expect_same(load_model(root_).tensors, tiny::tensors(true, false));
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_TRUE(has(said, "config.json has no 'architectures'")) << said;
  EXPECT_TRUE(has(said, "left out 'classifier.bias', 'classifier.weight'")) << said;
  EXPECT_TRUE(has(said, "BertForSequenceClassification")) << said;
}

TEST_F(Load, ListsEveryProblemInOneError) {
  nn::TensorMap named = tiny::tensors();
  named.erase("encoder.layer.1.output.dense.bias");
  named["encoder.layer.0.output.dense.weight"] = torch::ones({16, 8});
  named["encoder.layer.2.output.dense.weight"] = torch::ones({8, 16});
  tiny::write(root_, named);
  std::string text = failure();
  EXPECT_TRUE(has(text, "encoder.layer.1.output.dense.bias is missing")) << text;
  EXPECT_TRUE(has(text, "encoder.layer.0.output.dense.weight has shape [16, 8]")) << text;
  EXPECT_TRUE(has(text, "'encoder.layer.2.output.dense.weight' is unexpected")) << text;
  EXPECT_FALSE(has(text, "'encoder.layer.0")) << text;
}

TEST_F(Load, LeavesOutTensorsThatAreNoPartOfTheModelWithOneLine) {
  nn::TensorMap named = tiny::tensors();
  for (int i = 0; i < 7; ++i) {
    named[str("fit_denses.", i, ".weight")] = torch::ones({4, 8});
    named[str("fit_denses.", i, ".count")] = torch::ones({1}, torch::kInt64);
  }
  tiny::write(root_, named);
  testing::internal::CaptureStderr();
  expect_same(load_model(root_).tensors, tiny::tensors());
  load_model(root_);  // says nothing again
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_TRUE(has(said,
                  "left out what is no part of a bert model: 'fit_denses.0.count', "
                  "'fit_denses.0.weight'"))
      << said;
  EXPECT_TRUE(has(said, " and 8 more\n")) << said;
  EXPECT_EQ(said.find("left out"), said.rfind("left out")) << said;
}

TEST_F(Load, RefusesFurtherTensorsOfItsLayers) {
  const std::string query = "encoder.layer.0.attention.self.query.";
  for (const char* part : {"lora_A.weight", "weight_scale", "weight.absmax"}) {
    nn::TensorMap named = tiny::tensors();
    named[query + part] = torch::ones({1});
    tiny::write(root_, named);
    EXPECT_TRUE(has(failure(), "'" + query + part + "' is unexpected")) << part;
  }
  // A bias changes what is computed, unless it is zero.
  nn::TensorMap named = tiny::tensors();
  named["embeddings.word_embeddings.bias"] = torch::zeros({8});
  tiny::write(root_, named);
  expect_same(load_model(root_).tensors, tiny::tensors());
  named["embeddings.word_embeddings.bias"][3] = 1;
  tiny::write(root_, named);
  EXPECT_TRUE(has(failure(), "'embeddings.word_embeddings.bias' is unexpected"));
}

TEST_F(Load, ReadsNamesThatWrappersLeft) {
  for (const char* front : {"module.", "_orig_mod.", "module._orig_mod.", "model.",
                            "_orig_mod.model.", "module.bert."}) {
    nn::TensorMap named;
    for (const auto& [name, tensor] : tiny::tensors()) named[front + name] = tensor;
    fs::remove_all(root_);
    tiny::write(root_, named);
    expect_same(load_model(root_).tensors, tiny::tensors());
  }
  // In front of some of them it is another model.
  nn::TensorMap named;
  for (const auto& [name, tensor] : tiny::tensors())
    named[(starts_with(name, "classifier") ? "" : "module.") + name] = tensor;
  tiny::write(root_, named);
  EXPECT_TRUE(has(failure(), "embeddings.word_embeddings.weight is missing"));
}

TEST_F(Load, SaysWhichTypeAConfigWithoutOneLooksLike) {
  nn::Json json = tiny::config();
  json.erase("model_type");
  tiny::write(root_, tiny::tensors(), json);
  EXPECT_TRUE(has(failure(), "add \"model_type\": \"bert\", which its contents look like"));
  json.erase("architectures");
  nn::TensorMap named;
  for (const auto& [name, tensor] : tiny::tensors()) named["bert." + name] = tensor;
  tiny::write(root_, named, json);
  EXPECT_TRUE(has(failure(), "add \"model_type\": \"bert\", which its contents look like"));
  tiny::write(root_, tiny::tensors(), json);
  EXPECT_TRUE(has(failure(), "look like one of bert, roberta, xlm-roberta, electra"));
  tiny::write(root_, tiny::tensors(), {{"a", 1}});
  EXPECT_TRUE(has(failure(), "no configuration of a supported model"));
}

TEST_F(Load, RefusesAdaptersAndOtherQuantisationsByName) {
  tiny::write(root_, tiny::tensors());
  write_file(root_ / "adapter_config.json", "{}");
  EXPECT_TRUE(has(failure(), "adapter_config.json"));
  fs::remove(root_ / "adapter_config.json");
  for (const char* method : {"bitsandbytes", "gptq", "awq"}) {
    nn::Json json = tiny::config();
    json["quantization_config"] = {{"quant_method", method}, {"bits", 4}};
    tiny::write(root_, tiny::tensors(), json);
    EXPECT_TRUE(has(failure(), str("quant_method \"", method, "\""))) << method;
  }
}

TEST_F(Load, NamesMakingsThatItDoesNotRead) {
  const std::string query = "encoder.layer.0.attention.self.query.";
  for (const auto& [part, word] :
       {std::pair{"qweight", "GPTQ or AWQ"}, {"base_layer.lora_A.weight", "adapter"}}) {
    nn::TensorMap named = tiny::tensors();
    named.erase(query + "weight");
    named[query + part] = torch::ones({4, 8});
    tiny::write(root_, named);
    const std::string text = failure();
    EXPECT_TRUE(has(text, word) && has(text, query + "weight is missing")) << text;
  }
}

TEST_F(Load, NamesAShardThatIsMissing) {
  tiny::write(root_, tiny::tensors());
  fs::rename(root_ / "model.safetensors", root_ / "model-00001-of-00002.safetensors");
  write_file(root_ / "model.safetensors.index.json",
             R"({"weight_map": {"classifier.bias": "model-00001-of-00002.safetensors",
                                "classifier.weight": "model-00002-of-00002.safetensors"}})");
  EXPECT_TRUE(has(failure(), "model-00002-of-00002.safetensors"));
}

TEST_F(Load, RefusesAFileWithoutTheHeadThatItNames) {
  tiny::write(root_, tiny::tensors(true, false));
  std::string text = failure();
  EXPECT_TRUE(has(text, "classifier.weight is missing") && has(text, "classifier.bias is missing"))
      << text;
}

TEST_F(Load, RefusesIntegerWeightsAndDoubles) {
  nn::TensorMap named = tiny::tensors();
  named["classifier.bias"] = torch::zeros({2}, torch::kInt64);
  tiny::write(root_, named);
  EXPECT_TRUE(has(failure(), "'classifier.bias' has type I64"));
  named = tiny::tensors();
  named["bert.encoder.layer.0.output.dense.bias"] = torch::zeros({8});
  tiny::write(root_, named);
  EXPECT_TRUE(has(failure(), "encoder.layer.0.output.dense.bias is there twice"));
}

TEST_F(Load, ExplainsFoldersThatAreNoModels) {
  EXPECT_TRUE(has(tiny::error_of(ErrorKind::model, [&] { load_model(root_ / "none"); }),
                  "no such model folder"));
  EXPECT_TRUE(has(failure(), "no config.json"));
  write_file(root_ / "config.json", tiny::config().dump());
  EXPECT_TRUE(has(failure(), "no model.safetensors"));
  write_file(root_ / "pytorch_model.bin", "x");
  EXPECT_TRUE(has(failure(), "convert it"));
  write_file(root_ / "config.json", "{\"model_type\": \"bert\",\n \"vocab_size\": }");
  std::string text = failure();
  EXPECT_TRUE(has(text, "line 2") && has(text, "config.json")) << text;
  write_file(root_ / "config.json", "[1]");
  EXPECT_TRUE(has(failure(), "no 'model_type'"));
  write_file(root_ / "config.json", "{\"model_type\": \"unheard_of\"}");
  text = failure();
  EXPECT_TRUE(has(text, "unheard_of") && has(text, "bert")) << text;
  write_file(root_ / "config.json", "{\"model_type\": \"bert\"}");
  EXPECT_TRUE(has(failure(), "config.json has no number 'vocab_size'"));
}

TEST_F(Load, RefusesSizesThatTheFilesCannotHold) {
  for (const char* key : {"num_hidden_layers", "hidden_size", "vocab_size", "intermediate_size"}) {
    nn::Json json = tiny::config();
    json[key] = int64_t{1} << 30;
    tiny::write(root_, tiny::tensors(), json);
    EXPECT_TRUE(has(failure(), std::string("config.json: ") + key)) << key;
  }
}

TEST_F(Load, RefusesAnUntiedMaskedLm) {
  nn::Json json = tiny::config("BertForMaskedLM");
  json["tie_word_embeddings"] = false;
  tiny::write(root_, tiny::tensors(), json);
  EXPECT_TRUE(has(failure(), "tie_word_embeddings"));
}

TEST_F(Load, RefusesADamagedFile) {
  tiny::write(root_, tiny::tensors());
  fs::resize_file(root_ / "model.safetensors", fs::file_size(root_ / "model.safetensors") - 4);
  EXPECT_TRUE(has(failure(), "model.safetensors"));
}

TEST_F(Load, ShapesAreThoseOfTheModel) {
  nn::TensorMap named = tiny::tensors();
  named["cls.predictions.bias"] = torch::ones({40});
  tiny::write(root_, named);
  auto shapes = checkpoint::tensor_shapes(root_);
  ASSERT_EQ(shapes.size(), tiny::tensors().size());
  for (const auto& [name, tensor] : tiny::tensors())
    EXPECT_EQ(shapes.at(name), tensor.sizes().vec()) << name;
}

TEST_F(Load, TheConfigAloneNeedsNoWeights) {
  write_file(root_ / "config.json", tiny::config().dump());
  nn::ModelConfig config = checkpoint::load_config(root_);
  EXPECT_EQ(config.hidden_size, 8);
  EXPECT_EQ(config.raw.at("some_other_key"), "kept");
}

}  // namespace
}  // namespace compress
