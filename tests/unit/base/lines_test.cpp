#include "compress/base/lines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "compress/base/utf8.h"

namespace compress {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> found;
  Lines lines(text);
  for (std::string_view line; lines.next(line);) {
    found.emplace_back(line);
    EXPECT_EQ(lines.number(), static_cast<int64_t>(found.size()));
  }
  return found;
}

TEST(Lines, EndWithWhatTheTextHas) {
  EXPECT_THAT(lines_of("a\nb\n"), ElementsAre("a", "b"));
  EXPECT_THAT(lines_of("a\r\nb"), ElementsAre("a", "b"));
  EXPECT_THAT(lines_of("a\rb\r"), ElementsAre("a", "b"));
  EXPECT_THAT(lines_of("a\r\rb"), ElementsAre("a", "", "b"));
  EXPECT_THAT(lines_of("\n\na\n"), ElementsAre("", "", "a"));
  EXPECT_THAT(lines_of("a"), ElementsAre("a"));
  EXPECT_THAT(lines_of(""), IsEmpty());
  EXPECT_THAT(lines_of("a\nb\r\nc\r"), ElementsAre("a", "b", "c"));
}

TEST(Lines, OtherCharactersAreCharacters) {
  EXPECT_THAT(lines_of("a\rb\nc\n"), ElementsAre("a\rb", "c"));
  EXPECT_THAT(lines_of("a\n\rb\r\r\n"), ElementsAre("a", "\rb\r"));
  EXPECT_THAT(lines_of("a\fb\v\x1C\n\xC2\x85\xE2\x80\xA8 c\n"),
              ElementsAre("a\fb\v\x1C", "\xC2\x85\xE2\x80\xA8 c"));
  EXPECT_THAT(lines_of(std::string_view("a\0b\n", 4)), ElementsAre(std::string("a\0b", 3)));
}

TEST(Lines, AByteOrderMarkIsNoText) {
  EXPECT_THAT(lines_of("\xEF\xBB\xBF"
                       "a\rb"),
              ElementsAre("a", "b"));
  EXPECT_THAT(lines_of("\xEF\xBB\xBF"), IsEmpty());
  EXPECT_THAT(lines_of("a\n\xEF\xBB\xBF"
                       "b"),
              ElementsAre("a",
                          "\xEF\xBB\xBF"
                          "b"));
}

TEST(Lines, MarksOfWiderEncodings) {
  using namespace std::literals;
  EXPECT_EQ(wide_encoding("\xFF\xFE"
                          "a\0"sv),
            "UTF-16");
  EXPECT_EQ(wide_encoding("\xFE\xFF"), "UTF-16");
  EXPECT_EQ(wide_encoding("\xFF\xFE\0\0a\0\0\0"sv), "UTF-32");
  EXPECT_EQ(wide_encoding("\0\0\xFE\xFF"sv), "UTF-32");
  for (const std::string_view text : {"\xEF\xBB\xBF"sv, ""sv, "\0\0"sv, "\xFF"sv})
    EXPECT_EQ(wide_encoding(text), "");
}

TEST(Utf8, FirstByteThatIsNot) {
  EXPECT_EQ(invalid_utf8("eight bytes and \xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"),
            std::string_view::npos);
  for (const char* bad : {"\xFF", "\x80", "\xC0\xAF", "\xE0\x80\x80", "\xED\xA0\x80",
                          "\xF4\x90\x80\x80", "\xC3", "\xF0\x9F\x98", "\xC3x"})
    EXPECT_EQ(invalid_utf8(std::string("0123456789") + bad), 10u) << bad;
  EXPECT_EQ(utf8_length(""), 0u);
  EXPECT_EQ(utf8_length("\xE2\x82\xACx"), 3u);
}

}  // namespace
}  // namespace compress
