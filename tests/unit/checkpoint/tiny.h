#pragma once
// A BERT small enough to write out by hand, and folders of it, for tests of checkpoint and export.

#include <gtest/gtest.h>
#include <unistd.h>
#include "compress/data/torch.h"

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"
#include "compress/nn/architecture.h"

namespace compress::tiny {

namespace fs = std::filesystem;

inline nn::Json config(const std::string& architecture = "BertForSequenceClassification") {
  return nn::Json{{"architectures", {architecture}},
                  {"model_type", "bert"},
                  {"vocab_size", 40},
                  {"hidden_size", 8},
                  {"num_hidden_layers", 2},
                  {"num_attention_heads", 2},
                  {"intermediate_size", 16},
                  {"max_position_embeddings", 12},
                  {"type_vocab_size", 2},
                  {"layer_norm_eps", 1e-12},
                  {"hidden_act", "gelu"},
                  {"some_other_key", "kept"},
                  {"id2label", {{"0", "negative"}, {"1", "positive"}}}};
}

// Every tensor of config(), random, by canonical name.
inline nn::TensorMap tensors(bool pooler = true, bool classifier = true) {
  nn::TensorMap out;
  torch::Generator generator = at::detail::createCPUGenerator(7);
  auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    out[name] = at::randn(shape, generator) * 0.3;
  };
  auto linear = [&](const std::string& name, int64_t rows, int64_t columns) {
    add(name + ".weight", {rows, columns});
    add(name + ".bias", {rows});
  };
  auto norm = [&](const std::string& name) {
    out[name + ".weight"] = at::rand({8}, generator) + 0.5;
    add(name + ".bias", {8});
  };
  add("embeddings.word_embeddings.weight", {40, 8});
  add("embeddings.position_embeddings.weight", {12, 8});
  add("embeddings.token_type_embeddings.weight", {2, 8});
  norm("embeddings.LayerNorm");
  for (int i = 0; i < 2; ++i) {
    std::string layer = str("encoder.layer.", i, ".");
    for (const char* part : {"query", "key", "value"})
      linear(layer + "attention.self." + part, 8, 8);
    linear(layer + "attention.output.dense", 8, 8);
    norm(layer + "attention.output.LayerNorm");
    linear(layer + "intermediate.dense", 16, 8);
    linear(layer + "output.dense", 8, 16);
    norm(layer + "output.LayerNorm");
  }
  if (pooler) linear("pooler.dense", 8, 8);
  if (classifier) linear("classifier", 2, 8);
  return out;
}

inline nn::ModelState state(const std::string& architecture = "BertForSequenceClassification") {
  nn::ModelState result;
  result.config = nn::family("bert").read_config(config(architecture));
  result.tensors = tensors(true, architecture == "BertForSequenceClassification");
  return result;
}

// Writes any tensors under any names.
inline void write(const fs::path& folder, const nn::TensorMap& named,
                  const nn::Json& json = config()) {
  std::vector<checkpoint::Planned> planned;
  for (const auto& [name, tensor] : named)
    planned.push_back(
        {name, tensor.scalar_type(), tensor.sizes().vec(), [&tensor = tensor] { return tensor; }});
  checkpoint::write_folder(planned, json, folder);
}

// A vocabulary for the tiny model: 40 tokens.
inline void write_tokenizer(const fs::path& folder) {
  std::string vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";
  for (char c = 'a'; c <= 'z'; ++c) vocabulary += str(c, "\n");
  for (const char* word : {"good", "bad", "film", "plot", "fine", "dull", "the", "and", "##s"})
    vocabulary += str(word, "\n");
  make_folder(folder);
  write_file(folder / "vocab.txt", vocabulary);
  write_file(folder / "tokenizer_config.json",
             R"({"do_lower_case": true, "tokenizer_class": "BertTokenizer"})");
}

// A folder that goes away with the test.
class Scratch : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    root_ = fs::temp_directory_path() /
            str("compress_", info->test_suite_name(), "_", info->name(), "_", ::getpid());
    fs::remove_all(root_);
    fs::create_directories(root_);
  }
  void TearDown() override { fs::remove_all(root_); }
  fs::path root_;
};

// What the action's Error says (message and hint), with `kind` checked.
template <class Action>
std::string error_of(ErrorKind kind, Action action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(kind_name(error.kind()), std::string(kind_name(kind))) << error.message();
    return error.message() + " | " + error.where() + " | " + error.hint();
  }
  ADD_FAILURE() << "no Error was thrown";
  return "";
}

}  // namespace compress::tiny
