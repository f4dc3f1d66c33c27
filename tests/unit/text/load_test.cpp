// Tokenizer files that must be refused, and the vocab.txt fallback.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "compress/base/error.h"
#include "fixture.h"

namespace compress::text {
namespace {

using nlohmann::json;
using testing::HasSubstr;

struct Bad {
  const char* name;
  std::function<void(json&)> spoil;
  const char* message;  // part of the error
};

std::ostream& operator<<(std::ostream& out, const Bad& each) {
  return out << each.name;
}

class BadFileTest : public ModelFolder, public testing::WithParamInterface<Bad> {};

TEST_P(BadFileTest, IsRefusedByName) {
  GetParam().spoil(content());
  try {
    tokenizer();
    FAIL() << "the file was accepted";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::model);
    EXPECT_THAT(e.message(), HasSubstr(GetParam().message));
    EXPECT_THAT(e.where(), HasSubstr("tokenizer.json"));
  }
}

const std::vector<Bad> bad_files = {
    {"model", [](json& f) { f["model"]["type"] = "WordLevel"; }, "model 'WordLevel'"},
    {"no_model", [](json& f) { f.erase("model"); }, "an object or array is missing"},
    {"normalizer", [](json& f) { f["normalizer"]["type"] = "Romanise"; }, "normalizer 'Romanise'"},
    {"splitter", [](json& f) { f["pre_tokenizer"]["type"] = "UnicodeScripts"; },
     "pre_tokenizer 'UnicodeScripts'"},
    {"processor", [](json& f) { f["post_processor"]["type"] = "Wrap"; }, "post_processor 'Wrap'"},
    {"roberta", [](json& f) { f["post_processor"]["type"] = "RobertaProcessing"; },
     "an object or array is missing"},
    {"decoder", [](json& f) { f["decoder"]["type"] = "CTC"; }, "decoder 'CTC'"},
    {"version", [](json& f) { f["version"] = "2.0"; }, "version '2.0'"},
    {"no_unk", [](json& f) { f["model"]["unk_token"] = "<unk>"; }, "'<unk>' is not in"},
    {"gap", [](json& f) { f["model"]["vocab"]["hello"] = 1000000; }, "'hello' has id 1000000"},
    {"negative", [](json& f) { f["model"]["vocab"]["hello"] = -1; }, "'hello' has id -1"},
    {"fraction", [](json& f) { f["model"]["vocab"]["hello"] = 5.5; }, "'hello' has id 5.5"},
    {"twice", [](json& f) { f["model"]["vocab"]["hello"] = 6; }, "id 6 belongs to two tokens"},
    {"empty", [](json& f) { f["model"]["vocab"] = json::object(); }, "vocabulary is empty"},
    {"list", [](json& f) { f["model"]["vocab"] = json::array({1}); }, "object of token to id"},
    {"limit", [](json& f) { f["model"]["max_input_chars_per_word"] = -3; }, "a whole number"},
    {"huge", [](json& f) { f["model"]["max_input_chars_per_word"] = ~0ull; }, "a whole number"},
    {"flag", [](json& f) { f["normalizer"]["lowercase"] = 1; }, "true or false"},
    {"prefix", [](json& f) { f["model"]["continuing_subword_prefix"] = 3; }, "a string"},
    {"added_id", [](json& f) { f["added_tokens"][0]["id"] = 7; }, "says id 7 but has id 0"},
    {"added_new",
     [](json& f) {
       f["added_tokens"].push_back({{"id", 99}, {"content", "<new>"}});
     },
     "says id 99 but has id 20, the next free one"},
    {"added_twice", [](json& f) { f["added_tokens"].push_back(f["added_tokens"][0]); }, "twice"},
    {"added_empty",
     [](json& f) {
       f["added_tokens"].push_back({{"id", 20}, {"content", ""}});
     },
     "no content"},
    {"added_number", [](json& f) { f["added_tokens"].push_back(3); }, "an object is expected"},
    {"added_vanishes",
     [](json& f) {
       f["added_tokens"].push_back({{"id", 20}, {"content", "\u0301"}});
     },
     "empty once normalised"},
    {"added_same",
     [](json& f) {
       f["added_tokens"].push_back({{"id", 20}, {"content", "abc"}});
       f["added_tokens"].push_back({{"id", 21}, {"content", "ABC"}});
     },
     "look for the same text"},
    {"template_id", [](json& f) { f["post_processor"]["special_tokens"]["[CLS]"]["ids"] = {5000}; },
     "id 5000 is not in the vocabulary"},
    {"template_name", [](json& f) { f["post_processor"]["special_tokens"].erase("[SEP]"); },
     "'[SEP]' is not defined"},
    {"template_sequence", [](json& f) { f["post_processor"]["single"][1]["Sequence"]["id"] = "B"; },
     "A once and not B"},
    {"template_segment",
     [](json& f) { f["post_processor"]["pair"][4]["SpecialToken"]["type_id"] = 0; }, "from 1 to 1"},
    {"template_type", [](json& f) { f["post_processor"]["single"] = "x"; }, "missing"},
};

INSTANTIATE_TEST_SUITE_P(All, BadFileTest, testing::ValuesIn(bad_files),
                         [](const auto& bad) { return bad.param.name; });

class LoadTest : public ModelFolder {
 protected:
  void write(const char* file, std::string_view bytes) { write_file(folder() / file, bytes); }
  std::string refusal() {
    try {
      load_tokenizer(folder());
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::model);
      return e.where() + ": " + e.message();
    }
    return "accepted";
  }
};

