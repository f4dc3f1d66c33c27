#pragma once
// A model folder with a tokenizer of a few tokens, to be changed before it is loaded.

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "compress/base/files.h"
#include "compress/text/tokenizer.h"

namespace compress::text {

class ModelFolder : public testing::Test {
 protected:
  ModelFolder() {
    std::string name = std::string("compress_text_") +
                       testing::UnitTest::GetInstance()->current_test_info()->name();
    for (char& c : name)
      if (c == '/') c = '_';
    folder_ = std::filesystem::temp_directory_path() / name;
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    int id = 0;
    for (const char* token : fixture_tokens) vocab_[token] = id++;
    auto special = [](const char* token, int segment) {
      return nlohmann::json{{"SpecialToken", {{"id", token}, {"type_id", segment}}}};
    };
    auto sequence = [](const char* name_of, int segment) {
      return nlohmann::json{{"Sequence", {{"id", name_of}, {"type_id", segment}}}};
    };
    content_ = {{"version", "1.0"},
                {"padding", {{"strategy", "BatchLongest"}}},
                {"added_tokens", nlohmann::json::array()},
                {"normalizer",
                 {{"type", "BertNormalizer"},
                  {"clean_text", true},
                  {"handle_chinese_chars", true},
                  {"strip_accents", nullptr},
                  {"lowercase", true}}},
                {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
                {"post_processor",
                 {{"type", "TemplateProcessing"},
                  {"single", {special("[CLS]", 0), sequence("A", 0), special("[SEP]", 0)}},
                  {"pair",
                   {special("[CLS]", 0), sequence("A", 0), special("[SEP]", 0), sequence("B", 1),
                    special("[SEP]", 1)}},
                  {"special_tokens",
                   {{"[CLS]", {{"id", "[CLS]"}, {"ids", {2}}, {"tokens", {"[CLS]"}}}},
                    {"[SEP]", {{"id", "[SEP]"}, {"ids", {3}}, {"tokens", {"[SEP]"}}}}}}}},
                {"decoder", {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}}},
                {"model",
                 {{"type", "WordPiece"},
                  {"unk_token", "[UNK]"},
                  {"continuing_subword_prefix", "##"},
                  {"max_input_chars_per_word", 100},
                  {"vocab", vocab_}}}};
    for (int i = 0; i < 5; ++i) add(fixture_tokens[i], i, {{"special", true}});
  }
  ~ModelFolder() override { std::filesystem::remove_all(folder_); }

  static constexpr const char* fixture_tokens[] = {
      "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "world", "un", "##aff", "##able",
      "able",  "!",     ",",     "#",     "[",      "]",     "日",    "i",  "##σ",   "."};

  nlohmann::json& content() { return content_; }
  // Adds pieces to the model's vocabulary.
  template <class... Pieces>
  void vocabulary(const Pieces&... more) {
    (content_["model"]["vocab"].emplace(more, content_["model"]["vocab"].size()), ...);
  }
  // Adds a token behind all others.
  void added(const std::string& token, const nlohmann::json& flags) {
    add(token, static_cast<int>(content_["model"]["vocab"].size()) + extra_++, flags);
  }
  const Tokenizer& tokenizer() {
    if (!tokenizer_) {
      write_file(folder_ / "tokenizer.json", content_.dump());
      tokenizer_ = load_tokenizer(folder_);
    }
    return *tokenizer_;
  }
  void reload() { tokenizer_.reset(); }
  const std::filesystem::path& folder() const { return folder_; }

 private:
  void add(const std::string& token, int id, const nlohmann::json& flags) {
    nlohmann::json entry = {{"id", id}, {"content", token}};
    entry.update(flags);
    content_["added_tokens"].push_back(entry);
  }

  std::filesystem::path folder_;
  nlohmann::json content_, vocab_ = nlohmann::json::object();
  int extra_ = 0;
  std::unique_ptr<Tokenizer> tokenizer_;
};

}  // namespace compress::text
