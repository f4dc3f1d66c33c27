// Domains that are held out, texts that are read each by itself, answers that rows propose,
// Parquet.

#include <cstdlib>

#include "compress/data/check_labels.h"
#include "compress/data/passages.h"
#include "compress/data/texts.h"
#include "files/contents.h"
#include "support.h"

namespace compress::data {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Domains : public DataTest {
 protected:
  // One file for all parts.
  DatasetOptions reviews() const {
    DatasetOptions set = dataset(
        "all.tsv",
        "text\tdomain\tlabel\na\tbooks\tno\nb\tfilms\tyes\nc\tbooks\tyes\nd\tfood\tno\ne\t\tyes\n");
    set.validation = set.test = set.train;
    set.held_out = HeldOutOptions{"domain", {"books"}, {}, {}};
    return set;
  }
};

TEST_F(Domains, TrainingDoesNotSeeWhatTheTestPartAloneHas) {
  const DatasetOptions set = reviews();
  EXPECT_THAT(load(set).lines, ElementsAre(3, 5, 6));
  EXPECT_THAT(load(set, "validation").lines, ElementsAre(3, 5, 6));
  const Split test = load(set, "test");
  EXPECT_THAT(test.lines, ElementsAre(2, 4));
  EXPECT_THAT(test.labels, ElementsAre("no", "yes"));
  EXPECT_EQ(ids_of(test, 1), ids_of("c"));
  EXPECT_EQ(count_rows(set, "train"), 3);
  EXPECT_EQ(count_rows(set, "test"), 2);
  EXPECT_NE(source_hash(set, "train"), source_hash(set, "test"));
  EXPECT_NE(load(set).content_hash, test.content_hash);
  DatasetOptions other = set;
  other.held_out->values = {"films", "food"};
  EXPECT_THAT(load(other, "test").lines, ElementsAre(3, 5));
  EXPECT_NE(source_hash(other, "test"), source_hash(set, "test"));
  std::vector<std::string> texts;
  read_texts(set, "test", [&](std::string_view text) { texts.emplace_back(text); });
  EXPECT_THAT(texts, ElementsAre("a", "c"));
  EXPECT_THAT(texts_of_row(test, 1), ElementsAre("c"));
  EXPECT_THAT(texts_of_row(load(set), 2), ElementsAre("e"));
  // Whoever reads one part for another, as rows in front of rows do, asks by the part's name.
  EXPECT_THAT(load(part_options(set, "test"), "train").lines, ElementsAre(3, 5, 6));
}

TEST_F(Domains, LabelsAreCheckedOfThePartsOwnRows) {
  DatasetOptions set = reviews();
  const std::vector<std::string> labels = {"no", "yes"};
  set.test.file = write("books.tsv", "text\tdomain\tlabel\na\tbooks\tno\nb\tbooks\tmaybe\n");
  EXPECT_NO_THROW(check_labels(set, "validation", labels));
  try {
    check_labels(set, "test", labels);
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("maybe"));
  }
}

TEST_F(Domains, LimitsSubsetsAndGroupsAreOfTheRowsThatAreLeft) {
  DatasetOptions set = reviews();
  set.train_limit = 2;
  EXPECT_THAT(load(set).lines, ElementsAre(3, 5));
  EXPECT_EQ(load(set, "test").rows(), 2);
  set.train_limit.reset();
  set.group = "domain";  // the column is asked for once
  set.held_out->values = {"food"};
  EXPECT_EQ(load(set, "test").groups[0], group_number("food"));
  set = reviews();
  set.subset = SubsetOptions{};
  set.subset->file = write("rows.txt", "0\n2\n");
  EXPECT_THAT(load(set).lines, ElementsAre(3, 6));
  EXPECT_EQ(load(set, "test").rows(), 2);
}

TEST_F(Domains, ANameThatNoRowHasIsAnError) {
  DatasetOptions set = reviews();
  set.held_out->values = {"bookz"};
  EXPECT_THAT(error_of(ErrorKind::data, [&] { load(set, "test"); }),
              AllOf(HasSubstr("a domain that is not held out"), HasSubstr("\"books\"")));
  set.held_out->values = {"books", "films", "food", ""};
  set.labels = {"no", "yes"};
  EXPECT_THAT(error_of(ErrorKind::data, [&] { load(set); }),
              HasSubstr("every row is of a domain that is held out"));
  set.held_out->column = "domian";
  EXPECT_THAT(error_of(ErrorKind::data, [&] { load(set); }), HasSubstr("did you mean \"domain\""));
}