const char* const vocab_txt = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\nÉ\ne\nworld\n";

TEST_F(LoadTest, RefusesFoldersAndFilesThatAreNotTokenizers) {
  EXPECT_THAT(refusal(), HasSubstr("neither tokenizer.json nor vocab.txt"));
  write("tokenizer.json", "{\"model\": ");
  EXPECT_THAT(refusal(), testing::AllOf(HasSubstr("not valid JSON: parse error"),
                                        testing::Not(HasSubstr("json.exception"))));
  write("tokenizer.json", "[]");
  EXPECT_THAT(refusal(), HasSubstr("does not hold a JSON object"));
  write("tokenizer.json", "{\"model\": {\"type\": \"\xFF\"}}");
  EXPECT_THAT(refusal(), HasSubstr("not valid JSON"));
  write("tokenizer.json", std::string(100000, '['));
  EXPECT_THAT(refusal(), HasSubstr("not valid JSON"));
}

TEST_F(LoadTest, ReadsVocabTxt) {
  write("vocab.txt", vocab_txt);
  auto plain = load_tokenizer(folder());
  EXPECT_EQ(plain->vocabulary_size(), 9);
  EXPECT_EQ(plain->encode("HELLO é").ids, (std::vector<int32_t>{2, 5, 7, 3}));
  EXPECT_EQ(plain->special_ids().mask, 4);
  write("tokenizer_config.json", R"({"do_lower_case": false, "unk_token": {"content": "e"}})");
  auto cased = load_tokenizer(folder());
  EXPECT_EQ(cased->encode("HELLO É").ids, (std::vector<int32_t>{2, 7, 6, 3}));
  EXPECT_NE(cased->hash(), plain->hash());
}

TEST_F(LoadTest, VocabTxtGivesTheHashOfTheSameTokenizerJson) {
  std::string json_hash = tokenizer().hash();
  std::filesystem::remove(folder() / "tokenizer.json");
  std::string lines;
  for (const char* token : fixture_tokens) lines += std::string(token) + "\r\n";
  write("vocab.txt", lines);
  EXPECT_EQ(load_tokenizer(folder())->hash(), json_hash);
}

TEST_F(LoadTest, VocabTxtAppendsSpecialTokensThatItLacks) {
  write("vocab.txt", "[UNK]\n[CLS]\n[SEP]\nhello\n");
  auto tokenizer = load_tokenizer(folder());
  EXPECT_EQ(tokenizer->special_ids().pad, 4);
  EXPECT_EQ(tokenizer->special_ids().mask, 5);
  EXPECT_EQ(tokenizer->vocabulary_size(), 6);
  EXPECT_EQ(tokenizer->encode("[MASK]").ids, (std::vector<int32_t>{1, 5, 2}));
}

// As BertTokenizer of transformers 5.23 has it for the same files.
TEST_F(LoadTest, OfATokenThatVocabTxtHasTwiceTheLastCounts) {
  write("vocab.txt", std::string(vocab_txt) + "hello\n");
  auto tokenizer = load_tokenizer(folder());
  EXPECT_EQ(tokenizer->encode("hello world").ids, (std::vector<int32_t>{2, 9, 8, 3}));
  EXPECT_EQ(tokenizer->id_to_token(9), "hello");
  EXPECT_EQ(tokenizer->id_to_token(5), std::nullopt);
  // An empty line has an id, which no text gets; several are one token.
  write("vocab.txt", "[PAD]\n[UNK]\n\n[CLS]\n[SEP]\n\n[MASK]\nhello\n");
  EXPECT_EQ(load_tokenizer(folder())->encode("hello").ids, (std::vector<int32_t>{3, 7, 4}));
}

