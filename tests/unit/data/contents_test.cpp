// What stands behind a data file's name: compressed files, several, standard input; templates and
// subsets.

#include <fcntl.h>

#include <cstdlib>

#include "files/contents.h"
#include "files/templates.h"
#include "support.h"

namespace compress::data {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class DataFiles : public DataTest {
 protected:
  // Makes a compressed copy with the system's tool; false where there is none.
  bool packed(const std::string& tool, const std::string& name) const {
    return std::system((tool + " -q -f -k " + path(name) + " 2> /dev/null").c_str()) == 0;
  }
  std::string error_of_loading(const DatasetOptions& options) const {
    return error_of(ErrorKind::data, [&] { load(options); });
  }
};

std::string rows(int from, int to) {
  std::string text = "text\tlabel\n";
  for (int i = from; i < to; ++i) text += str("word", i, " more\t", i % 2, "\n");
  return text;
}

TEST_F(DataFiles, SmallCompressedFiles) {
  DatasetOptions options = dataset("unused.tsv", "");
  int read = 0;
  for (const char* end : {".gz", ".zst"}) {
    options.train = COMPRESS_SOURCE_DIR "/tests/standins/packed/two_rows.tsv" + std::string(end);
    try {
      EXPECT_EQ(ids_of(load(options), 0), ids_of("a b"));
      const std::string bytes = read_file(options.train.file);
      options.train = write(std::string("cut.tsv") + end, bytes.substr(0, bytes.size() - 6));
      EXPECT_THAT(error_of_loading(options), HasSubstr("cut.tsv"));
      ++read;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), AllOf(HasSubstr("built without"), HasSubstr("scripts/setup")));
    }
  }
  if (read == 0) GTEST_SKIP() << "built without both libraries";
}

TEST_F(DataFiles, CompressedFilesReadAsTheFileItself) {
  const DatasetOptions plain = dataset("a.tsv", rows(0, 3000));
  const Split expected = load(plain);
  for (const auto& [tool, end] : {std::pair("gzip", ".gz"), {"zstd", ".zst"}}) {
    if (!packed(tool, "a.tsv")) continue;
    DatasetOptions options = plain;
    options.train = path("a.tsv") + end;
    const Split split = load(options);
    EXPECT_EQ(split.ids, expected.ids) << tool;
    EXPECT_EQ(split.content_hash, expected.content_hash) << "the text's hash, whatever packs it";
    EXPECT_EQ(split.place(5), path("a.tsv") + end + ":7");
  }
}

TEST_F(DataFiles, ACutOrDamagedFileIsNamed) {
  DatasetOptions options = dataset("a.tsv", rows(0, 5000));
  for (const auto& [tool, end] : {std::pair("gzip", ".gz"), {"zstd", ".zst"}}) {
    if (!packed(tool, "a.tsv")) continue;
    const std::string bytes = read_file(path("a.tsv") + end);
    options.train = write(std::string("cut.tsv") + end, bytes.substr(0, bytes.size() / 2));
    EXPECT_THAT(error_of_loading(options), AllOf(HasSubstr("is cut off"), HasSubstr("cut.tsv")))
        << tool;
    std::string wrong = bytes;
    for (size_t i = 30; i < 60; ++i) wrong[i] = static_cast<char>(wrong[i] ^ 0x55);
    options.train = write(std::string("bad.tsv") + end, wrong);
    EXPECT_THAT(error_of_loading(options), HasSubstr("bad.tsv")) << tool;
  }
  options.train = write("plain.tsv.gz", rows(0, 2));
  EXPECT_THAT(error_of_loading(options), HasSubstr("no compressed file"));
}

TEST_F(DataFiles, MembersOfGzipFollowEachOther) {
  DatasetOptions options = dataset("a.tsv", rows(0, 10));
  if (!packed("gzip", "a.tsv")) GTEST_SKIP() << "no gzip";
  write("b.tsv", "more words\t1\n");
  ASSERT_TRUE(packed("gzip", "b.tsv"));
  options.train = write("both.tsv.gz", read_file(path("a.tsv.gz")) + read_file(path("b.tsv.gz")));
  EXPECT_EQ(load(options).rows(), 11);
  options.train = write("junk.tsv.gz", read_file(path("a.tsv.gz")) + "junk");
  EXPECT_THAT(error_of_loading(options), HasSubstr("other bytes follow"));
}

