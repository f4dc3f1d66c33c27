// BPE, Unigram and the parts around them, on vocabularies small enough to work out by hand.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "fixture.h"
#include "regex/regex.h"
#include "regex/scanner.h"
#include "split/splitter.h"

namespace compress::text {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using Ids = std::vector<int32_t>;

class GeneralTest : public testing::Test {
 protected:
  GeneralTest()
      : folder_(std::filesystem::temp_directory_path() /
                (std::string("compress_general_") +
                 testing::UnitTest::GetInstance()->current_test_info()->name())) {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  ~GeneralTest() override { std::filesystem::remove_all(folder_); }

  std::unique_ptr<Tokenizer> load(const json& content) {
    write_file(folder_ / "tokenizer.json", content.dump());
    return load_tokenizer(folder_);
  }
  std::string refusal(const json& content) {
    try {
      load(content);
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::model);
      return e.message();
    }
    return "accepted";
  }

  std::filesystem::path folder_;
};

json vocabulary(const std::vector<std::string>& tokens) {
  json out = json::object();
  for (size_t id = 0; id < tokens.size(); ++id) out[tokens[id]] = id;
  return out;
}

// "hug": h+u is ranked after u+g.
json bpe() {
  return {{"model",
           {{"type", "BPE"},
            {"vocab",
             vocabulary({"<unk>", "h", "u", "g", "s", "ug", "hug", "hu", "\u0120", "\u0120hug"})},
            {"merges", {"u g", "h ug", "h u", "\u0120 hug"}},
            {"unk_token", "<unk>"}}}};
}

std::vector<ByteRange> ranges(std::initializer_list<std::pair<uint32_t, uint32_t>> list) {
  std::vector<ByteRange> out;
  for (auto [begin, end] : list) out.push_back({begin, end});
  return out;
}

// What `tokenizers` 0.23 gives, or where it ends in a panic, a refusal.
TEST_F(GeneralTest, NormalizersThatInsertInFrontOfEverything) {
  json file = bpe();
  const auto replace = [](const char* pattern, const char* content) -> json {
    return {{"type", "Replace"}, {"pattern", {{"Regex", pattern}}}, {"content", content}};
  };
  const json nothing = {{"type", "Prepend"}, {"prepend", ""}};
  EncodeOptions offsets;
  offsets.offsets = true;
  file["normalizer"] = nothing;
  EXPECT_EQ(load(file)->encode("sug", offsets).offsets, ranges({{0, 0}, {1, 3}}));
  file["normalizer"] = replace("", "s");
  const Encoding between = load(file)->encode("ug", offsets);
  EXPECT_EQ(between.ids, (Ids{4, 2, 4, 3, 4}));
  EXPECT_EQ(between.offsets, ranges({{0, 0}, {0, 1}, {0, 1}, {1, 2}, {1, 2}}));
  for (const json& first :
       {nothing, replace("", "s"), replace("^", "s"), replace("x*", "s"), replace("(?=u)", "s")}) {
    for (const char* next : {"NFC", "Lowercase", "Strip", "StripAccents", "Nmt", "ByteLevel"}) {
      file["normalizer"] = {{"type", "Sequence"}, {"normalizers", {first, {{"type", next}}}}};
      EXPECT_THAT(refusal(file), HasSubstr(std::string("'") + next + "' follows"));
    }
    file["normalizer"] = first;
    file["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
    EXPECT_THAT(refusal(file), HasSubstr("'ByteLevel' follows"));
    file.erase("pre_tokenizer");
  }
  // What follows a character, or removes, is usual.
  for (const json& first : {replace("(?<=u)", "s"), replace("^", ""), replace("u+", "s")}) {
    file["normalizer"] = {{"type", "Sequence"}, {"normalizers", {first, {{"type", "NFC"}}}}};
    EXPECT_EQ(refusal(file), "accepted");
  }
}

TEST_F(GeneralTest, BpeJoinsTheBestRankedPairFirst) {
  auto tokenizer = load(bpe());
  EXPECT_EQ(tokenizer->encode("hug").ids, (Ids{6}));
  EXPECT_EQ(tokenizer->encode("hus").ids, (Ids{7, 4}));
  EXPECT_EQ(tokenizer->encode("uugg").ids, (Ids{2, 5, 3}));
  EXPECT_EQ(tokenizer->encode("hxy\u00e9ug").ids, (Ids{1, 0, 0, 0, 5}));
  EXPECT_EQ(tokenizer->encode("").ids, Ids{});
}

TEST_F(GeneralTest, LongWordsGiveTheSameAsShortOnes) {
  auto tokenizer = load(bpe());
  std::string word;
  Ids expected;
  for (int i = 0; i < 100; ++i) {
    word += i % 3 == 0 ? "hug" : i % 3 == 1 ? "hus" : "g";
    const Ids part = i % 3 == 0 ? Ids{6} : i % 3 == 1 ? Ids{7, 4} : Ids{3};
    expected.insert(expected.end(), part.begin(), part.end());
  }
  EXPECT_EQ(tokenizer->encode(word).ids, expected);
}

TEST_F(GeneralTest, BpeFusesUnknownCharactersWhenAsked) {
  json file = bpe();
  file["model"]["fuse_unk"] = true;
  auto tokenizer = load(file);
  EncodeOptions options;
  options.offsets = true;
  const Encoding encoding = tokenizer->encode("hxy\u00e9ug", options);
  EXPECT_EQ(encoding.ids, (Ids{1, 0, 5}));
  EXPECT_EQ(encoding.offsets, ranges({{0, 1}, {1, 5}, {5, 7}}));
}

TEST_F(GeneralTest, BpeFallsBackToBytes) {
  json file = {{"model",
                {{"type", "BPE"},
                 {"vocab", vocabulary({"a", "<0xC3>", "<0xA9>"})},
                 {"merges", json::array()},
                 {"byte_fallback", true}}},
               {"decoder", {{"type", "ByteFallback"}}}};
  auto tokenizer = load(file);
  EncodeOptions options;
  options.offsets = true;
  const Encoding encoding = tokenizer->encode("a\u00e9z", options);
  EXPECT_EQ(encoding.ids, (Ids{0, 1, 2}));  // z has no tokens and there is no unknown one
  EXPECT_EQ(encoding.offsets, ranges({{0, 1}, {1, 3}, {1, 3}}));
  EXPECT_EQ(tokenizer->decode(encoding.ids), "a\u00e9");
  EXPECT_EQ(tokenizer->decode(Ids{0, 2, 0}), "a\uFFFDa");
}

TEST_F(GeneralTest, ByteLevelSpellsSpacesAndTrimsOffsets) {
  json file = bpe();
  file["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  file["post_processor"] = {
      {"type", "ByteLevel"}, {"trim_offsets", true}, {"add_prefix_space", false}};
  file["decoder"] = {{"type", "ByteLevel"}};
  auto tokenizer = load(file);
  EncodeOptions options;
  options.offsets = true;
  const Encoding encoding = tokenizer->encode("hug hug", options);
  EXPECT_EQ(encoding.ids, (Ids{6, 9}));
  EXPECT_EQ(encoding.offsets, ranges({{0, 3}, {4, 7}}));
  EXPECT_EQ(tokenizer->decode(encoding.ids), "hug hug");
}

TEST_F(GeneralTest, RobertaPairsHaveOneSegment) {
  json file = bpe();
  file["post_processor"] = {
      {"type", "RobertaProcessing"}, {"sep", {"s", 4}}, {"cls", {"g", 3}}, {"trim_offsets", false}};
  auto tokenizer = load(file);
  const Encoding pair = tokenizer->encode("hug", "ug");
  EXPECT_EQ(pair.ids, (Ids{3, 6, 4, 4, 5, 4}));
  EXPECT_EQ(pair.first_length, 6);
  EXPECT_EQ(tokenizer->special_tokens_added(true), 4);
  EncodeOptions options;
  options.max_length = 5;
  EXPECT_EQ(tokenizer->encode("hughug", "ug", options).ids, (Ids{3, 6, 4, 4, 4}));
}

json piece(const char* text, double score) {
  return json::array({text, score});
}

json unigram() {
  return {{"model",
           {{"type", "Unigram"},
            {"unk_id", 0},
            {"vocab", json::array({piece("<unk>", 0), piece("a", -1), piece("b", -1.5),
                                   piece("ab", -2), piece("abc", -3), piece("c", -1.75)})}}}};
}

TEST_F(GeneralTest, UnigramTakesTheMostProbablePath) {
  auto tokenizer = load(unigram());
  EXPECT_EQ(tokenizer->encode("ab").ids, (Ids{3}));   // -2 beats -2.5
  EXPECT_EQ(tokenizer->encode("abc").ids, (Ids{4}));  // -3 beats ab+c, -3.75
  EXPECT_EQ(tokenizer->encode("abab").ids, (Ids{3, 3}));
  EXPECT_EQ(tokenizer->encode("axyzb").ids, (Ids{1, 0, 2}));  // unknown neighbours are one
}

TEST_F(GeneralTest, MetaspaceMarksWords) {
  json file = unigram();
  file["model"]["vocab"].push_back(piece("\u2581", -2));
  file["model"]["vocab"].push_back(piece("\u2581ab", -2));
  file["pre_tokenizer"] = {
      {"type", "Metaspace"}, {"replacement", "\u2581"}, {"prepend_scheme", "always"}};
  file["decoder"] = file["pre_tokenizer"];
  auto tokenizer = load(file);
  EncodeOptions options;
  options.offsets = true;
  const Encoding encoding = tokenizer->encode("ab  ab", options);
  EXPECT_EQ(encoding.ids, (Ids{7, 6, 7}));
  EXPECT_EQ(encoding.offsets, ranges({{0, 2}, {2, 3}, {3, 6}}));
  EXPECT_EQ(tokenizer->decode(encoding.ids), "ab  ab");
}

TEST_F(GeneralTest, NormalizersKeepTrackOfTheSource) {
  json file = unigram();
  file["normalizer"] = {
      {"type", "Sequence"},
      {"normalizers",
       {{{"type", "NFKC"}},
        {{"type", "Lowercase"}},
        {{"type", "Replace"}, {"pattern", {{"Regex", " +"}}}, {"content", "b"}}}}};
  auto tokenizer = load(file);
  EncodeOptions options;
  options.offsets = true;
  // A full-width letter, three spaces that become one b, and a capital.
  const Encoding encoding = tokenizer->encode("\uFF21   C", options);
  EXPECT_EQ(encoding.ids, (Ids{4}));
  EXPECT_EQ(encoding.offsets, ranges({{0, 7}}));
}

TEST_F(GeneralTest, IllFormedTextIsReplaced) {
  auto tokenizer = load(bpe());
  EncodeOptions options;
  options.offsets = true;
  const Encoding encoding = tokenizer->encode("h\xE2\x82ug\xFF", options);
  EXPECT_EQ(encoding.ids, (Ids{1, 0, 5, 0}));
  EXPECT_EQ(encoding.offsets, ranges({{0, 1}, {1, 3}, {3, 5}, {5, 6}}));
}

TEST_F(GeneralTest, HashTellsTokenizersApart) {
  const std::string plain = load(bpe())->hash();
  EXPECT_EQ(load(bpe())->hash(), plain);
  std::vector<std::function<void(json&)>> changes = {
      [](json& f) {
        f["model"]["merges"] = {"h u", "u g", "h ug", "\u0120 hug"};
      },
      [](json& f) { f["model"]["fuse_unk"] = true; },
      [](json& f) { f["model"]["vocab"]["x"] = 10; },
      [](json& f) {
        f["normalizer"] = {{"type", "NFC"}};
      },
      [](json& f) {
        f["pre_tokenizer"] = {{"type", "Whitespace"}};
      },
      [](json& f) {
        f["added_tokens"] = {{{"id", 10}, {"content", "<new>"}}};
      },
      [](json& f) {
        f["post_processor"] = {{"type", "RobertaProcessing"}, {"sep", {"s", 4}}, {"cls", {"g", 3}}};
      }};
  for (const auto& change : changes) {
    json file = bpe();
    change(file);
    EXPECT_NE(load(file)->hash(), plain) << file.dump();
  }
}

TEST_F(GeneralTest, ManyThreadsAgree) {
  json file = bpe();
  file["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", true}};
  auto tokenizer = load(file);
  auto text = [](int i) {
    return std::string(static_cast<size_t>(i % 40), 'h') + "ug hug " + "usg";
  };
  std::vector<Ids> expected;
  for (int i = 0; i < 200; ++i) expected.push_back(tokenizer->encode(text(i)).ids);
  std::vector<std::jthread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i)
        wrong += tokenizer->encode(text(i)).ids != expected[static_cast<size_t>(i)];
    });
  threads.clear();
  EXPECT_EQ(wrong, 0);
}