TEST_F(Domains, RowsOfSubsetsAndTemplatesAreFoundAgain) {
  DatasetOptions set = texts("a.tsv", "text\tmore\none\tx\ntwo\ty\nthree\tz\n");
  set.text = "{text} and {more}";
  const Split made = load(set);
  EXPECT_THAT(texts_of_row(made, 2), ElementsAre("three and z"));
  EXPECT_THAT(texts_of_row(made, 0), ElementsAre("one and x"));
  set.text = "text";
  set.subset = SubsetOptions{};
  set.subset->file = write("rows.txt", "0\n2\n");
  const Split some = load(set);
  EXPECT_THAT(texts_of_row(some, 1), ElementsAre("three"));
  EXPECT_THAT(texts_of_row(some, 0), ElementsAre("one"));
}

TEST_F(Domains, TextsThatAreReadEachByItself) {
  DatasetOptions set =
      dataset("a.tsv", "text\tother\tlabel\tset\na b\tc\t2.5\ts\n\td\t1\ts\ne\tf\t-\ts\n");
  set.task = "similarity";
  set.pair = "other";
  set.group = "set";
  set.skip_labels = {"-"};
  EXPECT_THAT(error_of(ErrorKind::data, [&] { load(set); }),
              AllOf(HasSubstr("line 3: the text has no tokens"), HasSubstr("1 of 3 rows")));
  set.bad_rows = "skip";
  const Split split = load(set);
  EXPECT_EQ(split.rows(), 1);
  EXPECT_EQ(split.texts(), 2);
  EXPECT_EQ(split.skipped, 1);
  EXPECT_EQ(ids_of(split, 0), ids_of("a b"));
  EXPECT_EQ(ids_of(split, 1), ids_of("c"));
  EXPECT_THAT(split.values, ElementsAre(2.5f, 2.5f));
  const std::vector<int64_t> rows = {0};
  const Batch batch = pack(split, rows);
  EXPECT_EQ(batch.choices, 2);
  EXPECT_EQ(batch.targets.values.numel(), 1);
  EXPECT_THAT(texts_of_row(split, 0), ElementsAre("a b", "c"));
  DatasetOptions wrong = dataset("b.tsv", "text\tother\tlabel\na\tb\tmuch\n");
  wrong.task = "similarity";
  wrong.pair = "other";
  EXPECT_THAT(error_of(ErrorKind::data, [&] { load(wrong); }),
              AllOf(HasSubstr("score \"much\" is not a finite number"), HasSubstr("1 of 1 rows")));
}

TEST_F(Domains, SimilarityInTheCacheIsTheSame) {
  DatasetOptions set = dataset("a.tsv", "text\tother\tlabel\na b\tc\t2.5\nd\te f g\t1\n");
  set.task = "similarity";
  set.pair = "other";
  const Split memory = load(set);
  set.cache = path("cache");
  const Split kept = load(set);
  EXPECT_FALSE(kept.cache.empty());
  EXPECT_EQ(kept.content_hash, memory.content_hash);
  EXPECT_EQ(kept.rows(), 2);
  EXPECT_EQ(ids_of(kept, 3), ids_of(memory, 3));
  EXPECT_THAT(kept.values, ElementsAre(2.5f, 2.5f, 1, 1));
}

TEST_F(Domains, PublishedScoresServeBothTasks) {
  recipe::Problems problems;
  DatasetOptions set;
  const std::string folder = COMPRESS_SOURCE_DIR "/tests/standins/sts/12";
  recipe::Type<DatasetOptions>::read(
      recipe::parse_text("{layout: sts/12, task: similarity, folder: " + folder + "}"), set,
      problems);
  ASSERT_TRUE(problems.list().empty());
  const Split split = load_split(set, "test", SpaceTokenizer());
  EXPECT_EQ(split.rows(), 10);
  EXPECT_EQ(split.texts(), 20);
  EXPECT_EQ(split.values[2], 0.5f);
}

TEST_F(Domains, AnswersThatRowsPropose) {
  DatasetOptions set =
      dataset("a.tsv", "text\tq\tlabel\tname\na\t1\tno\tAda\nb\t1\tyes\tthe Bo\nc\t2\tno\tC\n");
  EXPECT_FALSE(has_candidates(load(set)));
  set.group = "q";
  set.candidate = "name";
  const Split split = load(set);
  ASSERT_TRUE(has_candidates(split));
  EXPECT_THAT(candidates_of(split), ElementsAre("Ada", "the Bo", "C"));
  set.limit = 2;
  EXPECT_THAT(candidates_of(load(set)), ElementsAre("Ada", "the Bo"));
}