TEST_F(DataFiles, SeveralFilesAreOnePart) {
  write("part-2.tsv", "\xEF\xBB\xBFtext\tlabel\r\nc d\t1\r\ne\t0");
  write("part-1.tsv", "text\tlabel\na b\t0\n\nb\t1\n");
  write("part-1.txt", "no");
  for (const std::string& name :
       {path("part-?.tsv"), path("part-1.tsv") + " + " + path("part-2.tsv"),
        path("p*1.tsv") + " + " + path("part-2.tsv")}) {
    DatasetOptions options = dataset("unused.tsv", "");
    options.train = name;
    const Split split = load(options);
    ASSERT_EQ(split.rows(), 4) << name;
    EXPECT_EQ(ids_of(split, 2), ids_of("c d"));
    EXPECT_EQ(split.place(1), path("part-1.tsv") + ":4");
    EXPECT_EQ(split.place(2), path("part-2.tsv") + ":2");
    EXPECT_EQ(split.place(3), path("part-2.tsv") + ":3");
    EXPECT_EQ(count_rows(options, "train"), 4);
  }
}

TEST_F(DataFiles, WhatIsWrongInOneOfSeveralIsFoundThere) {
  write("one.tsv", "text\tlabel\na\t0\n");
  write("two.tsv", "text\tlabel\nb\t1\nc\n");
  write("other.tsv", "label\ttext\n1\tb\n");
  DatasetOptions options = dataset("unused.tsv", "");
  options.train = path("one.tsv") + " + " + path("two.tsv");
  EXPECT_THAT(error_of_loading(options), HasSubstr("two.tsv:3"));
  options.train = path("one.tsv") + " + " + path("other.tsv");
  EXPECT_THAT(error_of_loading(options),
              AllOf(HasSubstr("header differs"), HasSubstr("other.tsv:1")));
  options.train = path("one.tsv") + " + " + path("tow.tsv");
  EXPECT_THAT(error_of_loading(options), AllOf(HasSubstr("does not exist"), HasSubstr("two.tsv")));
  options.train = path("none-*.tsv");
  EXPECT_THAT(error_of_loading(options), HasSubstr("no file fits"));
}

TEST_F(DataFiles, JsonLinesAndSentencesOfSeveralFiles) {
  write("a.jsonl", "{\"text\": \"a\", \"label\": 0}");
  write("b.jsonl", "{\"text\": \"b\", \"label\": 1}\n");
  DatasetOptions options = dataset("unused.tsv", "");
  options.train = path("?.jsonl");
  EXPECT_EQ(load(options).rows(), 2);
  write("a.conll", "one O\ntwo B-X");
  write("b.conll", "three O\n");
  options.train = path("?.conll");
  options.task = "token_classification";
  options.text = "0";
  options.label = "-1";
  EXPECT_EQ(load(options).rows(), 2) << "a file's end ends its last sentence";
}

TEST_F(DataFiles, StandardInputIsReadOnce) {
  const std::string file = write("in.tsv", "text\tlabel\na b\t0\nc\t1\n");
  const int kept = ::dup(STDIN_FILENO), from = ::open(file.c_str(), O_RDONLY);
  ::dup2(from, STDIN_FILENO);
  DatasetOptions options = dataset("unused.tsv", "");
  options.train = "-";
  options.format = "tsv";
  const Split first = load(options), again = load(options);
  ::dup2(kept, STDIN_FILENO);
  ::close(kept);
  ::close(from);
  EXPECT_EQ(first.rows(), 2);
  EXPECT_EQ(first.ids, again.ids);
  EXPECT_EQ(first.place(0), "standard input:2");
}

TEST(ColumnTemplate, PartsAndMistakes) {
  EXPECT_FALSE(is_template("text"));
  EXPECT_FALSE(is_template("a{b"));
  EXPECT_THAT(columns_in("{age} years, {job}{{x}}"), ElementsAre("age", "job"));
  EXPECT_THAT(columns_in("text"), ElementsAre("text"));
  EXPECT_THAT(error_of(ErrorKind::recipe, [] { parse_template("{}"); }),
              HasSubstr("without a column"));
  EXPECT_THAT(error_of(ErrorKind::recipe, [] { parse_template("{a} {b"); }),
              HasSubstr("not closed"));
  EXPECT_THAT(error_of(ErrorKind::recipe, [] { parse_template("{a}} b}"); }),
              HasSubstr("not opened"));
}