TEST_F(GeneralTest, RefusesWhatIsWrong) {
  auto with = [](json file, const std::function<void(json&)>& spoil) {
    spoil(file);
    return file;
  };
  EXPECT_THAT(refusal(with(bpe(), [](json& f) { f["model"]["merges"] = {"u x"}; })),
              HasSubstr("merge number 1 needs the token 'x'"));
  EXPECT_THAT(refusal(with(bpe(), [](json& f) { f["model"]["merges"] = {"ug"}; })),
              HasSubstr("not a pair"));
  EXPECT_THAT(refusal(with(bpe(), [](json& f) { f["model"]["merges"] = {"s s"}; })),
              HasSubstr("needs the token 'ss'"));
  EXPECT_THAT(refusal(with(bpe(), [](json& f) { f["model"]["vocab"]["x"] = 2000000; })),
              HasSubstr("has id 2000000"));
  EXPECT_THAT(refusal(with(unigram(), [](json& f) { f["model"]["unk_id"] = 6; })),
              HasSubstr("a whole number from 0 to 5"));
  EXPECT_THAT(refusal(with(unigram(),
                           [](json& f) {
                             f["model"]["vocab"][1] = json::array({"a", "b"});
                           })),
              HasSubstr("piece number 1"));
  auto split = [](const char* pattern) {
    json file = bpe();
    file["pre_tokenizer"] = {{"type", "Split"},
                             {"pattern", {{"Regex", pattern}}},
                             {"behavior", "Isolated"},
                             {"invert", false}};
    return file;
  };
  EXPECT_THAT(refusal(split("(")), HasSubstr("not supported: missing closing parenthesis"));
  EXPECT_THAT(refusal(split("(?~a)")), HasSubstr("this kind of group is not supported"));
  EXPECT_THAT(refusal(split("[[a")), HasSubstr("it ends too early"));
  EXPECT_THAT(refusal(split("\\p{Nope}")), HasSubstr("not supported"));
  json nested = {{"type", "NFC"}};
  for (int i = 0; i < 40; ++i)
    nested = {{"type", "Sequence"}, {"normalizers", json::array({nested})}};
  EXPECT_THAT(refusal(with(bpe(), [&](json& f) { f["normalizer"] = nested; })),
              HasSubstr("nested too deep"));
  EXPECT_THAT(
      refusal(with(bpe(),
                   [](json& f) {
                     f["normalizer"] = {{"type", "Precompiled"}, {"precompiled_charsmap", "AAAA"}};
                   })),
      HasSubstr("too short"));
}