// The same folder's files give the same ids, and added tokens have the flags of their file.
TEST_F(LoadTest, ReadsTheOlderFilesOfAddedTokens) {
  write("vocab.txt", vocab_txt);
  write("tokenizer_config.json", R"({"do_lower_case": true})");
  write("added_tokens.json", R"({"<b>": 10, "[ENT]": 9})");
  write("special_tokens_map.json", R"({"additional_special_tokens": ["[ENT]"],
        "mask_token": {"content": "[MASK]", "lstrip": true, "rstrip": false, "normalized": false},
        "sep_token": "world"})");
  auto tokenizer = load_tokenizer(folder());
  EXPECT_EQ(tokenizer->encode("hello [ENT] <B>").ids, (std::vector<int32_t>{2, 5, 9, 10, 8}));
  EXPECT_EQ(tokenizer->encode("[ent]").ids, (std::vector<int32_t>{2, 1, 1, 1, 8}));  // special
  EXPECT_EQ(tokenizer->decode(std::vector<int32_t>{5, 9, 10}), "hello <b>");
  EncodeOptions offsets;
  offsets.offsets = true;
  const Encoding masked = tokenizer->encode("hello  [MASK]", offsets);
  EXPECT_EQ(masked.offsets[2].begin, 5U);  // it takes the space on its left
  EXPECT_EQ(tokenizer->special_ids().sep, 8);

  write("added_tokens.json", R"({"[ENT]": 12})");
  EXPECT_THAT(refusal(), HasSubstr("'[ENT]' says id 12 but has id 9, the next free one"));
  EXPECT_THAT(refusal(), HasSubstr("added_tokens.json"));
  write("added_tokens.json", R"({"[ENT]": 9, "<b>": 9})");
  EXPECT_THAT(refusal(), HasSubstr("both have id 9"));
  write("added_tokens.json", R"({"[ENT]": "9"})");
  EXPECT_THAT(refusal(), HasSubstr("a whole number"));
  write("added_tokens.json", R"(["[ENT]"])");
  EXPECT_THAT(refusal(), HasSubstr("added_tokens.json: the file does not hold a JSON object"));
  // Beside an added_tokens_decoder they are not read.
  write("tokenizer_config.json", R"({"added_tokens_decoder": {}})");
  write("added_tokens.json", R"({"[ENT]": 9})");
  testing::internal::CaptureStderr();
  EXPECT_EQ(load_tokenizer(folder())->encode("hello").ids, (std::vector<int32_t>{2, 5, 3}));
  const std::string told = testing::internal::GetCapturedStderr();
  EXPECT_THAT(told, HasSubstr("added_tokens.json has the token '[ENT]' with id 9"));
  EXPECT_THAT(told, HasSubstr("special_tokens_map.json says sep_token 'world'"));
}

TEST_F(LoadTest, CutsAtTheFrontAreTold) {
  const auto told = [&](const char* config, bool vocab = false) {
    write("tokenizer_config.json", config);
    reload();
    testing::internal::CaptureStderr();
    vocab ? void(load_tokenizer(folder())) : void(tokenizer());
    return testing::internal::GetCapturedStderr();
  };
  content()["truncation"] = {{"direction", "Left"}, {"max_length", 8}};
  EXPECT_THAT(told("{}"), HasSubstr("tokenizer.json says truncation direction \"Left\""));
  EXPECT_EQ(told(R"({"truncation_side": "right"})"), "");
  content()["truncation"] = nullptr;
  EXPECT_THAT(told(R"({"truncation_side": "left"})"), HasSubstr("says truncation_side \"left\""));
  std::filesystem::remove(folder() / "tokenizer.json");
  write("vocab.txt", vocab_txt);
  EXPECT_THAT(told(R"({"truncation_side": "left"})", true), HasSubstr("cut at their end"));
  EXPECT_EQ(told("{}", true), "");
}

