#include "compress/text/trim.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "compress/base/files.h"
#include "unit/text/fixture.h"

namespace compress::text {
namespace {

using nlohmann::json;
using testing::ElementsAre;

class Trim : public ModelFolder {
 protected:
  void put(const char* name, const std::string& content) { write_file(folder() / name, content); }

  // Trims to the named tokens and what comes with them; loads the result.
  std::vector<std::string> trim(const std::vector<std::string>& wanted) {
    before_ = load_tokenizer(folder());
    std::vector<bool> keep(static_cast<size_t>(before_->vocabulary_size()));
    for (const std::string& token : wanted) keep[before_->token_to_id(token).value()] = true;
    trimmed_ = trim_tokenizer(folder(), *before_, keep);
    std::filesystem::path out = folder();
    out += "-trimmed";
    std::filesystem::remove_all(out);
    make_folder(out);
    for (const auto& [name, content] : trimmed_.files) write_file(out / name, content);
    after_ = load_tokenizer(out);
    std::filesystem::remove_all(out);
    std::vector<std::string> tokens;
    EXPECT_EQ(after_->vocabulary_size(), static_cast<int64_t>(trimmed_.kept.size()));
    for (size_t id = 0; id < trimmed_.kept.size(); ++id) {
      tokens.emplace_back(after_->id_to_token(static_cast<int32_t>(id)).value_or(""));
      EXPECT_EQ(tokens.back(), before_->id_to_token(trimmed_.kept[id]));
    }
    return tokens;
  }
  json file(const char* name) const { return json::parse(trimmed_.files.at(name)); }

