// What a small vocabulary must give, by hand: normalisation, words, pieces, added tokens, cutting.

#include "compress/text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "compress/base/error.h"
#include "fixture.h"

namespace compress::text {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class TokenizerTest : public ModelFolder {
 protected:
  // The tokens' texts, without [CLS] and [SEP].
  std::vector<std::string> pieces(std::string_view text) {
    EncodeOptions options;
    options.add_special_tokens = false;
    return names(tokenizer().encode(text, options));
  }
  std::vector<std::string> names(const Encoding& encoding) {
    std::vector<std::string> out;
    for (int32_t id : encoding.ids) out.emplace_back(*tokenizer().id_to_token(id));
    return out;
  }
};

TEST_F(TokenizerTest, PutsSpecialTokensAroundOneTextAndAPair) {
  Encoding one = tokenizer().encode("hello world");
  EXPECT_THAT(names(one), ElementsAre("[CLS]", "hello", "world", "[SEP]"));
  EXPECT_EQ(one.first_length, 4);
  Encoding pair = tokenizer().encode("hello", "world!");
  EXPECT_THAT(names(pair), ElementsAre("[CLS]", "hello", "[SEP]", "world", "!", "[SEP]"));
  EXPECT_EQ(pair.first_length, 3);
  EXPECT_EQ(pair.segment(2), 0);
  EXPECT_EQ(pair.segment(3), 1);
  EXPECT_THAT(names(tokenizer().encode("")), ElementsAre("[CLS]", "[SEP]"));
  EXPECT_EQ(tokenizer().special_tokens_added(false), 2);
  EXPECT_EQ(tokenizer().special_tokens_added(true), 3);
}

TEST_F(TokenizerTest, TakesTheLongestPieceFirst) {
  EXPECT_THAT(pieces("unaffable"), ElementsAre("un", "##aff", "##able"));
  EXPECT_THAT(pieces("unable"), ElementsAre("un", "##able"));
  EXPECT_THAT(pieces("unx"), ElementsAre("[UNK]"));         // no piece for the rest
  EXPECT_THAT(pieces("hellohello"), ElementsAre("[UNK]"));  // "hello" does not continue a word
  EXPECT_THAT(pieces("##able"), ElementsAre("#", "#", "able"));
}

TEST_F(TokenizerTest, NormalisesAsBertDoes) {
  EXPECT_THAT(pieces("HELLO\tWörld"), ElementsAre("hello", "world"));
  EXPECT_THAT(pieces("he\u0301llo"), ElementsAre("hello"));        // combining acute
  EXPECT_THAT(pieces("hel\u200Blo\u00AD"), ElementsAre("hello"));  // zero-width space, soft hyphen
  EXPECT_THAT(pieces(std::string("hel\0lo", 6)), ElementsAre("hello"));
  EXPECT_THAT(pieces("hello\u3000world\u2028hello"), ElementsAre("hello", "world", "hello"));
  EXPECT_THAT(pieces("日hello日"), ElementsAre("日", "hello", "日"));
  EXPECT_THAT(pieces("hello¿world"), ElementsAre("hello", "[UNK]", "world"));
  EXPECT_THAT(pieces("\u0130"), ElementsAre("i"));  // capital I with dot: i, dot stripped
  EXPECT_THAT(pieces("\u0130\u03A3"), ElementsAre("i", "##σ"));  // no final sigma
}

TEST_F(TokenizerTest, RemovesIllFormedBytesOneMaximalSequenceAtATime) {
  EXPECT_THAT(pieces("hel\xFFlo"), ElementsAre("hello"));
  EXPECT_THAT(pieces("hel\xE2\x82lo"), ElementsAre("hello"));      // cut short
  EXPECT_THAT(pieces("hel\xED\xA0\x80lo"), ElementsAre("hello"));  // surrogate
  EXPECT_THAT(pieces("hel\xC0\xAFlo"), ElementsAre("hello"));      // overlong
  EXPECT_THAT(pieces("hello\xF0\x9F\x98"), ElementsAre("hello"));
  EncodeOptions options;
  options.offsets = true;
  options.add_special_tokens = false;
  EXPECT_THAT(tokenizer().encode("hel\xE2\x82lo", options).offsets, ElementsAre(ByteRange{0, 7}));
}

TEST_F(TokenizerTest, KeepsIllFormedBytesAsReplacementsWithoutCleaning) {
  content()["normalizer"]["clean_text"] = false;
  vocabulary("\uFFFD", "##\uFFFD");
  // Two bytes of one sequence are one character, then a stray byte is another.
  EXPECT_THAT(pieces("\xE2\x82\xFF"), ElementsAre("\uFFFD", "##\uFFFD"));
}

TEST_F(TokenizerTest, GivesUpOnWordsBeyondTheLimitInCharacters) {
  content()["model"]["max_input_chars_per_word"] = 5;
  EXPECT_THAT(pieces("hello"), ElementsAre("hello"));
  EXPECT_THAT(pieces("unable"), ElementsAre("[UNK]"));
  EXPECT_THAT(pieces("iσσσσ"), ElementsAre("i", "##σ", "##σ", "##σ", "##σ"));  // 9 bytes
  EXPECT_THAT(pieces("iσσσσσ"), ElementsAre("[UNK]"));
}

TEST_F(TokenizerTest, TellsWhereTokensComeFrom) {
  EncodeOptions options;
  options.offsets = true;
  Encoding e = tokenizer().encode("  Ünaffable 日!", "hello", options);
  EXPECT_THAT(names(e),
              ElementsAre("[CLS]", "un", "##aff", "##able", "日", "!", "[SEP]", "hello", "[SEP]"));
  EXPECT_THAT(e.offsets, ElementsAre(ByteRange{0, 0}, ByteRange{2, 5}, ByteRange{5, 8},
                                     ByteRange{8, 12}, ByteRange{13, 16}, ByteRange{16, 17},
                                     ByteRange{0, 0}, ByteRange{0, 5}, ByteRange{0, 0}));
  EXPECT_THAT(e.special, ElementsAre(1, 0, 0, 0, 0, 0, 1, 0, 1));
}

TEST_F(TokenizerTest, OrdersSpacingMarksCanonically) {
  vocabulary("e", "##\u302E", "##\u1B44");
  // U+302E has combining class 224, U+1B44 class 9: they change places.
  EXPECT_THAT(pieces("e\u302E\u1B44"), ElementsAre("e", "##\u1B44", "##\u302E"));
  EXPECT_THAT(pieces("e\u1B44\u302E"), ElementsAre("e", "##\u1B44", "##\u302E"));
}

TEST_F(TokenizerTest, FindsSpecialTokensInTheText) {
  EXPECT_THAT(pieces("hello[SEP]world"), ElementsAre("hello", "[SEP]", "world"));
  EXPECT_THAT(pieces("[sep]"), ElementsAre("[", "[UNK]", "]"));  // as written only
  EXPECT_THAT(pieces("[SE[MASK]"), ElementsAre("[", "[UNK]", "[MASK]"));
}

TEST_F(TokenizerTest, AddedTokensObeyTheirFlags) {
  added("<w>x", {{"single_word", true}, {"normalized", false}});
  added("<l>", {{"lstrip", true}, {"normalized", false}});
  added("<r>", {{"rstrip", true}, {"normalized", false}});
  added("NeW", {{"normalized", true}});
  added("<l><r>", {{"normalized", false}});
  EncodeOptions options;
  options.offsets = true;
  options.add_special_tokens = false;
  EXPECT_THAT(names(tokenizer().encode("i <w>x i", options)), ElementsAre("i", "<w>x", "i"));
  EXPECT_THAT(names(tokenizer().encode("i<w>x", options)), testing::Not(testing::Contains("<w>x")));
  Encoding left = tokenizer().encode("i \t<l> i", options);
  EXPECT_THAT(left.offsets, ElementsAre(ByteRange{0, 1}, ByteRange{1, 6}, ByteRange{7, 8}));
  Encoding right = tokenizer().encode("i <r> \u3000i", options);
  EXPECT_THAT(right.offsets, ElementsAre(ByteRange{0, 1}, ByteRange{2, 9}, ByteRange{9, 10}));
  // Matched after lower-casing; the longest of two that start together.
  EXPECT_THAT(names(tokenizer().encode("inéWi", options)), ElementsAre("i", "NeW", "i"));
  EXPECT_THAT(names(tokenizer().encode("<l><r>", options)), ElementsAre("<l><r>"));
}

TEST_F(TokenizerTest, CutsOneText) {
  EncodeOptions options;
  options.max_length = 4;
  EXPECT_THAT(names(tokenizer().encode("unaffable world", options)),
              ElementsAre("[CLS]", "un", "##aff", "[SEP]"));
  options.max_length = 2;
  EXPECT_THAT(names(tokenizer().encode("hello", options)), ElementsAre("[CLS]", "[SEP]"));
  options.max_length = 1;
  EXPECT_THROW(tokenizer().encode("hello", options), Error);
  options.truncation = Truncation::none;
  EXPECT_EQ(tokenizer().encode("hello", options).ids.size(), 3u);
}

// Lengths of the two parts after cutting texts of n1 and n2 words to `limit` words.
struct Cut {
  int n1, n2, limit;
  Truncation how;
  int first, second;  // -1: an error
};

std::ostream& operator<<(std::ostream& out, const Cut& each) {
  return out << each.n1 << " and " << each.n2 << " words to " << each.limit;
}

class CutTest : public ModelFolder, public testing::WithParamInterface<Cut> {};

TEST_P(CutTest, KeepsWhatTheLibraryKeeps) {
  const Cut& c = GetParam();
  std::string a, b;
  for (int i = 0; i < c.n1; ++i) a += "hello ";
  for (int i = 0; i < c.n2; ++i) b += "world ";
  EncodeOptions options;
  options.max_length = c.limit + 3;
  options.truncation = c.how;
  if (c.first < 0) {
    EXPECT_THROW(tokenizer().encode(a, b, options), Error);
    return;
  }
  Encoding e = tokenizer().encode(a, b, options);
  EXPECT_EQ(e.first_length, c.first + 2);
  EXPECT_EQ(static_cast<int>(e.ids.size()), c.first + c.second + 3);
}

constexpr auto longest = Truncation::longest_first;
INSTANTIATE_TEST_SUITE_P(All, CutTest,
                         testing::Values(Cut{2, 3, 5, longest, 2, 3}, Cut{2, 9, 7, longest, 2, 5},
                                         Cut{9, 2, 7, longest, 5, 2}, Cut{5, 9, 7, longest, 3, 4},
                                         Cut{9, 5, 7, longest, 4, 3}, Cut{9, 9, 7, longest, 3, 4},
                                         Cut{8, 9, 6, longest, 3, 3}, Cut{0, 9, 4, longest, 0, 4},
                                         Cut{3, 3, 0, longest, 0, 0},
                                         Cut{9, 2, 5, Truncation::only_first, 3, 2},
                                         Cut{2, 9, 5, Truncation::only_first, -1, -1},
                                         Cut{2, 9, 5, Truncation::only_second, 2, 3},
                                         Cut{9, 2, 5, Truncation::only_second, -1, -1},
                                         Cut{9, 9, 5, Truncation::none, 9, 9}));

TEST_F(TokenizerTest, OnlySecondNeedsASecondText) {
  EncodeOptions options;
  options.max_length = 3;
  options.truncation = Truncation::only_second;
  EXPECT_EQ(tokenizer().encode("hello", options).ids.size(), 3u);
  EXPECT_THROW(tokenizer().encode("hello world", options), Error);
}

TEST_F(TokenizerTest, Decodes) {
  Encoding e = tokenizer().encode("Unaffable, hello world!");
  EXPECT_EQ(tokenizer().decode(e.ids), "unaffable, hello world!");
  EXPECT_EQ(tokenizer().decode(e.ids, false), "[CLS] unaffable, hello world! [SEP]");
  std::vector<int32_t> outside = {-1, 7, 1 << 20};
  EXPECT_EQ(tokenizer().decode(outside), *tokenizer().id_to_token(7));
}

TEST_F(TokenizerTest, KnowsItsVocabulary) {
  EXPECT_EQ(tokenizer().token_to_id("[CLS]"), 2);
  EXPECT_EQ(tokenizer().token_to_id("nothing"), std::nullopt);
  EXPECT_EQ(tokenizer().id_to_token(3), "[SEP]");
  EXPECT_EQ(tokenizer().id_to_token(-1), std::nullopt);
  EXPECT_EQ(tokenizer().id_to_token(static_cast<int32_t>(tokenizer().vocabulary_size())),
            std::nullopt);
  const SpecialIds& ids = tokenizer().special_ids();
  EXPECT_THAT((std::vector{ids.pad, ids.unk, ids.cls, ids.sep, ids.mask}),
              ElementsAre(0, 1, 2, 3, 4));
}

TEST_F(TokenizerTest, HashFollowsTheContent) {
  std::string before = tokenizer().hash();
  EXPECT_EQ(before.size(), 64u);
  reload();
  EXPECT_EQ(tokenizer().hash(), before);
  content()["padding"] = nullptr;  // does not decide ids
  reload();
  EXPECT_EQ(tokenizer().hash(), before);
  content()["normalizer"]["lowercase"] = false;
  reload();
  EXPECT_NE(tokenizer().hash(), before);
}

TEST_F(TokenizerTest, EncodesFromManyThreads) {
  Encoding expected = tokenizer().encode("unaffable [MASK] wörld 日");
  std::vector<std::jthread> pool;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t)
    pool.emplace_back([&] {
      for (int i = 0; i < 500; ++i)
        if (tokenizer().encode("unaffable [MASK] wörld 日").ids != expected.ids) ++wrong;
    });
  pool.clear();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace compress::text
