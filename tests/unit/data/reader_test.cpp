#include "files/reader.h"
#include "compress/data/texts.h"
#include "support.h"

namespace compress::data {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class Readers : public DataTest {
 protected:
  std::string load_error(const DatasetOptions& options) {
    return error_of(ErrorKind::data, [&] { load(options); });
  }
  void expect_texts(const DatasetOptions& options, const std::vector<std::string>& expected) {
    Split split = load(options);
    ASSERT_EQ(split.rows(), static_cast<int64_t>(expected.size()));
    EXPECT_EQ(count_rows(options, "train"), split.rows());
    for (size_t i = 0; i < expected.size(); ++i)
      EXPECT_EQ(ids_of(split, static_cast<int64_t>(i)), ids_of(expected[i])) << expected[i];
  }
};

TEST_F(Readers, TsvTakesQuoteSignsAsTheyAre) {
  expect_texts(texts("a.tsv", "text\tx\n\"open quote\t1\nsay \"\"hi\"\"\t2\n"),
               {"\"open quote", "say \"\"hi\"\""});
}

TEST_F(Readers, TsvWithQuoting) {
  auto options = texts("a.tsv", "text\tx\n\"tab\there\"\t1\n");
  EXPECT_THAT(load_error(options), HasSubstr("too many cells: 3 of 2"));
  options.quoting = true;
  expect_texts(options, {"tab\there"});
}

TEST_F(Readers, CsvQuotesEnclose) {
  expect_texts(texts("a.csv",
                     "x,text\n"
                     "1,\"comma, \"\"quoted\"\" word\"\n"
                     "\"2\",\"two\nlines\r\nthree\"\r\n"
                     "3,a \"loose\" quote\n"
                     "4,\"\"\"\"\n"
                     "5,\"\"\n"),
               {"comma, \"quoted\" word", "two\nlines\r\nthree", "a \"loose\" quote", "\""});
}

TEST_F(Readers, CsvWithoutQuoting) {
  auto options = texts("a.csv", "x,text\n1,\"a\"\n");
  options.quoting = false;
  expect_texts(options, {"\"a\""});
}

TEST_F(Readers, LinesOfRecordsAfterEmbeddedLineBreaks) {
  Split split = load(texts("a.csv", "text\n\"a\nb\"\n\n\"c\"\nd"));
  EXPECT_THAT(split.lines, ElementsAre(2, 5, 6));
  EXPECT_EQ(split.blank_lines, 1);
  EXPECT_EQ(split.place(2), path("a.csv") + ":6");
}

TEST_F(Readers, LineEndsByteOrderMarkAndMissingLastNewline) {
  expect_texts(texts("a.tsv", "\xEF\xBB\xBFtext\tx\r\na b\t1\r\nc\t2"), {"a b", "c"});
  expect_texts(texts("b.tsv", "x\ttext\r\n1\ta b\r\n2\tc"), {"a b", "c"});
  expect_texts(texts("c.jsonl", "\xEF\xBB\xBF{\"text\": \"a\"}\r\n{\"text\": \"b\"}"), {"a", "b"});
  expect_texts(texts("d.csv", "x,text\r\n1,\"a\"\r\n2,"), {"a"});
}

TEST_F(Readers, BlankLinesAreSkippedAndCounted) {
  Split split = load(texts("a.tsv", "\n \r\ntext\n\na\n\r\n  \nb\n\n"));
  EXPECT_THAT(split.lines, ElementsAre(5, 8));
  EXPECT_EQ(split.blank_lines, 5);
  EXPECT_EQ(split.empty_rows, 1);  // of spaces
  EXPECT_EQ(load(texts("a.jsonl", "{\"text\":\"a\"}\n \t\n\n{\"text\":\"b\"}\n")).blank_lines, 2);
}

TEST_F(Readers, ColumnsByNumber) {
  auto options = texts("a.tsv", "p\tq\na\tb\n");
  options.text = "1";
  expect_texts(options, {"b"});
  options.header = false;
  expect_texts(options, {"q", "b"});
  auto named = texts("b.tsv", "1\t0\na\tb\n");  // a name goes before a number
  named.text = "0";
  expect_texts(named, {"b"});
}

TEST_F(Readers, ColumnsThatAreNotThere) {
  auto options = texts("a.tsv", "id\tsentence\n1\ta\n");
  options.text = "sentance";
  EXPECT_THAT(load_error(options), AllOf(HasSubstr("a.tsv:1: no column \"sentance\""),
                                         HasSubstr("did you mean \"sentence\"?")));
  options.text = "2";
  EXPECT_THAT(load_error(options), HasSubstr("the columns are \"id\", \"sentence\""));
  options.header = false;
  EXPECT_THAT(load_error(options), HasSubstr("no column 2: the first row has 2 cells"));
  options.text = "sentence";
  EXPECT_THAT(load_error(options), HasSubstr("the file has no header"));
  options = texts("b.tsv", "text\ttext\n1\ta\n");
  EXPECT_THAT(load_error(options), HasSubstr("column \"text\" twice"));
}

TEST_F(Readers, JsonLines) {
  expect_texts(
      texts("a.jsonl",
            "{\"text\": \"a \\\"b\\\" \\u00e9\\n\", \"more\": {\"text\": [1, {\"text\": 2}]}}\n"
            "{\"other\": [\"text\", null], \"text\": \"c\"}\n"),
      {"a \"b\" \xC3\xA9\n", "c"});
}

TEST_F(Readers, JsonKeysOfInnerObjectsAreNamedWithDots) {
  DatasetOptions inner =
      texts("a.jsonl",
            "{\"text\": \"x\", \"body\": {\"text\": \"a\", \"more\": {\"text\": \"y\"}}}\n"
            "{\"list\": [{\"body\": {\"text\": \"z\"}}], \"body\": {\"text\": \"b\"}}\n"
            "{\"body.text\": \"c\"}\n");
  inner.text = "body.text";
  expect_texts(inner, {"a", "b", "c"});
  inner = texts("b.jsonl", "{\"body\": {\"text\": {\"more\": \"a\"}}}\n");
  inner.text = "body.text.more";
  expect_texts(inner, {"a"});
  inner.text = "body";
  EXPECT_THAT(load_error(inner),
              AllOf(HasSubstr("\"body\" is an object"), HasSubstr("named with a dot: body.KEY")));
  inner.text = "bodie.text";
  EXPECT_THAT(load_error(inner), HasSubstr("did you mean \"body.text\"?"));
  std::string deep = "{\"a\": {\"b\": \"x\"}, \"y\": ";
  for (int i = 0; i < 100000; ++i) deep += "{\"key\": ";
  deep += "1" + std::string(100001, '}');
  inner = texts("c.jsonl", deep);
  inner.text = "a.b";
  expect_texts(inner, {"x"});
}

TEST_F(Readers, JsonLinesThatCannotBeUsed) {
  std::vector<std::pair<std::string, std::string>> cases{
      {R"({"text": "a")", "not valid JSON at byte"},
      {R"({"text": "a"} x)", "not valid JSON at byte"},
      {R"(["text", "a"])", "not a JSON object"},
      {R"("text")", "not a JSON object"},
      {"17", "not a JSON object"},
      {"null", "not a JSON object"},
      {R"({"text": 3})", "\"text\" is 3, not a string"},
      {R"({"text": true})", "\"text\" is true, not a string"},
      {R"({"text": null})", "\"text\" is null"},
      {R"({"text": {"text": "a"}})", "\"text\" is an object"},
      {R"({"text": ["a"]})", "\"text\" is a list"},
      {R"({"text": "a", "text": "b"})", "key \"text\" twice"},
      {R"({"Text": "a"})", "no key \"text\""},
      {R"({"nested": {"text": "a"}})", "no key \"text\""},
      {R"({"text": "a\u0000b"})", "a NUL character in \"text\""},
      {"{\"text\": \"\xFF\"}", "not valid UTF-8 at byte 11"},
      {R"({"text": "\ud800"})", "not valid JSON at byte"},
  };
  for (const auto& [line, message] : cases)
    EXPECT_THAT(load_error(texts("a.jsonl", "{\"text\": \"good\"}\n" + line + "\n")),
                AllOf(HasSubstr("a.jsonl:2: 1 of 2 rows"), HasSubstr("line 2: " + message)))
        << line;
  EXPECT_THAT(load_error(texts("a.jsonl", R"({"Text": "a"})")),
              HasSubstr("did you mean \"Text\"?"));
}

TEST_F(Readers, DeeplyNestedJsonIsRead) {
  std::string deep =
      "{\"x\": " + std::string(200000, '[') + std::string(200000, ']') + ", \"text\": \"a\"}";
  expect_texts(texts("a.jsonl", deep), {"a"});
}

TEST_F(Readers, RowsOfAnotherWidth) {
  auto options = texts("a.tsv", "text\tx\na\t1\nb\nc\t3\t\t\nd\t4\t5\n");
  EXPECT_THAT(load_error(options),
              AllOf(HasSubstr("a.tsv:3: 2 of 4 rows"), HasSubstr("line 3: a short row: 1 of 2"),
                    HasSubstr("line 5: too many cells: 3 of 2")));
  options = texts("b.tsv", "a\t1\nb\n");
  options.header = false;
  options.text = "0";
  EXPECT_THAT(load_error(options), HasSubstr("line 2: a short row: 1 of 2"));
}

TEST_F(Readers, BadQuotes) {
  EXPECT_THAT(load_error(texts("a.csv", "text\na\n\"b\nc\n")),
              AllOf(HasSubstr("1 of 2 rows"),
                    HasSubstr("line 3: a quote that is opened in this row is never closed")));
  EXPECT_THAT(load_error(texts("a.csv", "text,x\n\"a\"b,1\nc,2\n")),
              AllOf(HasSubstr("1 of 2 rows"), HasSubstr("line 2: text after the closing quote")));
}

TEST_F(Readers, BadUtf8) {
  for (const char* bad : {"\xFF", "\x80", "\xC0\xAF", "\xE0\x80\x80", "\xED\xA0\x80",
                          "\xF4\x90\x80\x80", "\xC3", "\xF0\x9F\x98"})
    EXPECT_THAT(load_error(texts("a.tsv", str("text\ngood\n0123456789", bad, "\n"))),
                HasSubstr("line 3: not valid UTF-8 at byte 11"));
  expect_texts(texts("b.tsv", "text\n\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\xED\x9F\xBF\n"),
               {"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\xED\x9F\xBF"});
  EXPECT_THAT(load_error(texts("c.tsv", "te\xFFxt\na\n")),
              HasSubstr("the header: not valid UTF-8"));
}

TEST_F(Readers, AllBadRowsAreCountedAndFiveListed) {
  std::string rows = "text\tx\n";
  for (int i = 0; i < 1200; ++i) rows += "short\n";
  rows += "good\t1\n";
  EXPECT_THAT(load_error(texts("a.tsv", rows)),
              AllOf(HasSubstr("1,200 of 1,201 rows"), HasSubstr("line 6:"),
                    Not(HasSubstr("line 7:")), HasSubstr("and 1,195 more")));
}

TEST_F(Readers, NulBytesAndUtf16) {
  EXPECT_THAT(load_error(texts("a.tsv", std::string_view("text\na\nb\0c\n", 11))),
              HasSubstr("a.tsv:3: a NUL byte"));
  EXPECT_THAT(load_error(texts("b.tsv", std::string_view("\xFF\xFEt\0", 4))), HasSubstr("UTF-16"));
  EXPECT_THAT(load_error(texts("b.tsv", std::string_view("\xFF\xFE\0\0t\0\0\0", 8))),
              HasSubstr("UTF-32"));
}

TEST_F(Readers, HeadersOfOtherForms) {
  const auto told = [&](const char* name, const std::string& content, const char* hint) {
    EXPECT_THAT(load_error(texts(name, content)), AllOf(HasSubstr("no column"), HasSubstr(hint)));
  };
  told("a.csv", "x;text\n1;a\n", "separated by ';': save it with commas");
  told("a.csv", "x\ttext\n1\ta\n", "separated by tabs");
  told("a.tsv", "x,text\n1,a\n", "separated by ','");
  told("a.csv", "sep=,\nx,text\n1,a\n", "remove the first line");
  told("a.tsv", "\"x\"\t\"text\"\n1\ta\n", "`quoting: true`");
  // Separators behind the header do no harm, as behind rows.
  expect_texts(texts("b.tsv", "text\tx\t\na\t1\nb\t2\t\nc\t3\tmore\n"), {"a", "b", "c"});
  EXPECT_THAT(load_error(texts("b.tsv", "text\tx\t\na\n")), HasSubstr("a short row: 1 of 3"));
}

TEST_F(Readers, HintsAboutLinesOfJson) {
  const auto told = [&](const std::string& line, const char* hint) {
    EXPECT_THAT(load_error(texts("a.jsonl", line + "\n")), HasSubstr(hint)) << line;
  };
  told(R"({"text": "a", "x": NaN})", "no NaN and no Infinity");
  told(R"({"text": "a", "x": -Infinity})", "no NaN and no Infinity");
  told("{'text': 'a'}", "double quotes");
  told(R"({"text": "a \ud800 b"})", "halves of characters");
  told(R"([{"text": "a"}])", "jq -c '.[]'");
}

TEST_F(Readers, WhatCannotBeSeenIsSpelled) {
  EXPECT_EQ(cited("a\u00a0b\u200b"), "\"a\\u00A0b\\u200B\"");
  EXPECT_EQ(cited("a\tb \u00e9"), "\"a?b \u00e9\"");
}

TEST_F(Readers, FilesOfOtherKindsAreNamed) {
  const std::string bzip("BZh91AY&SY\x94\x11", 12);
  for (const char* name : {"a.tsv", "a.csv", "a.jsonl", "a.conll"}) {
    EXPECT_THAT(load_error(texts(name, bzip)),
                AllOf(HasSubstr("the data file is a bzip2 file"), HasSubstr("bunzip2 FILE")));
    EXPECT_THAT(
        load_error(texts(name, "version https://git-lfs.github.com/spec/v1\noid sha256:1\n")),
        AllOf(HasSubstr("a pointer of Git LFS"), HasSubstr("git lfs pull")));
    EXPECT_THAT(load_error(texts(name, "<!DOCTYPE html>\n<html><body>404</body></html>\n")),
                HasSubstr("the data file is a web page"));
  }
  // The name does not tell the format, the bytes do.
  DatasetOptions options = texts("a.tsv", "text\na\n");
  options.train = write("a.tsv.bz2", bzip);
  EXPECT_THAT(load_error(options), HasSubstr("bunzip2 FILE"));
  options.train = write("a.xlsx", std::string("PK\3\4", 4) + std::string(22, '\0') +
                                      std::string("\x0B\0\0\0", 4) + "xl/book.xml");
  EXPECT_THAT(load_error(options), AllOf(HasSubstr("an Office file"), HasSubstr("as CSV")));
  options.train = folder_.string();
  EXPECT_THAT(load_error(options), HasSubstr("this is a folder, not a data file"));
  // Rows that are pages are rows.
  options = texts("p.tsv", "<html><p>a</html>\tx\n<html>b</html>\ty\n");
  options.header = false;
  options.text = "0";
  expect_texts(options, {"<html><p>a</html>", "<html>b</html>"});
}

TEST_F(Readers, RowsAboveTheLimitOfLength) {
  std::string big((16 << 20) + 1, 'x');
  EXPECT_THAT(load_error(texts("a.tsv", "text\na\n" + big + "\n")),
              HasSubstr("a.tsv:3: a row longer than 16 MB"));
  EXPECT_THAT(load_error(texts("a.csv", "text\n\"" + big + "\"\n")),
              HasSubstr("a.csv:2: a row longer than 16 MB"));
  EXPECT_THAT(load_error(texts("a.csv", "text\n\"" + big)), HasSubstr("is a quote never closed?"));
  EXPECT_THAT(load_error(texts("a.jsonl", "\n" + big)),
              HasSubstr("a.jsonl:2: a line longer than 16 MB"));
}

TEST_F(Readers, FilesWithoutRows) {
  EXPECT_THAT(load_error(texts("a.tsv", "")), HasSubstr("the data file is empty"));
  EXPECT_THAT(load_error(texts("a.tsv", "\n\n")), HasSubstr("only blank lines"));
  EXPECT_THAT(load_error(texts("a.tsv", "\xEF\xBB\xBF")), HasSubstr("only blank lines"));
  EXPECT_THAT(load_error(texts("a.tsv", "text\n")),
              AllOf(HasSubstr("has no rows"), HasSubstr("`header: false`")));
  EXPECT_THAT(load_error(texts("a.jsonl", "\n")), HasSubstr("has no rows"));
}

TEST_F(Readers, FilesThatAreNotThere) {
  write("train.tsv", "text\na\n");
  DatasetOptions options = texts("other.tsv", "text\na\n");
  options.train = path("trian.tsv");
  EXPECT_THAT(load_error(options),
              AllOf(HasSubstr("does not exist"), HasSubstr("did you mean " + path("train.tsv"))));
  options.train = path("nowhere/train.tsv");
  EXPECT_THAT(load_error(options), HasSubstr("there is no folder " + path("nowhere")));
  options.train = folder_.string();
  options.format = "tsv";
  EXPECT_THAT(load_error(options), HasSubstr("this is a folder, not a data file"));
}

TEST_F(Readers, FormatsAndSplits) {
  auto options = texts("a.TAB", "text\tx\na\t1\n");
  expect_texts(options, {"a"});
  options.train = write("a.ndjson", "{\"text\": \"a\"}");
  expect_texts(options, {"a"});
  options.train = write("a.txt", "x,text\n1,a\n");
  EXPECT_THAT(error_of(ErrorKind::recipe, [&] { load(options); }),
              HasSubstr("does not tell its format"));
  options.format = "csv";
  expect_texts(options, {"a"});
  options.format = "xls";
  EXPECT_THAT(error_of(ErrorKind::recipe, [&] { load(options); }),
              HasSubstr("unknown data format \"xls\""));
  EXPECT_THAT(error_of(ErrorKind::recipe, [&] { load(options, "test"); }),
              HasSubstr("no test file"));
  error_of(ErrorKind::internal, [&] { load(options, "dev"); });
}

TEST_F(Readers, LimitReadsTheFirstRowsOnly) {
  auto options = texts("a.tsv", "text\tx\na\t1\nb\t2\nshort\n");
  options.limit = 2;
  expect_texts(options, {"a", "b"});
}

TEST_F(Readers, TheTrainingPartMayHaveALimitOfItsOwn) {
  auto options = texts("a.tsv", "text\tx\na\t1\nb\t2\nc\t3\n");
  options.test = options.train;
  options.limit = 2;
  const std::string same = source_hash(options, "train");
  options.train_limit = 1;
  expect_texts(options, {"a"});
  EXPECT_EQ(count_rows(options, "train"), 1);
  EXPECT_EQ(load(options, "test").rows(), 2);
  EXPECT_EQ(count_rows(options, "test"), 2);
  EXPECT_EQ(source_hash(options, "test"), same) << "other parts do not notice";
  EXPECT_NE(source_hash(options, "train"), same);
  int64_t read = 0;
  read_texts(options, "train", [&](std::string_view) { ++read; });
  EXPECT_EQ(read, 1);
}

TEST_F(Readers, CountRowsCountsRecords) {
  auto options = texts("a.csv", "text,x\n\"a\nb\",1\n\nshort\nc,3");
  EXPECT_EQ(count_rows(options, "train"), 3);
  options.quoting = false;
  EXPECT_EQ(count_rows(options, "train"), 4);
  options.header = false;
  options.text = "0";
  EXPECT_EQ(count_rows(options, "train"), 5);
  EXPECT_EQ(count_rows(texts("a.jsonl", "{}\n\nnot json\n"), "train"), 2);
}

TEST_F(Readers, PairsAndMaxLength) {
  auto options = texts("a.tsv", "text\tother\na b\tc\nd\t\n");
  options.pair = "other";
  Split split = load(options);
  auto w = SpaceTokenizer::word;
  EXPECT_THAT(ids_of(split, 0), ElementsAre(1, w("a"), w("b"), 2, w("c"), 2));
  EXPECT_THAT(split.offsets, ElementsAre(0, 6, 10));
  EXPECT_THAT(split.first_lengths, ElementsAre(4, 3));
  options.max_length = 3;
  split = load(options);
  EXPECT_THAT(split.offsets, ElementsAre(0, 3, 6));
  EXPECT_THAT(split.first_lengths, ElementsAre(3, 3));
}

TEST_F(Readers, TextsWithoutATokenAreRefused) {
  auto options = dataset("a.tsv", "label\ttext\n1\ta\n2\t\n3\t \n");
  SpaceTokenizer plain(false);
  EXPECT_THAT(
      error_of(ErrorKind::data, [&] { load_split(options, "train", plain); }),
      AllOf(HasSubstr("a.tsv:3: 2 of 3 rows"), HasSubstr("line 4: the text has no tokens")));
}

}  // namespace
}  // namespace compress::data