TEST_F(GeneralTest, ARunawayPatternIsAnError) {
  json file = bpe();
  file["pre_tokenizer"] = {{"type", "Split"},
                           {"pattern", {{"Regex", "(h|h|hh)+x"}}},
                           {"behavior", "Isolated"},
                           {"invert", false}};
  auto tokenizer = load(file);
  try {
    tokenizer->encode(std::string(5000, 'h') + " x");
    FAIL() << "it ended";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::data);
    EXPECT_THAT(e.message(), HasSubstr("too many steps"));
  }
}

TEST_F(GeneralTest, AMissingUnknownTokenIsAnErrorOnlyWhenNeeded) {
  json file = bpe();
  file["model"]["unk_token"] = "<nowhere>";
  auto tokenizer = load(file);
  EXPECT_EQ(tokenizer->encode("hug").ids, (Ids{6}));
  EXPECT_THROW(tokenizer->encode("x"), Error);
}

TEST_F(GeneralTest, RolesComeFromTheConfiguration) {
  write_file(folder_ / "tokenizer_config.json",
             R"({"bos_token": "h", "eos_token": {"content": "g"}, "pad_token": null})");
  auto tokenizer = load(bpe());
  EXPECT_EQ(tokenizer->special_ids().bos, 1);
  EXPECT_EQ(tokenizer->special_ids().eos, 3);
  EXPECT_EQ(tokenizer->special_ids().pad, -1);
  EXPECT_EQ(tokenizer->special_ids().unk, 0);
}

