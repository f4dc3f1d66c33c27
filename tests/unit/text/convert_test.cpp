// Tokenizers from older files, from GGUF and from training.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/text/ggml.h"
#include "compress/text/train.h"
#include "files/sentencepiece_file.h"
#include "learn/learn_merges.h"
#include "normalize/charsmap.h"
#include "unicode/unicode.h"

namespace compress::text {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Ids = std::vector<int32_t>;

class FolderTest : public testing::Test {
 protected:
  FolderTest()
      : folder_(std::filesystem::temp_directory_path() /
                (std::string("compress_convert_") +
                 testing::UnitTest::GetInstance()->current_test_info()->name())) {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  ~FolderTest() override { std::filesystem::remove_all(folder_); }
  void write(const char* name, std::string_view bytes) { write_file(folder_ / name, bytes); }
  std::string refusal() {
    try {
      load_tokenizer(folder_);
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::model);
      return e.where() + ": " + e.message();
    }
    return "accepted";
  }
  std::filesystem::path folder_;
};

TEST_F(FolderTest, ReadsVocabAndMerges) {
  write("vocab.json", R"({"a": 0, "b": 1, "ab": 2, "<|endoftext|>": 3})");
  write("merges.txt", "#version: 0.2\r\na b\r\n");
  auto gpt2 = load_tokenizer(folder_);
  for (const char* merges : {"#version: 0.2\na b", "\xEF\xBB\xBF#version: 0.2\ra b\r",
                             "\xEF\xBB\xBF"
                             "a b\n"}) {
    write("merges.txt", merges);
    EXPECT_EQ(load_tokenizer(folder_)->hash(), gpt2->hash()) << merges;
  }
  EXPECT_EQ(gpt2->encode("abb<|endoftext|>").ids, (Ids{2, 1, 3}));
  EXPECT_EQ(gpt2->special_ids().eos, 3);
  write("tokenizer_config.json", R"({"tokenizer_class": "GPT2Tokenizer", "add_bos_token": true})");
  EXPECT_EQ(load_tokenizer(folder_)->encode("ab").ids, (Ids{3, 2}));
  write("tokenizer_config.json", R"({"tokenizer_class": "CodeGenTokenizer"})");
  EXPECT_THAT(refusal(), HasSubstr("tokenizer class 'CodeGen' is not supported"));
}

TEST_F(FolderTest, ReadsTheOlderFilesOfAddedTokens) {
  write("vocab.json", R"({"a": 0, "b": 1, "ab": 2, "<|endoftext|>": 3})");
  write("merges.txt", "a b\n");
  write("added_tokens.json", R"({"<x>": 4, "<pad>": 5})");
  write("special_tokens_map.json", R"({"pad_token": "<pad>", "eos_token": "<|endoftext|>",
                                       "additional_special_tokens": ["<x>"]})");
  auto gpt2 = load_tokenizer(folder_);
  EXPECT_EQ(gpt2->encode("ab<x>a<pad>").ids, (Ids{2, 4, 0, 5}));
  EXPECT_EQ(gpt2->special_ids().pad, 5);
  EXPECT_EQ(gpt2->decode(Ids{2, 4}), "ab");
}

// A hole, and a name that JSON has twice: the last counts, as in Python.
TEST_F(FolderTest, ReadsVocabJsonWithHoles) {
  write("vocab.json", R"({"a": 0, "b": 1, "ab": 2, "<|endoftext|>": 3, "ab": 6})");
  write("merges.txt", "a b\n");
  auto gpt2 = load_tokenizer(folder_);
  EXPECT_EQ(gpt2->encode("abb<|endoftext|>").ids, (Ids{6, 1, 3}));
  EXPECT_EQ(gpt2->id_to_token(2), std::nullopt);
}

TEST_F(FolderTest, RefusesBadVocabAndMerges) {
  write("vocab.json", R"({"a": 0, "b": 1000000})");
  write("merges.txt", "a b\n");
  EXPECT_THAT(refusal(), HasSubstr("token 'b' has id 1000000"));
  write("vocab.json", R"({"a": 0, "b": -1})");
  EXPECT_THAT(refusal(), HasSubstr("a whole number"));
  write("vocab.json", R"({"a": 0, "b": 1})");
  EXPECT_THAT(refusal(), HasSubstr("needs the token 'ab'"));
  write("merges.txt", "a b c\n");
  EXPECT_THAT(refusal(), HasSubstr("merges.txt:1: a merge is two tokens"));
}