TEST_F(Domains, RowsOfParquetAreThoseOfItsLines) {
  const std::string file = COMPRESS_SOURCE_DIR "/tests/standins/parquet/rows.parquet";
  DatasetOptions set = dataset("rows.jsonl", R"({"text": "a \"q\"", "label": "pos", "n": 0.5}
{"text": "b\nc", "label": "neg", "n": 1.0}
{"text": "é", "label": "pos", "n": 2.0}
)");
  const Split lines = load(set);
  set.train = file;
  if (!reads_parquet()) {
    EXPECT_THAT(error_of(ErrorKind::data, [&] { load(set); }), HasSubstr("reads no Parquet"));
    GTEST_SKIP() << "built without Parquet";
  }
  const Split split = load(set);
  EXPECT_THAT(split.labels, ElementsAre("neg", "pos"));
  EXPECT_EQ(split.rows(), lines.rows());
  for (int64_t row = 0; row < lines.rows(); ++row)
    EXPECT_EQ(ids_of(split, row), ids_of(lines, row));
  EXPECT_THAT(split.lines, ElementsAre(1, 2, 3));
  EXPECT_THAT(split.place(2), HasSubstr("rows.parquet, row 3"));
  set.train = file + " + " + path("rows.jsonl");
  EXPECT_EQ(load(set).rows(), 6);
  set.train = file;
  set.text = "txt";
  EXPECT_THAT(error_of(ErrorKind::data, [&] { load(set); }),
              AllOf(HasSubstr("3 of 3 rows"), HasSubstr("no key \"txt\""),
                    HasSubstr("rows.parquet, row 1")));
}

TEST_F(Domains, ADamagedParquetFileIsNamed) {
  if (!reads_parquet()) GTEST_SKIP() << "built without Parquet";
  const std::string file = COMPRESS_SOURCE_DIR "/tests/standins/parquet/rows.parquet";
  const std::string whole = read_file(file);
  DatasetOptions set = dataset("cut.parquet", whole.substr(0, whole.size() / 2));
  EXPECT_THAT(error_of(ErrorKind::data, [&] { load(set); }),
              AllOf(HasSubstr("the Parquet file cannot be read"), HasSubstr("cut.parquet")));
  std::string other = whole;
  for (size_t i = 4; i < whole.size() - 8; ++i) other[i] = 'x';
  set = dataset("other.parquet", other);
  EXPECT_THAT(error_of(ErrorKind::data, [&] { load(set); }), HasSubstr("other.parquet"));
}

// Rows that cannot be used are named with file and line and counted, whatever they are packed in.
TEST_F(Domains, BadRowsOfPackedFiles) {
  const std::vector<std::pair<std::string, std::string>> files = {
      {"a.tsv", "text\tlabel\ngood\tyes\ngood\tmaybe\nbad\tno\n\tno\ngo\xFFod\tyes\n"},
      {"a.csv", "text,label\ngood,yes\ngood,maybe\nbad,no\n,no\ngo\xFFod,yes\n"},
      {"a.jsonl",
       "{\"text\": \"good\", \"label\": \"yes\"}\n\n{\"text\": \"good\", \"label\": \"maybe\"}\n"
       "{\"text\": \"\", \"label\": \"no\"}\n{\"text\": \"bad\", \"label\": \"no\"}\n"
       "{\"text\": \"go\xFFod\", \"label\": \"yes\"}\n"}};
  for (const auto& [name, bytes] : files) {
    DatasetOptions set = dataset(name, bytes);
    set.labels = {"no", "yes"};
    for (const auto& [tool, end] : {std::pair("true", ""), {"gzip", ".gz"}, {"zstd", ".zst"}}) {
      if (std::system(str(tool, " -q -f -k ", path(name), " 2> /dev/null").c_str()) != 0) continue;
      set.train = path(name + end);
      set.bad_rows.clear();
      EXPECT_THAT(error_of(ErrorKind::data, [&] { load(set); }),
                  AllOf(HasSubstr(name + end + ":3"), HasSubstr("2 of 5 rows cannot be used"),
                        HasSubstr("line 3: label \"maybe\""), HasSubstr("line 6: not valid UTF-8")))
          << name << end;
      set.bad_rows = "skip";
      EXPECT_EQ(load(set).rows(), 2) << name << end;
    }
  }
}

TEST_F(Domains, FilesBehindOneNameAreCachedAsOneIs) {
  ::setenv("COMPRESS_CACHE", path("cache").c_str(), 1);
  const std::string words(1000, 'w');
  std::string bytes = "text\n";
  for (int row = 0; row < 34'000; ++row) bytes += words + "\n";
  DatasetOptions set = texts("part-1.tsv", bytes);
  write("part-2.tsv", bytes);
  EXPECT_TRUE(load(set).cache.empty()) << "34 MB are kept in memory";
  set.train = path("part-*.tsv");
  const Split split = load(set);
  EXPECT_FALSE(split.cache.empty()) << "68 MB are not";
  EXPECT_EQ(split.rows(), 68'000);
  EXPECT_EQ(load(set).cache, split.cache);
  ::unsetenv("COMPRESS_CACHE");
}

}  // namespace
}  // namespace compress::data
