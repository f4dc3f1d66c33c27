#include "compress/text/python.h"

#include <gtest/gtest.h>

namespace compress::text {
namespace {

TEST(Python, LowerCase) {
  EXPECT_EQ(lower(U"\u041C\u041E\u0421 \u00C9T\u00DC"), U"\u043C\u043E\u0441 \u00E9t\u00FC");
  EXPECT_EQ(lower(U"\u0130I\u1E9E"), U"i\u0307i\u00DF");
  EXPECT_EQ(lower(U"\u01C5 \u2160 \U00010400"), U"\u01C6 \u2170 \U00010428");
}

TEST(Python, FinalSigma) {
  EXPECT_EQ(lower(U"\u039F\u03A3"), U"\u03BF\u03C2");
  EXPECT_EQ(lower(U"\u03A3\u039F\u03A3, \u03A3"), U"\u03C3\u03BF\u03C2, \u03C3");
  EXPECT_EQ(lower(U"\u039F\u03A3.\u0391"), U"\u03BF\u03C3.\u03B1");  // ignorable between
  EXPECT_EQ(lower(U"\u039F\u0301\u03A3'"), U"\u03BF\u0301\u03C2'");  // the same on both sides
  EXPECT_EQ(lower(U"5\u03A3 \u00AA\u03A3 \u24B6\u03A3"), U"5\u03C3 \u00AA\u03C2 \u24D0\u03C2");
}

TEST(Python, SpacesAndWords) {
  for (char32_t c : U"\t\n\v\f\r\x1C\x1D\x1E\x1F \u0085\u00A0\u1680\u2003\u2028\u2029\u202F\u3000")
    EXPECT_EQ(is_space(c), c != 0) << static_cast<uint32_t>(c);
  for (char32_t c : {U'\u180E', U'\u200B', U'\uFEFF', U'a'}) EXPECT_FALSE(is_space(c));
  for (char32_t c : {U'_', U'5', U'\u00E9', U'\u00BD', U'\u2167', U'\u4E2D', U'\u0E01', U'\u02B0'})
    EXPECT_TRUE(is_word_character(c)) << static_cast<uint32_t>(c);
  for (char32_t c : {U'-', U'\u0301', U'\u2019', U'\u203F', U' '})
    EXPECT_FALSE(is_word_character(c)) << static_cast<uint32_t>(c);
  EXPECT_TRUE(is_blank("") && is_blank(" \t\xC2\xA0\xE3\x80\x80"));
  EXPECT_FALSE(is_blank("\xE2\x80\x8B") || is_blank(" x"));
}

}  // namespace
}  // namespace compress::text