  std::unique_ptr<Tokenizer> before_, after_;
  TrimmedTokenizer trimmed_;
};

json token_entry(int id, const char* content, bool special = true) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", special}};
}

json around(const char* token, int id) {
  return {{"type", "TemplateProcessing"},
          {"single",
           {{{"Sequence", {{"id", "A"}, {"type_id", 0}}}},
            {{"SpecialToken", {{"id", token}, {"type_id", 0}}}}}},
          {"pair", json::array({{{"Sequence", {{"id", "A"}, {"type_id", 0}}}},
                                {{"Sequence", {{"id", "B"}, {"type_id", 1}}}}})},
          {"special_tokens", {{token, {{"id", token}, {"ids", {id}}, {"tokens", {token}}}}}}};
}

TEST_F(Trim, WordPiece) {
  put("vocab.txt",
      "[PAD]\n[unused]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##b\nword\n##ing\ngone\n##é\n");
  put("tokenizer_config.json", R"({"added_tokens_decoder": {"12": {"content": "<x>"}}})");
  put("generation_config.json", R"({"eos_token_id": [4, -1], "pad_token_id": 0})");
  EXPECT_THAT(trim({"word"}), ElementsAre("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##b",
                                          "word", "##é", "<x>"));
  EXPECT_THAT(trimmed_.kept, ElementsAre(0, 2, 3, 4, 5, 6, 7, 8, 11, 12));
  EXPECT_EQ(trimmed_.files.at("vocab.txt"),
            "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##b\nword\n##é\n");
  EXPECT_EQ(file("tokenizer_config.json"),
            json({{"added_tokens_decoder", {{"9", {{"content", "<x>"}}}}}}));
  EXPECT_EQ(file("generation_config.json"), json({{"eos_token_id", {3, -1}}, {"pad_token_id", 0}}));
  EXPECT_THAT(after_->encode("word ab<x> wording").ids, ElementsAre(2, 7, 5, 6, 9, 1, 3));
}

TEST_F(Trim, BpeKeepsWhatTokensAreJoinedFrom) {
  // "abc" is joined from "ab" and "c" or from "a" and "bc"; "abcd" goes, "de" has nobody.
  const json vocab = {{"a", 0},  {"b", 1},  {"c", 2},   {"d", 3},    {"e", 4},    {"ab", 5},
                      {"bc", 6}, {"de", 7}, {"abc", 8}, {"abcd", 9}, {"</s>", 10}};
  json content = {
      {"version", "1.0"},
      {"padding", {{"pad_id", 10}, {"pad_token", "</s>"}}},
      {"added_tokens", json::array({token_entry(10, "</s>"), token_entry(11, "<new>", false)})},
      {"post_processor", around("</s>", 10)},
      {"model",
       {{"type", "BPE"},
        {"vocab", vocab},
        {"merges", {"a b", "b c", "d e", "ab c", "a bc", "abc d"}}}}};
  put("tokenizer.json", content.dump());
  EXPECT_THAT(trim({"abc"}),
              ElementsAre("a", "b", "c", "d", "e", "ab", "bc", "abc", "</s>", "<new>"));
  const json now = file("tokenizer.json");
  EXPECT_EQ(now["model"]["merges"], json({"a b", "b c", "ab c", "a bc"}));
  EXPECT_EQ(now["model"]["vocab"]["</s>"], 8);
  EXPECT_EQ(now["padding"]["pad_id"], 8);
  EXPECT_EQ(now["added_tokens"][1]["id"], 9);
  EXPECT_EQ(now["post_processor"]["special_tokens"]["</s>"]["ids"], json({8}));
  EXPECT_THAT(before_->encode("abcd").ids, ElementsAre(9, 10));
  EXPECT_THAT(after_->encode("abcd").ids, ElementsAre(7, 3, 8));
  EXPECT_THAT(after_->encode("bcab").ids, ElementsAre(6, 5, 8));
}

TEST_F(Trim, BpeOfTwoFiles) {
  json vocab = json::object();
  for (int byte = 'a'; byte <= 'e'; ++byte)
    vocab[std::string(1, static_cast<char>(byte))] = byte - 'a';
  vocab["ab"] = 5;
  vocab["abc"] = 6;
  vocab["de"] = 7;
  vocab["<|endoftext|>"] = 8;
  put("vocab.json", vocab.dump());
  put("merges.txt", "#version: 0.2\na b\nd e\nab c\n");
  put("added_tokens.json", R"({"<new>": 9})");
  EXPECT_THAT(trim({"abc"}),
              ElementsAre("a", "b", "c", "d", "e", "ab", "abc", "<|endoftext|>", "<new>"));
  EXPECT_EQ(trimmed_.files.at("merges.txt"), "#version: 0.2\na b\nab c\n");
  EXPECT_EQ(file("vocab.json")["<|endoftext|>"], 7);
  EXPECT_EQ(file("added_tokens.json"), json({{"<new>", 8}}));
}

TEST_F(Trim, UnigramKeepsTheLowestScore) {
  json vocab = json::array();
  for (const auto& [piece, score] : std::vector<std::pair<const char*, double>>{
           {"<unk>", 0}, {"ab", -2}, {"abc", -3}, {"a", -4}, {"low", -20}, {"b", -5}, {"xy", -6}})
    vocab.push_back(json::array({piece, score}));
  const json model = {
      {"type", "Unigram"}, {"unk_id", 0}, {"byte_fallback", false}, {"vocab", vocab}};
  put("tokenizer.json", json({{"version", "1.0"},
                              {"added_tokens", json::array({token_entry(0, "<unk>")})},
                              {"model", model}})
                            .dump());
  EXPECT_THAT(trim({"ab"}), ElementsAre("<unk>", "ab", "a", "low", "b"));
  EXPECT_EQ(file("tokenizer.json")["model"]["unk_id"], 0);
  EXPECT_EQ(file("tokenizer.json")["model"]["vocab"][4], json::array({"b", -5}));
  EXPECT_THAT(after_->encode("abb?").ids, ElementsAre(1, 4, 0));
}

TEST_F(Trim, BytesStay) {
  json vocab = {{"<unk>", 0}, {"<0x41>", 1}, {"<0xFF>", 2}, {"<0x", 3}, {"word", 4}, {"▁", 5}};
  put("tokenizer.json", json({{"version", "1.0"},
                              {"model",
                               {{"type", "BPE"},
                                {"unk_token", "<unk>"},
                                {"byte_fallback", true},
                                {"vocab", vocab},
                                {"merges", json::array()}}}})
                            .dump());
  EXPECT_THAT(trim({}), ElementsAre("<unk>", "<0x41>", "<0xFF>", "▁"));
}

TEST_F(Trim, HolesAreClosedAndAddedTokensComeLast) {
  const json content = {{"version", "1.0"},
                        {"added_tokens", json::array({token_entry(3, "<new>", false)})},
                        {"pre_tokenizer", {{"type", "Whitespace"}}},
                        {"model",
                         {{"type", "WordPiece"},
                          {"unk_token", "[UNK]"},
                          {"continuing_subword_prefix", "##"},
                          {"max_input_chars_per_word", 100},
                          {"vocab", {{"[UNK]", 0}, {"one", 2}, {"two", 6}}}}}};
  put("tokenizer.json", content.dump());
  EXPECT_THAT(trim({"two"}), ElementsAre("[UNK]", "two", "<new>"));
  EXPECT_THAT(trimmed_.kept, ElementsAre(0, 6, 3));
  EXPECT_THAT(after_->encode("two<new>").ids, ElementsAre(1, 2));
}

TEST(TokenIds, OfSettings) {
  nlohmann::ordered_json settings = {{"eos_token_id", {2, 5}},
                                     {"pad_token_id", -1},
                                     {"vocab_size", 9},
                                     {"suppress_tokens", {1}},
                                     {"bad_words_ids", {{3}, {4, 2}}},
                                     {"task", {{"decoder_start_token_id", 7}}},
                                     {"forced_bos_token_id", nullptr}};
  visit_token_ids(settings, [](int64_t& id) { id += 100; });
  const nlohmann::ordered_json expected = {{"eos_token_id", {102, 105}},
                                           {"pad_token_id", -1},
                                           {"vocab_size", 9},
                                           {"suppress_tokens", {101}},
                                           {"bad_words_ids", {{103}, {104, 102}}},
                                           {"task", {{"decoder_start_token_id", 107}}},
                                           {"forced_bos_token_id", nullptr}};
  EXPECT_EQ(settings, expected);
}

}  // namespace
}  // namespace compress::text