TEST_F(LoadTest, AddedTokensOfTheConfigurationKeepTheirFlags) {
  write("vocab.txt", vocab_txt);
  write("tokenizer_config.json", R"({"added_tokens_decoder": {
      "9": {"content": "<a>", "special": true, "lstrip": true, "rstrip": true,
            "normalized": false, "single_word": false},
      "10": {"content": "ox", "special": false, "single_word": true, "normalized": true}}})");
  auto tokenizer = load_tokenizer(folder());
  EncodeOptions offsets;
  offsets.offsets = true;
  EXPECT_EQ(tokenizer->encode("hello  <a>  world", offsets).offsets[2].end, 12U);
  EXPECT_EQ(tokenizer->encode("OX hello").ids, (std::vector<int32_t>{2, 10, 5, 3}));
  EXPECT_EQ(tokenizer->encode("oxhello").ids, (std::vector<int32_t>{2, 1, 3}));
  EXPECT_EQ(tokenizer->decode(std::vector<int32_t>{9, 10}), "ox");
}

// Expected ids are those of AutoTokenizer of transformers 5.23 for the same two files.
class TwoFiles : public ModelFolder {
 protected:
  // What is encoded, and what is warned of.
  std::pair<std::vector<int32_t>, std::string> read(const char* config, const char* text) {
    write_file(folder() / "tokenizer_config.json", config);
    reload();
    testing::internal::CaptureStderr();
    std::vector<int32_t> ids = tokenizer().encode(text).ids;
    return {std::move(ids), testing::internal::GetCapturedStderr()};
  }
  using Ids = std::vector<int32_t>;
};

TEST_F(TwoFiles, TheClassBuildsBertsNormalizer) {
  vocabulary("Hello", "é", "e");  // 20, 21, 22
  auto [ids, told] =
      read(R"({"tokenizer_class": "BertTokenizer", "do_lower_case": false})", "Hello hello é");
  EXPECT_EQ(ids, (Ids{2, 20, 5, 21, 3}));
  EXPECT_THAT(told, HasSubstr("tokenizer_config.json says do_lower_case false and "));
  EXPECT_THAT(told, HasSubstr("tokenizer.json says normalizer.lowercase true: the former counts"));
  std::tie(ids, told) =
      read(R"({"tokenizer_class": "BertTokenizer", "strip_accents": false})", "Hello é");
  EXPECT_EQ(ids, (Ids{2, 5, 21, 3}));
  EXPECT_THAT(told, HasSubstr("strip_accents false"));
  std::tie(ids, told) = read(
      R"({"tokenizer_class": "DistilBertTokenizerFast", "tokenize_chinese_chars": false})", "日日");
  EXPECT_EQ(ids, (Ids{2, 1, 3}));
  std::tie(ids, told) =
      read(R"({"do_lower_case": true, "tokenizer_class": "BertTokenizer"})", "Hello é");
  EXPECT_EQ(ids, (Ids{2, 5, 22, 3}));
  EXPECT_EQ(told, "");
  // Another class takes tokenizer.json as it is.
  std::tie(ids, told) =
      read(R"({"tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": false})", "Hello é");
  EXPECT_EQ(ids, (Ids{2, 5, 22, 3}));
  EXPECT_THAT(told, HasSubstr("the latter counts"));
  // A class that is told nothing lower-cases.
  content()["normalizer"]["lowercase"] = false;
  std::tie(ids, told) = read(R"({"tokenizer_class": "BertTokenizer"})", "Hello");
  EXPECT_EQ(ids, (Ids{2, 5, 3}));
  EXPECT_THAT(told, HasSubstr("without a do_lower_case, true"));
  std::tie(ids, told) = read("{}", "Hello");
  EXPECT_EQ(ids, (Ids{2, 20, 3}));
  EXPECT_EQ(told, "");
}

TEST_F(TwoFiles, TheClassPutsItsTokensAroundTexts) {
  content()["post_processor"] = nullptr;
  content()["model"]["max_input_chars_per_word"] = 3;
  auto [ids, told] = read(R"({"tokenizer_class": "BertTokenizer"})", "hello");
  EXPECT_EQ(ids, (Ids{2, 5, 3}));
  EXPECT_THAT(told, HasSubstr("says by its tokenizer_class \"[CLS] text [SEP]\""));
  EXPECT_THAT(told, HasSubstr("max_input_chars_per_word 100"));
  std::tie(ids, told) = read("{}", "hello");
  EXPECT_EQ(ids, (Ids{1}));
  EXPECT_EQ(told, "");
}