TEST_F(DataFiles, RowsOfTablesAsTexts) {
  DatasetOptions options =
      dataset("people.csv", "age,job,label\n31,\"nurse, night\",1\n60,baker,0\n");
  options.text = "age {age} ; job {job} ; {{ {=x} }}";
  const Split split = load(options);
  EXPECT_EQ(ids_of(split, 0), ids_of("age 31 ; job nurse, night ; { x }"));
  EXPECT_EQ(ids_of(split, 1), ids_of("age 60 ; job baker ; { x }"));
  options.train = write("people.jsonl",
                        "{\"age\": 31.5, \"job\": \"nurse\", \"label\": 1}\n"
                        "{\"age\": null, \"job\": \"baker\", \"label\": 0}\n");
  EXPECT_THAT(error_of_loading(options), AllOf(HasSubstr("line 2"), HasSubstr("\"age\" is null")));
  options.train = path("people.csv");
  options.text = "{agee}";
  EXPECT_THAT(error_of_loading(options), HasSubstr("did you mean \"age\"?"));
  options.text = "{=only}";
  options.pair = "job";
  EXPECT_EQ(load(options).rows(), 2);
}

TEST_F(DataFiles, ColumnsCountFromTheLast) {
  DatasetOptions options = dataset("a.tsv", "w x\t7\t0\ny\t8\t1\n");
  options.header = false;
  options.text = "0";
  options.label = "-1";
  EXPECT_THAT(load(options).classes, ElementsAre(0, 1));
  options.label = "-4";
  EXPECT_THAT(error_of_loading(options), HasSubstr("no column -4"));
  options.train = write("b.tsv", rows(0, 2));
  options.header = true;
  options.label = "-1";
  EXPECT_THAT(load(options).classes, ElementsAre(0, 1));
}

TEST_F(DataFiles, SubsetsByShareOfEachClass) {
  std::string text = "text\tlabel\n";
  for (int i = 0; i < 100; ++i) text += str("w", i, "\t", i < 90 ? "many" : "few", "\n");
  DatasetOptions options = dataset("a.tsv", text);
  options.validation = write("dev.tsv", rows(0, 6));
  options.subset.emplace().fraction = 0.1;
  auto count = [](const Split& split) {
    const int64_t few = std::count(split.classes.begin(), split.classes.end(), 0);
    return std::pair(few, split.rows() - few);
  };
  const Split tenth = load(options);
  EXPECT_EQ(count(tenth), std::pair(int64_t{1}, int64_t{9}));
  EXPECT_EQ(load(options).lines, tenth.lines) << "the same draw each time";
  EXPECT_EQ(count_rows(options, "train"), 10);
  options.subset->fraction = 0.5;
  const Split half = load(options);
  EXPECT_EQ(count(half), std::pair(int64_t{5}, int64_t{45}));
  EXPECT_TRUE(
      std::includes(half.lines.begin(), half.lines.end(), tenth.lines.begin(), tenth.lines.end()))
      << "more rows hold the fewer";
  EXPECT_NE(half.content_hash, tenth.content_hash);
  options.subset->seed = 2;
  EXPECT_NE(load(options).lines, half.lines);
  options.subset = SubsetOptions();
  options.subset->per_class = 8;
  EXPECT_EQ(count(load(options)), std::pair(int64_t{8}, int64_t{8}));
}

TEST_F(DataFiles, SubsetsByRowNumbers) {
  DatasetOptions options = dataset("a.tsv", rows(0, 10));
  options.subset.emplace().file = write("rows.txt", "7\n0\n\n3\n");
  EXPECT_THAT(load(options).lines, ElementsAre(2, 5, 9));
  options.subset->file = write("far.txt", "3\n12\n");
  EXPECT_THAT(error_of_loading(options),
              AllOf(HasSubstr("row 12 is named"), HasSubstr("10 rows"), HasSubstr("far.txt")));
  options.subset->file = write("none.txt", "");
  std::filesystem::remove(options.subset->file);
  EXPECT_THAT(error_of_loading(options), HasSubstr("there is no such file of row numbers"));
  options.subset->file = write("twice.txt", "3\n3\n");
  EXPECT_THAT(error_of_loading(options), HasSubstr("row 3 is named twice"));
  options.subset->file = write("words.txt", "3\nthree\n");
  EXPECT_THAT(error_of_loading(options), HasSubstr("words.txt:2"));
}

}  // namespace
}  // namespace compress::data
