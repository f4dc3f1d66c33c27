// Damaged tokenizer files: loading throws Error or gives a tokenizer that encodes and decodes
// whatever it is given, or throws Error.

#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>

#include "compress/base/error.h"
#include "compress/base/random.h"
#include "compress/text/tokenizer.h"

namespace compress::text {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr int rounds = 1500;

json bpe() {
  json vocab = json::object();
  for (const char* token :
       {"<unk>", "h", "u", "g", "\u2581", "ug", "hug", "<0x41>", "\u0120", "##g"})
    vocab[token] = vocab.size();
  return {
      {"version", "1.0"},
      {"added_tokens",
       {{{"id", 0}, {"content", "<unk>"}, {"special", true}, {"lstrip", true}},
        {{"id", 10}, {"content", "<new>"}, {"normalized", true}, {"single_word", true}}}},
      {"normalizer",
       {{"type", "Sequence"},
        {"normalizers",
         {{{"type", "NFKC"}},
          {{"type", "Replace"}, {"pattern", {{"Regex", "[a-f&&[^c]]+| {2,}"}}}, {"content", "u"}},
          {{"type", "Prepend"}, {"prepend", "\u2581"}},
          {{"type", "Strip"}, {"strip_left", true}, {"strip_right", false}}}}}},
      {"pre_tokenizer",
       {{"type", "Sequence"},
        {"pretokenizers",
         {{{"type", "Split"},
           {"pattern", {{"Regex", "\\s+(?!\\S)|[^\\s\\p{L}]+|\\p{N}{1,3}"}}},
           {"behavior", "MergedWithNext"},
           {"invert", false}},
          {{"type", "Metaspace"}, {"replacement", "\u2581"}, {"prepend_scheme", "first"}},
          {{"type", "Digits"}, {"individual_digits", true}},
          {{"type", "ByteLevel"}, {"add_prefix_space", true}}}}}},
      {"post_processor",
       {{"type", "Sequence"},
        {"processors",
         {{{"type", "ByteLevel"}, {"trim_offsets", true}},
          {{"type", "RobertaProcessing"}, {"sep", {"h", 1}}, {"cls", {"u", 2}}}}}}},
      {"decoder",
       {{"type", "Sequence"},
        {"decoders",
         {{{"type", "ByteFallback"}},
          {{"type", "Replace"}, {"pattern", {{"String", "\u2581"}}}, {"content", " "}},
          {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 2}},
          {{"type", "Metaspace"}, {"replacement", "\u2581"}},
          {{"type", "BPEDecoder"}, {"suffix", "g"}}}}}},
      {"model",
       {{"type", "BPE"},
        {"unk_token", "<unk>"},
        {"fuse_unk", true},
        {"byte_fallback", false},
        {"ignore_merges", false},
        {"continuing_subword_prefix", nullptr},
        {"end_of_word_suffix", nullptr},
        {"vocab", vocab},
        {"merges", {"u g", "h ug"}}}}};
}

json unigram() {
  json file = bpe();
  file["model"] = {
      {"type", "Unigram"}, {"unk_id", 0}, {"byte_fallback", true}, {"vocab", json::array()}};
  const std::pair<const char*, double> pieces[] = {
      {"<unk>", 0}, {"h", -1}, {"u", -2.5}, {"ug", -1}, {"\u2581", -3}};
  for (const auto& [text, score] : pieces)
    file["model"]["vocab"].push_back(json::array({text, score}));
  file["added_tokens"] = json::array();
  file["decoder"] = {{"type", "Fuse"}};
  return file;
}

json wordpiece() {
  json file = bpe();
  file["model"] = {{"type", "WordPiece"},
                   {"unk_token", "<unk>"},
                   {"continuing_subword_prefix", "##"},
                   {"max_input_chars_per_word", 10},
                   {"vocab", file["model"]["vocab"]}};
  file["normalizer"] = {{"type", "BertNormalizer"}, {"lowercase", true}};
  file["pre_tokenizer"] = {{"type", "BertPreTokenizer"}};
  file["post_processor"] = {{"type", "BertProcessing"}, {"sep", {"h", 1}}, {"cls", {"u", 2}}};
  file["decoder"] = {{"type", "WordPiece"}, {"prefix", "##"}};
  return file;
}

// Every value of a file.
void collect(json& value, std::vector<json*>& out) {
  out.push_back(&value);
  if (value.is_structured())
    for (json& inner : value) collect(inner, out);
}