TEST_F(TwoFiles, SegmentsAreThoseOfTheModelsInputs) {
  const auto second = [&](const char* config) {
    read(config, "hello");
    const Encoding pair = tokenizer().encode("hello", "world");
    return static_cast<int64_t>(pair.ids.size()) - pair.first_length;
  };
  EXPECT_EQ(second("{}"), 2);
  EXPECT_EQ(second(R"({"model_input_names": ["input_ids", "token_type_ids"]})"), 2);
  EXPECT_EQ(second(R"({"model_input_names": ["input_ids", "attention_mask"]})"), 0);
  EXPECT_EQ(second(R"({"tokenizer_class": "DistilBertTokenizer"})"), 0);
  EXPECT_THAT(read(R"({"split_special_tokens": true})", "hello").second,
              HasSubstr("split_special_tokens true, which is not followed"));
}

TEST_F(TwoFiles, TheConfigurationAddsTokens) {
  auto [ids, told] = read(R"({"tokenizer_class": "PreTrainedTokenizerFast",
      "bos_token": "able", "additional_special_tokens": ["<x>"],
      "added_tokens_decoder": {"20": {"content": "<y>", "special": true}}})",
                          "<y> ABLEable <x>");
  EXPECT_EQ(ids, (Ids{2, 20, 10, 10, 21, 3}));
  EXPECT_EQ(told, "");
  std::tie(ids, told) = read(R"({"added_tokens_decoder": {"30": {"content": "<y>"}}})", "<y>");
  EXPECT_EQ(ids, (Ids{2, 20, 3}));
  EXPECT_THAT(told, HasSubstr("says that '<y>' has id 30"));
  std::tie(ids, told) = read(
      R"({"pad_token": "<pad>", "sep_token": "[CLS]", "add_bos_token": true, "bos_token": "able",
          "unk_token": "[MASK]",
          "added_tokens_decoder": {"4": {"content": "[MASK]", "special": true, "lstrip": true}}})",
      "hello");
  EXPECT_EQ(ids, (Ids{2, 5, 3}));
  for (const char* what :
       {"names the pad_token '<pad>'", "sep_token \"[CLS]\"", "add_bos_token true",
        "unk_token \"[MASK]\"", "'[MASK]' {\"lstrip\":true"})
    EXPECT_THAT(told, HasSubstr(what));
  // The older files add to tokenizer.json as well.
  write_file(folder() / "added_tokens.json", R"({"<z>": 20})");
  EXPECT_EQ(read("{}", "<z>").first, (Ids{2, 20, 3}));
}

TEST_F(TwoFiles, HolesInTheVocabularyStay) {
  content()["model"]["vocab"]["hello"] = 21;
  added("<x>", {{"special", true}});  // 20: the number of tokens
  EXPECT_EQ(tokenizer().encode("hello <x> world").ids, (Ids{2, 21, 20, 6, 3}));
  EXPECT_EQ(tokenizer().id_to_token(5), std::nullopt);
  EXPECT_EQ(tokenizer().vocabulary_size(), 22);
}

TEST_F(LoadTest, LinesOfVocabTxtKeepTheirIds) {
  write("vocab.txt", vocab_txt);
  const std::string hash = load_tokenizer(folder())->hash();
  for (const char* end : {"\n", "\r\n", "\r"}) {
    std::string lines = "\xEF\xBB\xBF";
    for (const char* c = vocab_txt; *c != '\0'; ++c) *c == '\n' ? lines += end : lines += *c;
    write("vocab.txt", lines);
    EXPECT_EQ(load_tokenizer(folder())->hash(), hash);
  }
  // Empty lines are ids that no token has; other separators of Unicode are characters of tokens.
  write("vocab.txt", "[PAD]\n\n[UNK]\n[CLS]\n[SEP]\n\n[MASK]\nx\xE2\x80\xA8y\nhello\n");
  auto tokenizer = load_tokenizer(folder());
  EXPECT_EQ(tokenizer->encode("hello").ids, (std::vector<int32_t>{3, 8, 4}));
  EXPECT_EQ(tokenizer->token_to_id("x\xE2\x80\xA8y"), 7);
  EXPECT_EQ(tokenizer->id_to_token(1), std::nullopt);
  EXPECT_EQ(tokenizer->vocabulary_size(), 9);
}

