// Rows that cannot be used: each kind named with file and line and counted, refused or skipped.

#include "compress/data/passages.h"
#include "compress/data/texts.h"
#include "rows/row_stream.h"
#include "support.h"

namespace compress::data {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct BadFile {
  const char* name;
  const char* file;
  std::string bytes;
  int64_t line;      // of the bad row
  const char* what;  // what is said of it
  int64_t rows;      // that are left
};
std::ostream& operator<<(std::ostream& out, const BadFile& each) {
  return out << each.name;
}

class BadRow : public DataTest, public ::testing::WithParamInterface<BadFile> {
 protected:
  DatasetOptions options() const {
    DatasetOptions set = dataset(GetParam().file, GetParam().bytes);
    set.labels = {"no", "yes"};
    return set;
  }
};

TEST_P(BadRow, IsRefusedWithItsLine) {
  for (const char* how : {"", "refuse"}) {
    DatasetOptions set = options();
    set.bad_rows = how;
    EXPECT_THAT(error_of(ErrorKind::data, [&] { load(set); }),
                AllOf(HasSubstr(GetParam().what), HasSubstr(str("line ", GetParam().line, ":")),
                      HasSubstr(GetParam().file), HasSubstr("1 of ")));
  }
}

TEST_P(BadRow, IsSkippedOnDemand) {
  DatasetOptions set = options();
  set.bad_rows = "skip";
  const Split split = load(set);
  EXPECT_EQ(split.rows(), GetParam().rows);
  EXPECT_EQ(split.classes.size(), static_cast<size_t>(split.rows()));
  EXPECT_EQ(std::count(split.lines.begin(), split.lines.end(), GetParam().line), 0);
  for (int64_t row = 0; row < split.rows(); ++row)
    EXPECT_EQ(ids_of(split, row), ids_of(split.classes[row] == 1 ? "good" : "bad"));
}

const std::string tail = "good\tyes\nbad\tno\n";
INSTANTIATE_TEST_SUITE_P(
    Kinds, BadRow,
    ::testing::Values(
        BadFile{"WrongLabel", "a.tsv", "text\tlabel\nbad\tno\ngood\tperhaps\n" + tail, 3,
                "label \"perhaps\" is none of the 2 classes", 3},
        BadFile{"EmptyLabel", "a.tsv", "text\tlabel\nbad\t\n" + tail, 2, "an empty label", 2},
        BadFile{"EmptyText", "a.tsv", "text\tlabel\ngood\tyes\n\tno\n" + tail, 3,
                "the text has no tokens", 3},
        BadFile{"RowCutShort", "a.tsv", "text\tlabel\ngood\n" + tail, 2, "a short row: 1 of 2", 2},
        BadFile{"RowTooLong", "a.tsv", "text\tlabel\ngood\tx\tno\n" + tail, 2,
                "too many cells: 3 of 2", 2},
        BadFile{"InvalidUtf8", "a.tsv", "text\tlabel\ngo\xFFod\tyes\n" + tail, 2,
                "not valid UTF-8 at byte 3", 2},
        BadFile{"MarkAndReturns", "a.tsv",
                "\xEF\xBB\xBFtext\tlabel\r\ngood\tyes\r\nbad\tno\r\nbad\tnone\r\n", 4,
                "label \"none\"", 2},
        BadFile{"QuoteNeverClosed", "a.csv", "text,label\ngood,yes\n\"bad,no\nbad,no\n", 3,
                "never closed", 1},
        BadFile{"NoJson", "a.jsonl",
                "{\"text\": \"good\", \"label\": \"yes\"}\n{\"text\": \"good\n", 2,
                "not valid JSON", 1},
        // Python's json writes it, and JSON has no such number; the key is not even wanted.
        BadFile{"BareNaN", "a.jsonl",
                "{\"text\": \"good\", \"label\": \"yes\", \"year\": NaN}\n"
                "{\"text\": \"bad\", \"label\": \"no\"}\n",
                1, "not valid JSON", 1},
        BadFile{
            "MissingKey", "a.jsonl",
            "{\"text\": \"good\", \"label\": \"yes\"}\n{\"txet\": \"bad\", \"label\": \"no\"}\n", 2,
            "no key \"text\"", 1},
        BadFile{"NumberForText", "a.jsonl",
                "{\"text\": 5, \"label\": \"yes\"}\n{\"text\": \"bad\", \"label\": \"no\"}\n", 1,
                "\"text\" is 5, not a string", 1}),
    [](const auto& each) { return each.param.name; });

class SkippedRows : public DataTest {};

TEST_F(SkippedRows, MissingColumnIsNoMatterOfRows) {
  DatasetOptions set = dataset("a.tsv", "txt\tlabel\na\t0\nb\t1\n");
  set.bad_rows = "skip";
  EXPECT_THAT(error_of(ErrorKind::data, [&] { load(set); }),
              AllOf(HasSubstr("no column \"text\""), HasSubstr("a.tsv:1"),
                    HasSubstr("did you mean \"txt\"?")));
}

TEST_F(SkippedRows, ALineOfAMegabyteIsARow) {
  const std::string text(1 << 20, 'x');
  const DatasetOptions set = dataset("a.tsv", "text\tlabel\n" + text + "\t0\nb\t1\n");
  EXPECT_EQ(ids_of(load(set), 0), ids_of(text));
}

TEST_F(SkippedRows, TheSecondRowOfAnIdIsBad) {
  DatasetOptions set = dataset("a.tsv", "text\tlabel\tn\na\t0\tr1\nb\t1\tr2\nc\t0\tr1\nd\t1\t\n");
  set.id = "n";
  EXPECT_THAT(error_of(ErrorKind::data, [&] { load(set); }),
              AllOf(HasSubstr("2 of 4 rows"), HasSubstr("line 4: the id \"r1\" is also that of"),
                    HasSubstr("a.tsv:2"), HasSubstr("line 5: an empty id")));
  set.bad_rows = "skip";
  EXPECT_THAT(load(set).lines, ElementsAre(2, 3));
}

TEST_F(SkippedRows, ScoresWeightsAndProbabilities) {
  DatasetOptions set =
      dataset("a.tsv", "text\tlabel\tw\na\t1.5\t1\nb\tnan\t1\nc\t2\t-1\nd\t3\t2\n");
  set.task = "regression";
  set.weight = "w";
  set.bad_rows = "skip";
  const Split scores = load(set);
  EXPECT_THAT(scores.values, ElementsAre(1.5f, 3));
  EXPECT_THAT(scores.weights, ElementsAre(1, 2));
  DatasetOptions soft = dataset("s.tsv", "text\tp\tq\na\t0.5\t0.5\nb\t0.9\t0.9\nc\t1\t0\n");
  soft.label.clear();
  soft.soft_labels = {"p", "q"};
  soft.bad_rows = "skip";
  EXPECT_THAT(load(soft).soft, ElementsAre(0.5f, 0.5f, 1, 0));
}

TEST_F(SkippedRows, AnswersThatAreNotInTheirPassage) {
  const std::string bytes =
      "{\"q\": \"who\", \"c\": \"it was ann\", \"a\": \"ann\"}\n"
      "{\"q\": \"who\", \"c\": \"it was bo\", \"a\": \"ann\"}\n"
      "{\"q\": \"who\", \"c\": \"it was eve\", \"a\": \"eve\"}\n";
  DatasetOptions set = dataset("a.jsonl", bytes);
  set.task = "span";
  set.text = "q";
  set.pair = "c";
  set.answer = "a";
  set.label.clear();
  EXPECT_THAT(error_of(ErrorKind::data, [&] { load(set); }),
              AllOf(HasSubstr("line 2: the answer \"ann\" is not in the passage")));
  set.bad_rows = "skip";
  const Split split = load(set);
  EXPECT_THAT(split.lines, ElementsAre(1, 3));
  const Passages& passages = passages_of(split, SpaceTokenizer());
  EXPECT_THAT(passages.examples.at(1).answers, ElementsAre("eve"));
}

TEST_F(SkippedRows, GroupsWithoutAPositiveRow) {
  DatasetOptions set = dataset("a.tsv", "text\tlabel\tq\na\t0\tx\nb\t1\tx\nc\t0\ty\nd\t0\ty\n");
  set.group = "q";
  set.labels = {"0", "1"};
  EXPECT_EQ(load(set).rows(), 4) << "metrics leave them out and count them";
  set.bad_rows = "refuse";
  EXPECT_THAT(error_of(ErrorKind::data, [&] { load(set); }),
              AllOf(HasSubstr("1 of 2 groups"), HasSubstr("a.tsv:4"), HasSubstr("class \"1\"")));
}

TEST_F(SkippedRows, TextsOfALanguageModel) {
  DatasetOptions set = texts("a.jsonl", "{\"text\": \"a\"}\n{\"text\": \"\"}\n{\"text\": \"b\"}\n");
  EXPECT_EQ(load(set).rows(), 2) << "left out and counted";
  set.bad_rows = "refuse";
  EXPECT_THAT(error_of(ErrorKind::data, [&] { load(set); }), HasSubstr("line 2"));
  set.bad_rows = "skip";
  EXPECT_EQ(load(set).rows(), 2);
}

// What DistilBERT's scripts do to a file of texts.
TEST_F(SkippedRows, ShortAndUnknownTexts) {
  DatasetOptions set = texts("a.tsv", "text\na b\na b c\nd\na b c d\ne f g\n");
  set.min_length = 5;  // with two special tokens
  EXPECT_THAT(load(set).lines, ElementsAre(3, 5, 6));
  EXPECT_NE(load(set).content_hash, load(texts("b.tsv", "text\na b c\n")).content_hash);
  set.limit = 2;
  EXPECT_THAT(load(set).lines, ElementsAre(3, 5)) << "rows that are left out do not count";
  set.min_length = 7;
  EXPECT_THAT(error_of(ErrorKind::data, [&] { load(set); }), HasSubstr("leave no row"));
  text::PackedIds packed;
  packed.offsets = {0, 4, 8};
  packed.ids = {1, 9, 5, 2, 1, 9, 9, 2};
  packed.first_lengths = {4, 4};
  Split chunk;
  chunk.lines = std::vector<int64_t>{2, 3};
  EXPECT_EQ(drop_poor(packed, 0, 0.5, 9, chunk), 1) << "half of them are 9";
  EXPECT_THAT(packed.ids, ElementsAre(1, 9, 5, 2));
  EXPECT_THAT(chunk.lines, ElementsAre(2));
}

TEST_F(SkippedRows, LongTextsBecomeSeveralRows) {
  DatasetOptions set = texts("a.tsv", "text\na b c d e\na b\nc d e f\n");
  set.max_length = 4;
  set.split_long = true;
  const Split split = load(set);
  EXPECT_THAT(split.lines, ElementsAre(2, 2, 2, 3, 4, 4));
  EXPECT_EQ(ids_of(split, 0), ids_of("a b"));
  EXPECT_EQ(ids_of(split, 1), ids_of("c d"));
  EXPECT_EQ(ids_of(split, 2), ids_of("e"));
  EXPECT_EQ(ids_of(split, 3), ids_of("a b"));
  EXPECT_EQ(ids_of(split, 5), ids_of("e f"));
  set.min_length = 4;
  EXPECT_THAT(load(set).lines, ElementsAre(2, 2, 3, 4, 4)) << "parts are judged, not texts";
}

TEST_F(SkippedRows, ChoicesGoTogether) {
  DatasetOptions set = dataset("a.tsv", "text\ta\tb\tlabel\n\t\tx\t0\nq\tx\ty\t1\n");
  set.task = "multiple_choice";
  set.choices = {"a", "b"};
  set.bad_rows = "skip";
  const Split split = load(set);
  EXPECT_EQ(split.rows(), 1);
  EXPECT_EQ(split.texts(), 2);
  EXPECT_THAT(split.classes, ElementsAre(1, 1));
}

TEST_F(SkippedRows, OneNumberIsNotTwoClasses) {
  DatasetOptions set = dataset("a.tsv", "text\tlabel\na\t0\nb\t1\nc\t1.0\n");
  EXPECT_THAT(error_of(ErrorKind::data, [&] { load(set); }),
              HasSubstr("\"1\" and \"1.0\" are the same number"));
  set.train = write("b.tsv", "text\tlabel\na\t01\nb\t1\n");
  EXPECT_THAT(load(set).labels, ElementsAre("01", "1"));
}

TEST_F(SkippedRows, NoRowIsLeft) {
  DatasetOptions set = dataset("a.tsv", "text\tlabel\na\nb\n");
  set.labels = {"0", "1"};
  set.bad_rows = "skip";
  EXPECT_THAT(error_of(ErrorKind::data, [&] { load(set); }),
              HasSubstr("none of 2 rows can be used"));
}

TEST_F(SkippedRows, SkippedRowsDoNotCountForTheLimit) {
  DatasetOptions set = dataset("a.tsv", "text\tlabel\na\t0\nb\nc\t1\nd\t0\n");
  set.labels = {"0", "1"};
  set.bad_rows = "skip";
  set.limit = 2;
  EXPECT_THAT(load(set).lines, ElementsAre(2, 4));
}

}  // namespace
}  // namespace compress::data