std::vector<std::string> words(WordPattern pattern, std::string_view text) {
  std::vector<uint32_t> ends;
  scan_words(pattern, text, ends);
  std::vector<std::string> out;
  uint32_t begin = 0;
  for (uint32_t end : ends) {
    out.emplace_back(text.substr(begin, end - begin));
    begin = end;
  }
  return out;
}

TEST(Scanner, FindsTheWordsOfGpt2) {
  EXPECT_THAT(words(WordPattern::gpt2, "I'll  go 12!?\n\n"),
              ElementsAre("I", "'ll", " ", " go", " 12", "!?", "\n\n"));
  EXPECT_THAT(words(WordPattern::gpt2, "'LL\n x"), ElementsAre("'", "LL", "\n", " x"));
}

TEST(Scanner, FindsTheWordsOfLlama3AndQwen2) {
  EXPECT_THAT(words(WordPattern::llama3, "It'S 12345 (ok)!\n\n  x"),
              ElementsAre("It", "'S", " ", "123", "45", " (", "ok", ")!\n\n", " ", " x"));
  EXPECT_THAT(words(WordPattern::qwen2, "a12 \n b"), ElementsAre("a", "1", "2", " \n", " b"));
}

TEST(Regex, SpeaksRubysDialect) {
  EXPECT_EQ(to_pcre("a{,2}", false), "a{0,2}");
  EXPECT_EQ(to_pcre("(?m).", false), "(?s).");
  EXPECT_EQ(to_pcre("ab{2,3}+", false), "a(?:b{2,3})+");
  EXPECT_EQ(to_pcre("[a[bc]]", false), "[abc]");
  EXPECT_EQ(to_pcre("[a-d&&[^b]]", false), "(?:(?=(?:[a-d]))(?:[^b]))");
  EXPECT_EQ(to_pcre("\\h", false), "[0-9a-fA-F]");
  EXPECT_EQ(to_pcre("\\p{L}", false), "[\\p{L}]");
  EXPECT_THAT(to_pcre("\\p{L}", true), HasSubstr("\\x{1C89}"));
}

TEST(Regex, FindsMatchesAndWhatLiesBetween) {
  std::vector<Match> found;
  Regex("x*", false).find_all("axb", found);  // empty matches, but none right after another match
  std::vector<std::tuple<uint32_t, uint32_t, bool>> flat;
  for (const Match& m : found) flat.emplace_back(m.begin, m.end, m.matched);
  EXPECT_THAT(flat, ElementsAre(std::tuple{0u, 0u, true}, std::tuple{0u, 1u, false},
                                std::tuple{1u, 2u, true}, std::tuple{2u, 3u, false},
                                std::tuple{3u, 3u, true}));
}

TEST(Splitter, SpellsEveryByteAndReadsItBack) {
  EXPECT_EQ(byte_to_char(' '), 0x120u);
  EXPECT_EQ(byte_to_char('a'), U'a');
  EXPECT_EQ(byte_to_char(0xAD), 0x143u);
  for (int byte = 0; byte < 256; ++byte)
    EXPECT_EQ(char_to_byte(byte_to_char(static_cast<uint8_t>(byte))), byte);
  EXPECT_EQ(char_to_byte(0x144), -1);
}

}  // namespace
}  // namespace compress::text