TEST_F(FolderTest, RefusesBytesThatAreNoSentencePieceModel) {
  write("spiece.model", "not a model");
  EXPECT_THAT(refusal(), HasSubstr("not a SentencePiece model"));
  write("spiece.model", "");
  EXPECT_THAT(refusal(), HasSubstr("it has no pieces"));
  write("tokenizer_config.json", R"({"tokenizer_class": "AlbertTokenizer"})");
  write("spiece.model",
        "\x0A\x03\x0A\x01"
        "a");
  EXPECT_THAT(refusal(), HasSubstr("'AlbertTokenizer' is not supported"));
}

TEST(SentencePieceFile, ReadsPiecesAndSkipsWhatItDoesNotKnow) {
  // One piece "a" of score -1.5 and type 3, an unknown field, a trainer's model type 2.
  const std::string bytes(
      "\x0A\x0A\x0A\x01"
      "a"
      "\x15\x00\x00\xC0\xBF\x18\x03"
      "\x50\x07"
      "\x12\x02\x18\x02",
      18);
  const SentencePieceModel model = parse_sentencepiece(bytes);
  ASSERT_EQ(model.pieces.size(), 1u);
  EXPECT_EQ(model.pieces[0].text, "a");
  EXPECT_EQ(model.pieces[0].score, -1.5f);
  EXPECT_EQ(model.pieces[0].type, SentencePieceModel::control);
  EXPECT_EQ(model.model_type, 2);
  for (size_t cut = 1; cut < bytes.size() - 4; ++cut)
    if (cut != 12 && cut != 14) {
      EXPECT_THROW(parse_sentencepiece(bytes.substr(0, cut)), std::invalid_argument) << cut;
    }
}

// A charsmap whose rules make U+0344 an A and U+0958 a B. Units of its trie: an offset to the
// children, whether a rule ends here, the byte that led here.
Charsmap two_rules() {
  std::vector<uint32_t> units(0x800, 0xFF);
  auto unit = [&](uint32_t at, uint8_t byte, uint32_t children, bool leaf) {
    units[at] = (at ^ children) << 10 | uint32_t{leaf} << 8 | byte;
  };
  unit(0, 0, 0x100, false);
  auto add = [&](std::string_view key, uint32_t children, uint32_t replacement) {
    uint32_t place = 0x100;
    for (size_t i = 0; i < key.size(); ++i, children += 0x100) {
      const auto byte = static_cast<uint8_t>(key[i]);
      unit(place ^ byte, byte, children, i + 1 == key.size());
      place = children;
    }
    units[place] = replacement | 1U << 31;
  };
  add("\u0344", 0x200, 0);
  add("\u0958", 0x400, 2);
  const auto size = static_cast<uint32_t>(units.size() * sizeof(uint32_t));
  std::string bytes(sizeof size + size, '\0');
  std::memcpy(bytes.data(), &size, sizeof size);
  std::memcpy(bytes.data() + sizeof size, units.data(), size);
  return Charsmap(bytes + std::string("A\0B", 4));
}

std::string normalized(std::string_view text) {
  std::vector<Change> changes;
  two_rules().normalize(text, changes);
  std::string out;
  for (const Change& change : changes) append_utf8(out, change.code_point);
  return out;
}

// A rule for the start of a grapheme cluster of less than six bytes takes all of it.
TEST(Charsmap, ShortClustersGoAsAWhole) {
  EXPECT_EQ(normalized("\u0958x"), "Bx");
  EXPECT_EQ(normalized("\u0958\u0344x"), "Bx");
  EXPECT_EQ(normalized("\u0958\u0301\u0301x"), "B\u0301\u0301x");  // seven bytes
  EXPECT_EQ(normalized("\u0344\u0301x"), "Ax");
}

