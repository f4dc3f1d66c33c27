// Which class is which: names, placeholders, the positive one, rows without a class.

#include "compress/data/classes.h"

#include "support.h"

namespace compress::data {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using Names = std::vector<std::string>;

TEST(Classes, PlaceholdersSayANumber) {
  EXPECT_EQ(placeholder_number("LABEL_0"), 0);
  EXPECT_EQ(placeholder_number("12"), 12);
  for (const char* name :
       {"", "LABEL_", "LABEL_01", "01", "-1", "label_1", "1.0", "one", "LABEL_-1"})
    EXPECT_EQ(placeholder_number(name), std::nullopt) << name;
}

TEST(Classes, AreMatchedByName) {
  EXPECT_EQ(match_classes(Names{"a", "b"}, Names{"a", "b"}).fit, ClassFit::same);
  const ClassMatch match = match_classes(Names{"c", "a", "b"}, Names{"a", "b", "c"});
  EXPECT_EQ(match.fit, ClassFit::reordered);
  EXPECT_THAT(match.order, ElementsAre(2, 0, 1));
  EXPECT_FALSE(match.in_order());
  for (const Names& other : {Names{"a"}, Names{"a", "B"}, Names{"a", "a"}, Names{"a", "b", "c"}}) {
    EXPECT_FALSE(match_classes(Names{"a", "b"}, other));
    EXPECT_THAT(match_classes(Names{"a", "b"}, other).order, IsEmpty());
  }
}

TEST(Classes, PlaceholdersAreMatchedByNumber) {
  const ClassMatch match = match_classes(Names{"0", "1"}, Names{"LABEL_0", "LABEL_1"});
  EXPECT_EQ(match.fit, ClassFit::numbered);
  EXPECT_TRUE(match.in_order());
  EXPECT_THAT(match_classes(Names{"1", "0"}, Names{"LABEL_0", "LABEL_1"}).order, ElementsAre(1, 0));
  EXPECT_THAT(match_classes(Names{"LABEL_2", "LABEL_0", "LABEL_1"}, Names{"0", "1", "2"}).order,
              ElementsAre(2, 0, 1));
  // Counting from 1 is not counting from 0, and a number is no name.
  EXPECT_FALSE(match_classes(Names{"1", "2"}, Names{"LABEL_0", "LABEL_1"}));
  EXPECT_FALSE(match_classes(Names{"0", "1"}, Names{"negative", "positive"}));
  EXPECT_THAT(mismatch_hint(Names{"0", "1"}, Names{"negative", "positive"}), HasSubstr("id2label"));
}

TEST(Classes, ThePositiveOneDoesNotDependOnTheOrder) {
  const auto positive = [](Names names, const std::string& wanted = {}) {
    const int64_t first = positive_class(names, wanted);
    const std::string name = first < 0 ? "none" : names[static_cast<size_t>(first)];
    std::reverse(names.begin(), names.end());
    const int64_t second = positive_class(names, wanted);
    EXPECT_EQ(name, second < 0 ? "none" : names[static_cast<size_t>(second)]);
    return name;
  };
  EXPECT_EQ(positive({"negative", "positive"}), "positive");
  EXPECT_EQ(positive({"POSITIVE", "NEGATIVE"}), "POSITIVE");
  EXPECT_EQ(positive({"0", "1"}), "1");
  EXPECT_EQ(positive({"LABEL_0", "LABEL_1"}), "LABEL_1");
  EXPECT_EQ(positive({"true", "false"}), "true");
  EXPECT_EQ(positive({"yes", "no"}), "yes");
  EXPECT_EQ(positive({"entailment", "not_entailment"}), "entailment");
  EXPECT_EQ(positive({"unacceptable", "acceptable"}), "acceptable");
  EXPECT_EQ(positive({"Non-Toxic", "Toxic"}), "Toxic");
  EXPECT_EQ(positive({"spam", "ham"}), "spam");
  EXPECT_EQ(positive({"2", "10"}), "10");
  EXPECT_EQ(positive({"spam", "ham"}, "ham"), "ham");
  EXPECT_EQ(positive({"LABEL_0", "LABEL_1"}, "0"), "LABEL_0");
  EXPECT_EQ(positive({"spam", "ham"}, "eggs"), "none");
  EXPECT_EQ(positive_class({}, ""), -1);
}

class RowsWithoutClass : public DataTest {
 protected:
  DatasetOptions skipping(DatasetOptions options, Names labels) {
    options.skip_labels = std::move(labels);
    return options;
  }
};

TEST_F(RowsWithoutClass, AreLeftOutAndCounted) {
  const auto options =
      skipping(dataset("a.tsv", "text\tlabel\na\tno\nb\t-\nc\tyes\nd\t - \ne\tno\n"), {"-", "-1"});
  EXPECT_THAT(label_names(options), ElementsAre("no", "yes"));
  const Split split = load(options);
  EXPECT_THAT(split.classes, ElementsAre(0, 1, 0));
  EXPECT_THAT(split.lines, ElementsAre(2, 4, 6));
  EXPECT_EQ(split.skipped, 2);
  EXPECT_EQ(count_rows(options, "train"), 3);
  // `limit` is of the file's rows.
  DatasetOptions few = options;
  few.limit = 3;
  EXPECT_EQ(load(few).rows(), 2);
  EXPECT_EQ(count_rows(few, "train"), 2);
}

// A file whose classes stand in blocks has one of them in its first rows.
TEST_F(RowsWithoutClass, AWarningTellsOfALimitThatLeavesOneClass) {
  std::string sorted = "text\tlabel\n", mixed = sorted;
  for (int row = 0; row < 60; ++row) {
    sorted += str("t", row, row < 30 ? "\tno\n" : "\tyes\n");
    mixed += str("t", row, row % 8 == 0 ? "\tno\n" : "\tyes\n");
  }
  auto told = [&](const DatasetOptions& options) {
    testing::internal::CaptureStderr();
    load(options);
    return testing::internal::GetCapturedStderr();
  };
  DatasetOptions options = dataset("sorted.tsv", sorted);
  EXPECT_EQ(told(options), "");
  options.train_limit = 32;
  EXPECT_THAT(told(options), HasSubstr("93.8% of the first rows, which the limit takes, are"));
  options.train_limit = 40;
  EXPECT_EQ(told(options), "");
  options = dataset("mixed.tsv", mixed);
  options.limit = 40;
  EXPECT_EQ(told(options), "") << "an eighth of the other class is enough";
}

TEST_F(RowsWithoutClass, InJsonAndInTheCache) {
  auto options = skipping(dataset("a.jsonl",
                                  "{\"text\":\"a\",\"label\":0}\n{\"text\":\"b\",\"label\":-1}\n"
                                  "{\"text\":\"c\",\"label\":1}\n"),
                          {"-1"});
  EXPECT_THAT(label_names(options), ElementsAre("0", "1"));
  options.cache = path("cache");
  for (int time : {1, 2}) {
    const Split split = load(options);
    EXPECT_EQ(split.skipped, 1) << time;
    EXPECT_THAT(std::vector<int32_t>(split.classes.begin(), split.classes.end()),
                ElementsAre(0, 1));
  }
  options.skip_labels.clear();
  EXPECT_THAT(label_names(options), ElementsAre("-1", "0", "1"));
  EXPECT_EQ(load(options).rows(), 3);
}

TEST_F(RowsWithoutClass, ScoresAndEmptyLabels) {
  auto scores = skipping(dataset("s.tsv", "text\tlabel\na\t0.5\nb\t-\n"), {"-"});
  scores.task = "regression";
  EXPECT_THAT(load(scores).values, ElementsAre(0.5f));
  auto empty = skipping(dataset("e.tsv", "text\tlabel\na\tx\nb\t\nc\ty\n"), {""});
  EXPECT_THAT(load(empty).classes, ElementsAre(0, 1));
}

TEST_F(RowsWithoutClass, NothingIsLeft) {
  const auto options = skipping(dataset("a.tsv", "text\tlabel\na\t-1\nb\t-1\n"), {"-1"});
  EXPECT_THAT(error_of(ErrorKind::data, [&] { label_names(options); }),
              HasSubstr("all 2 rows have a label that is among `skip_labels`"));
  EXPECT_THAT(error_of(ErrorKind::data,
                       [&] {
                         load_split(options, "train", SpaceTokenizer(), {"0", "1"});
                       }),
              HasSubstr("all 2 rows have a label"));
}

TEST_F(RowsWithoutClass, AreToldFromClasses) {
  EXPECT_THAT(unlabelled_warning({"-", "entailment", "neutral"}),
              HasSubstr("\"-\" is a class of this data"));
  EXPECT_THAT(unlabelled_warning({"-1", "0", "1"}), HasSubstr("`skip_labels: [\"-1\"]`"));
  EXPECT_EQ(unlabelled_warning({"-1", "1"}), "");
  EXPECT_EQ(unlabelled_warning({"a", "b"}), "");
  const auto options = dataset("a.tsv", "text\tlabel\na\tno\nb\t-\n");
  EXPECT_THAT(error_of(ErrorKind::data,
                       [&] {
                         load_split(options, "train", SpaceTokenizer(), {"no", "yes"});
                       }),
              HasSubstr("skip_labels"));
}

TEST_F(RowsWithoutClass, PlaceholdersInTheDataAreFoundByNumber) {
  const auto options = dataset("a.tsv", "text\tlabel\na\t1\nb\tLABEL_0\n");
  const Split split = load_split(options, "train", SpaceTokenizer(), {"LABEL_0", "LABEL_1"});
  EXPECT_THAT(split.classes, ElementsAre(1, 0));
  EXPECT_THAT(error_of(ErrorKind::data,
                       [&] {
                         load_split(options, "train", SpaceTokenizer(), {"no", "yes"});
                       }),
              HasSubstr("label \"1\" is none of the 2 classes"));
}

TEST_F(RowsWithoutClass, ThePositiveClassMustBeThere) {
  auto options = dataset("a.tsv", "text\tlabel\na\tno\nb\tyes\n");
  options.positive = "no";
  EXPECT_EQ(load(options).positive, "no");
  const std::string before = source_hash(options, "train");
  options.positive = "yes";
  EXPECT_THAT(source_hash(options, "train"), Not(before));
  options.positive = "maybe";
  EXPECT_THAT(error_of(ErrorKind::recipe, [&] { load(options); }),
              HasSubstr("`positive` is \"maybe\", which is none of the classes"));
}

}  // namespace
}  // namespace compress::data