json odd_value(Random& random) {
  switch (random.below(12)) {
    case 0:
      return nullptr;
    case 1:
      return random.below(2) == 0;
    case 2:
      return -1;
    case 3:
      return uint64_t{1} << random.below(64);
    case 4:
      return 1e300;
    case 5:
      return "";
    case 6:
      return "\u2581";
    case 7:
      return std::string(1000, 'h');
    case 8:
      return json::array();
    case 9:
      return json::object();
    case 10:
      return "(a|a|b)*c[[^x]&&\\p{L}](?<!h+)";
    default:
      return json::array({"h", 1});
  }
}

void damage(json& file, Random& random) {
  std::vector<json*> values;
  collect(file, values);
  json& value = *values[random.below(values.size())];
  if (value.is_string() && random.below(2) == 0) {
    // Another type's or token's name, or a few characters more or less.
    std::string text = value.get<std::string>();
    const json& other = *values[random.below(values.size())];
    if (other.is_string() && random.below(2) == 0)
      text = other.get<std::string>();
    else if (!text.empty())
      text.insert(random.below(text.size()),
                  std::string(1, "()[]{}\\?*+^$.|&-a1"[random.below(18)]));
    value = json(text).dump(-1, ' ', false, json::error_handler_t::replace) == "\"\"" ? json("x")
                                                                                      : json(text);
  } else if (value.is_array() && !value.empty() && random.below(2) == 0) {
    value.push_back(value[random.below(value.size())]);
  } else {
    const json* source = random.below(3) == 0 ? values[random.below(values.size())] : nullptr;
    json copy = source != nullptr ? *source : odd_value(random);
    value = std::move(copy);
  }
}