TEST(Charsmap, ClustersAreThoseOfUnicode17) {
  EXPECT_EQ(normalized("\u0344\u0897x"), "Ax");                      // Extend since Unicode 16
  EXPECT_EQ(normalized("\u0344\u1adcx"), "Ax");                      // since 17
  EXPECT_EQ(normalized("\U000e01f7\u0344\u0301x"), "\U000e01f7Ax");  // Control, unassigned
  EXPECT_EQ(normalized("a\u0344\u0301x"), "aA\u0301x");              // one cluster of five bytes
  // A consonant after a consonant with virama is in the same cluster, and only then.
  EXPECT_EQ(normalized("\u0915\u094d\u0958\u0344x"), "\u0915\u094dBAx");
  EXPECT_EQ(normalized("\u0915\u094d\u0301\u0958\u0344x"), "\u0915\u094d\u0301BAx");
  EXPECT_EQ(normalized("\u0915\u0903\u094d\u0958\u0344x"), "\u0915\u0903\u094dBx");
  EXPECT_EQ(normalized("\u0915\u0958\u0344x"), "\u0915Bx");
  EXPECT_EQ(normalized("\u094d\u0958\u0344x"), "\u094dBx");
}

GgmlTokenizer smollm() {
  GgmlTokenizer parts;
  parts.model = "gpt2";
  parts.pre = "smollm";
  parts.tokens = {"<|end|>", "a", "b", "1", "2", "12", "ab", "\u0120"};
  parts.types = {3, 1, 1, 1, 1, 1, 1, 1};
  parts.merges = {"a b", "1 2"};
  parts.bos = parts.eos = 0;
  return parts;
}

TEST(Ggml, BuildsByteLevelTokenizers) {
  auto tokenizer = load_ggml_tokenizer(smollm(), "model.gguf");
  EXPECT_EQ(tokenizer->encode("ab12<|end|>").ids, (Ids{6, 3, 4, 0}));  // digits stay single
  EXPECT_EQ(tokenizer->decode(Ids{6, 7, 1, 0}), "ab a");
  EXPECT_EQ(tokenizer->special_ids().bos, 0);
  GgmlTokenizer llama = smollm();
  llama.pre = "llama-bpe";
  EXPECT_EQ(load_ggml_tokenizer(llama, "")->encode("ab12").ids, (Ids{0, 6, 5}));
  llama.add_bos = false;
  EXPECT_EQ(load_ggml_tokenizer(llama, "")->encode("ab12").ids, (Ids{6, 5}));
}

TEST(Ggml, BuildsSentencePieceTokenizersFromScores) {
  GgmlTokenizer parts;
  parts.model = "llama";
  parts.tokens = {"<unk>", "<s>", "</s>", "\u2581", "a", "b", "\u2581a", "ab", "<0x7A>"};
  parts.types = {2, 3, 3, 1, 1, 1, 1, 1, 6};
  parts.scores = {0, 0, 0, -1, -2, -3, -5, -4, 0};
  parts.unk = 0;
  parts.bos = 1;
  auto tokenizer = load_ggml_tokenizer(parts, "");
  EXPECT_EQ(tokenizer->encode("abz").ids, (Ids{1, 3, 7, 8}));  // ab has the better score
  EXPECT_EQ(tokenizer->decode(Ids{1, 3, 7, 8}), "abz");
}

TEST(Ggml, RefusesWhatDoesNotFit) {
  auto refusal = [](const std::function<void(GgmlTokenizer&)>& spoil) {
    GgmlTokenizer parts = smollm();
    spoil(parts);
    try {
      load_ggml_tokenizer(parts, "model.gguf");
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::model);
      EXPECT_THAT(e.where(), HasSubstr("model.gguf"));
      return e.message();
    }
    return std::string("accepted");
  };
  EXPECT_THAT(refusal([](auto& p) { p.pre = "falcon"; }), HasSubstr("'falcon' is not supported"));
  EXPECT_THAT(refusal([](auto& p) { p.model = "rwkv"; }), HasSubstr("'rwkv' is not supported"));
  EXPECT_THAT(refusal([](auto& p) { p.types.pop_back(); }), HasSubstr("7 token types for 8"));
  EXPECT_THAT(refusal([](auto& p) { p.bos = 8; }), HasSubstr("id 8 is not in the vocabulary"));
  EXPECT_THAT(refusal([](auto& p) { p.tokens[1] = "b"; }), HasSubstr("listed twice"));
  EXPECT_THAT(refusal([](auto& p) { p.tokens[1] = "\xFF"; }), HasSubstr("not UTF-8"));
  EXPECT_THAT(refusal([](auto& p) { p.merges = {"a"}; }), HasSubstr("not a pair"));
}