TEST_F(LoadTest, ByteOrderMarksOfJson) {
  const std::string hash = tokenizer().hash(), text = content().dump();
  write("tokenizer.json", "\xEF\xBB\xBF" + text);
  write("tokenizer_config.json", "\xEF\xBB\xBF{}");
  EXPECT_EQ(load_tokenizer(folder())->hash(), hash);
  for (const char* name : {"tokenizer.json", "tokenizer_config.json"}) {
    write("tokenizer.json", text);
    write(name, std::string_view("\xFF\xFE{\0}\0", 6));
    EXPECT_THAT(refusal(), HasSubstr(std::string(name) + ": the file is UTF-16"));
    write(name, std::string_view("\xFF\xFE\0\0{\0\0\0}\0\0\0", 12));
    EXPECT_THAT(refusal(), HasSubstr(std::string(name) + ": the file is UTF-32"));
    write(name, std::string_view("\x1F\x8B\x08\0", 4));
    EXPECT_THAT(refusal(), HasSubstr(std::string(name) + ": the file is a gzip file"));
  }
}

TEST_F(LoadTest, RefusesBadVocabTxt) {
  write("vocab.txt", "");
  EXPECT_THAT(refusal(), HasSubstr("empty"));
  // The id that a token would get is one that the vocabulary has.
  write("vocab.txt", "[CLS]\n[SEP]\na\na\n");
  EXPECT_THAT(refusal(), HasSubstr("unk_token '[UNK]' is not in the vocabulary"));
  write("vocab.txt", "[UNK]\n\xC3\n");
  EXPECT_THAT(refusal(), HasSubstr("vocab.txt:2: the token is not UTF-8"));
  write("vocab.txt", std::string_view("\xFF\xFEh\0", 4));
  EXPECT_THAT(refusal(), HasSubstr("vocab.txt: the file is UTF-16"));
  write("vocab.txt", "hello\n");
  EXPECT_THAT(refusal(), HasSubstr("unk_token '[UNK]' is not in the vocabulary"));
  write("vocab.txt", vocab_txt);
  for (const char* other :
       {R"({"tokenizer_class": "BertJapaneseTokenizer"})", R"({"word_tokenizer_type": "mecab"})"}) {
    write("tokenizer_config.json", other);
    EXPECT_THAT(refusal(), HasSubstr("is not supported"));
  }
  write("tokenizer_config.json", R"({"do_lower_case": "yes"})");
  EXPECT_THAT(refusal(), HasSubstr("true or false"));
  write("tokenizer_config.json", R"({"added_tokens_decoder": {"x": {"content": "[UNK]"}}})");
  EXPECT_THAT(refusal(), HasSubstr("'x' is not an id"));
  write("tokenizer_config.json", R"({"cls_token": 5})");
  EXPECT_THAT(refusal(), HasSubstr("a string is expected"));
}

TEST_F(LoadTest, OlderFilesDoNotStateTheModelsType) {
  const std::vector<int32_t> ids = tokenizer().encode("hello unaffable").ids;
  content()["model"].erase("type");
  reload();
  EXPECT_EQ(tokenizer().encode("hello unaffable").ids, ids);
  content()["pre_tokenizer"] = {{"type", "Whitespace"}};
  reload();
  EXPECT_EQ(tokenizer().encode("hello unaffable").ids, ids);
  content()["normalizer"] = nullptr;
  content()["decoder"] = nullptr;
  content()["model"] = {{"unk_id", 1}, {"vocab", json::array()}};
  for (const char* piece : {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello"})
    content()["model"]["vocab"].push_back({piece, -1.0});
  content()["added_tokens"] = json::array();
  reload();
  EXPECT_EQ(tokenizer().encode("hello").ids, (std::vector<int32_t>{2, 5, 3}));
}

TEST_F(LoadTest, ReadsOtherComponents) {
  content()["post_processor"] = {
      {"type", "BertProcessing"}, {"cls", {"[CLS]", 2}}, {"sep", {"[SEP]", 3}}};
  EXPECT_EQ(tokenizer().encode("hello", "world").ids, (std::vector<int32_t>{2, 5, 3, 6, 3}));
  content()["post_processor"] = nullptr;
  content()["normalizer"] = nullptr;
  content()["decoder"] = nullptr;
  reload();
  EXPECT_EQ(tokenizer().encode("hello Hello", "world").ids, (std::vector<int32_t>{5, 1, 6}));
  EXPECT_EQ(tokenizer().encode("hello", "world").first_length, 1);
  std::vector<int32_t> ids = {7, 8};
  EXPECT_EQ(tokenizer().decode(ids), "un ##aff");
}

}  // namespace
}  // namespace compress::text
