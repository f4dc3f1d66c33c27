#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>

#include "unit/recipe/helpers.h"

namespace compress::recipe {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

std::string repeat(const std::string& text, size_t n) {
  std::string out;
  while (n-- > 0) out += text;
  return out;
}

TEST(ParseErrors, Empty) {
  for (const char* text : {"", "\n\n", "# only a comment\n", "---\n", "null\n"})
    EXPECT_THAT(parse_error(text), HasSubstr("the recipe is empty")) << text;
}

TEST(ParseErrors, TabsNameThePlace) {
  EXPECT_THAT(parse_error("a:\n \tb: 1\n"),
              AllOf(HasSubstr("a.yaml:2:2"), HasSubstr("tab"), HasSubstr("use spaces")));
  EXPECT_EQ(parse_text("a:\tb\t# comment\n").find("a")->scalar, "b");
}

TEST(ParseErrors, DuplicateKeysAreAllNamedWithBothLines) {
  std::string error = parse_error("a: 1\nb: {x: 1, x: 2}\nc: 3\na: 4\n");
  EXPECT_THAT(error, AllOf(HasSubstr("2 problems"),
                           HasSubstr("duplicate key 'a' on line 4, first on line 1"),
                           HasSubstr("a.yaml:2:11 (b.x)")));
  EXPECT_LT(error.find("'x'"), error.find("'a'"));
}

TEST(ParseErrors, SeveralDocuments) {
  EXPECT_THAT(parse_error("a: 1\n---\nb: 2\n"),
              AllOf(HasSubstr("a.yaml:2:1"), HasSubstr("second YAML document")));
  EXPECT_THAT(parse_error("[a]\nb\n"), HasSubstr("a.yaml:2:1"));
}

TEST(ParseErrors, TagsAndMergeKeysAreRefused) {
  EXPECT_THAT(parse_error("a: !python/object:os.system x\n"),
              AllOf(HasSubstr("a.yaml:1:4"), HasSubstr("cannot run code")));
  EXPECT_THAT(parse_error("a: !!str 5\n"), HasSubstr("cannot run code"));
  EXPECT_THAT(parse_error("a: !x [1]\n"), HasSubstr("cannot run code"));
  EXPECT_THAT(parse_error("a: ! [1]\n"), HasSubstr("cannot run code"));
  EXPECT_THAT(parse_error("a: &x {k: 1}\nb:\n  <<: *x\n"),
              AllOf(HasSubstr("a.yaml:3:3"), HasSubstr("merge keys")));
}

TEST(ParseErrors, KeysAreWords) {
  EXPECT_THAT(parse_error("? [a]\n: 1\n"), HasSubstr("a key must be a word"));
  EXPECT_THAT(parse_error("~: 1\n"), HasSubstr("a key must be a word"));
  EXPECT_THAT(parse_error(std::string(201, 'k') + ": 1\n"), HasSubstr("longer than 200"));
  EXPECT_THAT(parse_error("\"a\\x1b\": 1\n"), HasSubstr("control character"));
}

TEST(ParseErrors, BytesThatAreNotText) {
  EXPECT_THAT(parse_error(std::string("a: \0", 4)),
              AllOf(HasSubstr("a.yaml:1:4"), HasSubstr("NUL")));
  EXPECT_THAT(parse_error("a: \"\\0\"\n"), HasSubstr("NUL"));
  EXPECT_THAT(parse_error("a: \x1b[0m\n"), HasSubstr("control character 27"));
  for (const char* bad :
       {"\xFF", "\xC0\x80", "\xE0\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xC3"})
    EXPECT_THAT(parse_error(std::string("b: 1\na: ") + bad),
                AllOf(HasSubstr("a.yaml:2:4"), HasSubstr("invalid UTF-8")));
  EXPECT_EQ(parse_text("a: gr\xC3\xBC\xC3\x9F \xF0\x9F\x98\x80\n").find("a")->scalar,
            "gr\xC3\xBC\xC3\x9F \xF0\x9F\x98\x80");
}

TEST(ParseErrors, SyntaxNamesThePlace) {
  EXPECT_THAT(parse_error("a: b: c\n"), AllOf(HasSubstr("a.yaml:1:5"), HasSubstr("quote")));
  EXPECT_THAT(parse_error("a: [1, 2\n"), HasSubstr("'[' that is not closed"));
  for (const char* text : {"a: \"x\n", "a: 'x", "a: &y \"x\nb: 1\n", "a: [\"x]\n", "a: \"x\\"})
    EXPECT_THAT(parse_error(text),
                AllOf(HasSubstr("a.yaml:1:"), HasSubstr("quote that is not closed")))
        << text;
  EXPECT_THAT(parse_error("a: *nowhere\n"), HasSubstr("anchor that is not defined"));
  EXPECT_THAT(parse_error("a: &x [*x]\n"), HasSubstr("contains itself"));
}

TEST(ParseErrors, AliasBomb) {
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 30; ++i) {
    std::string last = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + repeat(last + ", ", 8) +
            last + "]\n";
  }
  EXPECT_THAT(parse_error(bomb), AllOf(HasSubstr("grows beyond 200000"), HasSubstr("aliases")));
  // One long text, repeated, is a bomb as well.
  std::string text = "a: &a " + std::string(1'000'000, 'x') + "\nb: [" + repeat("*a, ", 50) + "]\n";
  EXPECT_THAT(parse_error(text), HasSubstr("grows beyond"));
}