class Fuzz : public testing::Test {
 protected:
  Fuzz() {
    folder_ =
        fs::temp_directory_path() / (std::string("compress_text_fuzz_") +
                                     testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  ~Fuzz() override { fs::remove_all(folder_); }

  // Unlike write_file() this does not wait for the disk.
  void write(const char* name, std::string_view bytes) {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
  }

  // Whether the folder's tokenizer could be loaded.
  bool use() {
    try {
      auto tokenizer = load_tokenizer(folder_);
      EncodeOptions options;
      options.offsets = true;
      for (const char* text :
           {"", "hug hugs\u00e9 12 <new> <unk>hug", "\xFF\u2581 \u0301\uFB01 huuuuug   ",
            "hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh"})
        use(*tokenizer, text, options);
      std::vector<int32_t> ids = {-1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 1 << 30};
      tokenizer->decode(ids, false);
      tokenizer->decode(std::vector<int32_t>{}, true);
      return true;
    } catch (const Error&) {
      return false;
    }
  }

  static void use(const Tokenizer& tokenizer, std::string_view text, EncodeOptions options) {
    try {
      const Encoding encoding = tokenizer.encode(text, "hug", options);
      ASSERT_EQ(encoding.ids.size(), encoding.offsets.size());
      for (int32_t id : encoding.ids) {
        ASSERT_GE(id, 0);
        ASSERT_LT(id, tokenizer.vocabulary_size());
      }
      for (const ByteRange& range : encoding.offsets) ASSERT_LE(range.begin, range.end);
      tokenizer.decode(encoding.ids, true);
      options.max_length = 7;
      tokenizer.encode(text, std::nullopt, options, const_cast<Encoding&>(encoding));
      ASSERT_LE(encoding.ids.size(), 7u);
    } catch (const Error&) {
    }
  }

  fs::path folder_;
};

// A configuration that says other things than tokenizer.json.
json configuration(int round) {
  static constexpr const char* classes[] = {"BertTokenizer", "GPT2TokenizerFast", "Qwen2Tokenizer",
                                            "PreTrainedTokenizerFast"};
  return {{"tokenizer_class", classes[round % 4]},
          {"do_lower_case", round % 7 < 4},
          {"strip_accents", round % 3 == 0},
          {"add_prefix_space", round % 2 == 0},
          {"add_bos_token", true},
          {"bos_token", {{"content", "h"}, {"lstrip", true}}},
          {"cls_token", "u"},
          {"unk_token", "<unk>"},
          {"additional_special_tokens", {"hug", {{"content", "<w>"}, {"rstrip", true}}}},
          {"added_tokens_decoder", {{"0", {{"content", "g"}}}, {"40", {{"content", "<v>"}}}}}};
}

TEST_F(Fuzz, ValuesOfTokenizerJson) {
  Random random(1);
  int loaded = 0;
  const auto begun = std::chrono::steady_clock::now();
  for (int round = 0; round < rounds; ++round) {
    json file = round % 3 == 0 ? bpe() : round % 3 == 1 ? unigram() : wordpiece();
    for (uint64_t edits = random.below(4); edits > 0; --edits) damage(file, random);
    const std::string text = file.dump(-1, ' ', false, json::error_handler_t::replace);
    write("tokenizer.json", text);
    SCOPED_TRACE(text);
    json config = configuration(round);
    if (round % 5 == 0) damage(config, random);
    const std::string beside = config.dump(-1, ' ', false, json::error_handler_t::replace);
    write("tokenizer_config.json", beside);
    SCOPED_TRACE(beside);
    loaded += use();
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(loaded, rounds / 5);
  EXPECT_LT(loaded, rounds);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::minutes(2));
}

void damage_bytes(std::string& bytes, Random& random) {
  for (uint64_t edits = 1 + random.below(3); edits > 0 && !bytes.empty(); --edits) {
    const size_t at = random.below(bytes.size());
    switch (random.below(4)) {
      case 0:
        bytes[at] = static_cast<char>(random.below(256));
        break;
      case 1:
        bytes.erase(at, 1 + random.below(9));
        break;
      case 2:
        bytes.insert(at, bytes.substr(random.below(bytes.size()), random.below(30)));
        break;
      default:
        bytes.resize(at);
    }
  }
}

TEST_F(Fuzz, BytesOfTokenizerJson) {
  Random random(2);
  for (int round = 0; round < rounds; ++round) {
    std::string text = (round % 2 == 0 ? bpe() : unigram()).dump();
    damage_bytes(text, random);
    write("tokenizer.json", text);
    use();
    if (HasFatalFailure()) return;
  }
}

TEST_F(Fuzz, OlderFiles) {
  Random random(3);
  for (int round = 0; round < rounds / 3; ++round) {
    std::string vocab = R"({"<s>":0,"<pad>":1,"</s>":2,"<unk>":3,"h":4,"u":5,"hu":6,"<mask>":7})";
    std::string merges = "#version: 0.2\nh u\n";
    std::string config =
        R"({"tokenizer_class":"RobertaTokenizer","mask_token":{"content":"<mask>"}})";
    std::string added = R"({"<new>": 8, "hu": 6})";
    std::string map = R"({"additional_special_tokens": ["<new>", {"content": "u"}]})";
    std::string* files[] = {&vocab, &merges, &config, &added, &map};
    damage_bytes(*files[round % 5], random);
    write("vocab.json", vocab);
    write("merges.txt", merges);
    write("tokenizer_config.json", config);
    write("added_tokens.json", added);
    write("special_tokens_map.json", map);
    use();
    if (HasFatalFailure()) return;
  }
}

TEST_F(Fuzz, VocabTxt) {
  Random random(5);
  int loaded = 0;
  for (int round = 0; round < rounds / 3; ++round) {
    std::string vocab = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nh\n##u\nhug\nh\n\n";
    std::string added = R"({"<new>": 9, "hug": 7})";
    std::string map = R"({"sep_token": "hug", "mask_token": {"content": "[MASK]"}})";
    std::string* files[] = {&vocab, &added, &map};
    if (round > 0) damage_bytes(*files[round % 3], random);
    write("vocab.txt", vocab);
    write("added_tokens.json", added);
    write("special_tokens_map.json", map);
    const bool works = use();
    loaded += works;
    EXPECT_TRUE(works || round > 0);
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(loaded, 10);  // most damages leave no JSON, or other ids
}

std::string field(int number, std::string_view bytes) {
  return std::string(1, static_cast<char>(number << 3 | 2)) + static_cast<char>(bytes.size()) +
         std::string(bytes);
}

TEST_F(Fuzz, SentencePieceFiles) {
  std::string model;
  for (const char* piece : {"<pad>", "</s>", "<unk>", "\u2581", "h", "u", "\u2581hu"})
    model += field(1, field(1, piece) + std::string("\x15\x00\x00\x80\xBF", 5));
  model += field(2, std::string("\x18\x01", 2));
  std::string map("\x08\x00\x00\x00\x00\x04\x00\x00\x41\x00\x00\x00", 12);
  model += field(3, field(2, map + "hu"));
  Random random(4);
  for (int round = 0; round < rounds; ++round) {
    std::string bytes = model;
    if (round > 0) damage_bytes(bytes, random);
    write("spiece.model", bytes);
    const bool loaded = use();
    EXPECT_TRUE(loaded || round > 0);
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace compress::text