TEST_F(FolderTest, GgmlTokenizersCanBeWritten) {
  write_tokenizer(ggml_tokenizer_files(smollm(), ""), folder_);
  auto read = load_tokenizer(folder_);
  EXPECT_EQ(read->hash(), load_ggml_tokenizer(smollm(), "")->hash());
  EXPECT_EQ(read->special_ids().eos, 0);
}

TEST(LearnMerges, JoinsTheMostFrequentPairAndThenTheLowerIds) {
  // "low" 5 times, "lower" 2, "newest" 6, "widest" 3: the example of Sennrich et al.
  std::vector<std::string> tokens = {"d", "e", "i", "l", "n", "o", "r", "s", "t", "w"};
  auto word = [&](std::string_view text, int64_t count) {
    CountedWord out{{}, count};
    for (char c : text)
      out.symbols.push_back(static_cast<int32_t>(
          std::find(tokens.begin(), tokens.end(), std::string(1, c)) - tokens.begin()));
    return out;
  };
  const auto merges = learn_merges(
      {word("low", 5), word("lower", 2), word("newest", 6), word("widest", 3)}, tokens, 14, 1, 0);
  // es 9, then es+t 9, lo 7, lo+w 7.
  EXPECT_THAT(std::vector<std::string>(tokens.begin() + 10, tokens.end()),
              ElementsAre("es", "est", "lo", "low"));
  ASSERT_EQ(merges.size(), 4u);
  EXPECT_EQ(merges[1].left, 10);
  EXPECT_EQ(merges[1].joined, 11);
}

TEST(LearnMerges, CountsPairsInsideRunsOnce) {
  std::vector<std::string> tokens = {"a"};
  const auto merges = learn_merges({{{0, 0, 0, 0, 0}, 1}}, tokens, 10, 2, 0);
  EXPECT_THAT(tokens, ElementsAre("a", "aa"));  // aa aa a: aa+aa comes once
  EXPECT_EQ(merges.size(), 1u);
}

NextLine lines_of(std::vector<std::string> lines) {
  auto rest = std::make_shared<std::vector<std::string>>(lines.rbegin(), lines.rend());
  return [rest](std::string& line) {
    if (rest->empty()) return false;
    line = rest->back();
    rest->pop_back();
    return true;
  };
}

TEST_F(FolderTest, TrainsWordPiece) {
  TrainOptions options;
  options.lowercase = true;
  options.vocabulary_size = 40;
  options.special = {"<new>"};
  write_tokenizer(train_tokenizer(lines_of({"Hug hug hugs", "bug BUG!"}), options), folder_);
  auto tokenizer = load_tokenizer(folder_);
  EXPECT_EQ(tokenizer->special_ids().mask, 4);
  EXPECT_EQ(tokenizer->id_to_token(5), "<new>");
  EXPECT_TRUE(tokenizer->token_to_id("##ug"));
  EXPECT_TRUE(tokenizer->token_to_id("hug"));
  EXPECT_FALSE(tokenizer->token_to_id("hugs"));  // once only
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("HUG bugs").ids), "hug bugs");
}

TEST(Train, RefusesOptionsThatCannotBeMet) {
  auto refusal = [](TrainOptions options, std::vector<std::string> lines) {
    try {
      train_tokenizer(lines_of(std::move(lines)), options);
    } catch (const Error& e) {
      return std::string(kind_name(e.kind())) + ": " + e.message();
    }
    return std::string("accepted");
  };
  TrainOptions options;
  EXPECT_THAT(refusal(options, {}), HasSubstr("data error: there is no text"));
  options.vocabulary_size = 6;
  EXPECT_THAT(refusal(options, {"hug"}), HasSubstr("no room for 11"));
  options.special = {"[CLS]"};
  EXPECT_THAT(refusal(options, {"hug"}), HasSubstr("'[CLS]' is there already"));
  options = {TrainedModel::bpe, 200};
  EXPECT_THAT(refusal(options, {"hug"}), HasSubstr("no room for 257"));
  options = {TrainedModel::unigram, 2};
  EXPECT_THAT(refusal(options, {"hug"}), HasSubstr("too small"));
}

}  // namespace
}  // namespace compress::text