TEST(ParseErrors, Nesting) {
  EXPECT_NO_THROW(parse_text(repeat("[", 64) + repeat("]", 64)));
  EXPECT_THAT(parse_error(repeat("[", 65) + repeat("]", 65)), HasSubstr("deeper than 64"));
  EXPECT_THAT(parse_error(repeat("- ", 100'000)), HasSubstr("deeper than 64"));
  EXPECT_THAT(parse_error(repeat("? ", 100'000)), HasSubstr("deeper than 64"));
  EXPECT_THAT(parse_error(repeat("[", 1'000'000)), HasSubstr("brackets"));
  EXPECT_THAT(parse_error(repeat("{a: ", 100'000)), HasSubstr("deeper than 64"));
}

TEST(ParseErrors, TooLargeText) {
  EXPECT_THAT(parse_error(std::string(4'000'001, 'x')), HasSubstr("the limit is 4.0 MB"));
}

class ParseFile : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / ("recipe_files_" + std::to_string(getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  fs::path write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name, std::ios::binary) << text;
    return folder_ / name;
  }
  static std::string error_of(const fs::path& file) {
    return recipe_error([&] { parse_file(file); });
  }
  fs::path folder_;
};

TEST_F(ParseFile, ReadsAndNamesTheFile) {
  fs::path file = write("good.yaml", "a: 1\n");
  EXPECT_EQ(parse_file(file).find("a")->mark.text(), file.string() + ":1:4 (a)");
}

TEST_F(ParseFile, HundredMegabytesAreRefusedBySize) {
  fs::path file = write("large.yaml", "a: 1\n");
  fs::resize_file(file, 100'000'000);
  auto start = std::chrono::steady_clock::now();
  EXPECT_THAT(error_of(file), AllOf(HasSubstr("100.0 MB"), HasSubstr("at most 4.0 MB")));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(500));
}

TEST_F(ParseFile, MissingPathNamesTheNearest) {
  write("quickstart.yaml", "a: 1\n");
  EXPECT_THAT(
      error_of(folder_ / "quickstrat.yaml"),
      AllOf(HasSubstr("no such recipe"), HasSubstr("did you mean"), HasSubstr("quickstart.yaml?")));
  EXPECT_THAT(error_of(folder_ / "nowhere" / "a.yaml"), HasSubstr("there is no folder"));
}

TEST_F(ParseFile, FolderAndDevice) {
  write("quickstart.yaml", "a: 1\n");
  EXPECT_THAT(error_of(folder_), AllOf(HasSubstr("is a folder"), HasSubstr("quickstart.yaml")));
  EXPECT_THAT(error_of("/dev/zero"), HasSubstr("not a regular file"));
}

TEST_F(ParseFile, UnreadableFile) {
  if (geteuid() == 0) GTEST_SKIP() << "root reads everything";
  fs::path file = write("secret.yaml", "a: 1\n");
  fs::permissions(file, fs::perms::none);
  EXPECT_THAT(error_of(file), HasSubstr("secret.yaml"));
}

}  // namespace
}  // namespace compress::recipe
