// Rows with any number of labels: how they are written, kept and packed.

#include <filesystem>

#include "compress/data/loader.h"
#include "compress/data/task.h"
#include "support.h"

namespace compress::data {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class MultiLabel : public DataTest {
 protected:
  DatasetOptions several(const std::string& name, std::string_view bytes) const {
    DatasetOptions options = dataset(name, bytes);
    options.task = "multi_label";
    return options;
  }
  std::string refused(const DatasetOptions& options) const {
    return error_of(ErrorKind::data, [&] { load(options); });
  }
};

TEST_F(MultiLabel, ListsOfJsonl) {
  const auto options = several("a.jsonl",
                               "{\"text\": \"a\", \"label\": [\"x\", \"z\"]}\n"
                               "{\"text\": \"b\", \"label\": []}\n"
                               "{\"text\": \"c\", \"label\": [\" y \", \"y\"]}\n"
                               "{\"text\": \"d\", \"label\": \"z\"}\n");
  const Split split = load(options);
  EXPECT_THAT(split.labels, ElementsAre("x", "y", "z"));
  EXPECT_THAT(split.soft, ElementsAre(1, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1));
  EXPECT_THAT(split.classes, IsEmpty());
  const Batch batch = pack(split, std::vector<int64_t>{2, 0});
  EXPECT_TRUE(batch.targets.distribution.equal(torch::tensor({{0.f, 1.f, 0.f}, {1.f, 0.f, 1.f}})));
}

TEST_F(MultiLabel, NumbersInListsAreNames) {
  const Split split = load(several("a.jsonl",
                                   "{\"text\": \"a\", \"label\": [2, 10]}\n"
                                   "{\"text\": \"b\", \"label\": [0]}\n"));
  EXPECT_THAT(split.labels, ElementsAre("0", "2", "10"));
  EXPECT_THAT(split.soft, ElementsAre(0, 1, 1, 1, 0, 0));
}

TEST_F(MultiLabel, NamesBetweenASeparator) {
  auto options = several("a.tsv", "text\tlabel\na\tx| z |\nb\t\nc\ty\n");
  options.label_separator = "|";
  const Split split = load(options);
  EXPECT_THAT(split.labels, ElementsAre("x", "y", "z"));
  EXPECT_THAT(split.soft, ElementsAre(1, 0, 1, 0, 0, 0, 0, 1, 0));
  EXPECT_EQ(count_rows(options, "train"), 3);
  options = several("a.csv", "text,label\na,\"x, z\"\nb,y\n");
  options.label_separator = ",";
  EXPECT_THAT(load(options).soft, ElementsAre(1, 0, 1, 0, 1, 0));
}

TEST_F(MultiLabel, ColumnsOfZeroAndOne) {
  auto options = several("a.csv", "text,toxic,insult\na,1,0\nb,False,TRUE\nc,0.0,1.0\n");
  options.label.clear();
  options.label_columns = {"toxic", "insult"};
  const Split split = load(options);
  EXPECT_THAT(split.labels, ElementsAre("toxic", "insult"));
  EXPECT_THAT(split.soft, ElementsAre(1, 0, 0, 1, 0, 1));
  // In the order of a model's labels.
  const Split turned = load_split(options, "train", SpaceTokenizer(), {"insult", "toxic"}, 1);
  EXPECT_THAT(turned.soft, ElementsAre(0, 1, 1, 0, 1, 0));
  options.train = write("b.csv", "text,toxic,insult\na,1,0\nb,0.5,1\n");
  EXPECT_THAT(refused(options),
              AllOf(HasSubstr("b.csv:3"), HasSubstr("neither 0 nor 1"), HasSubstr("soft_labels")));
}

TEST_F(MultiLabel, ProbabilitiesNeedNoSum) {
  auto options = several("a.csv", "text,x,y\na,0.25,1\nb,0.5,0.5\nc,0,0\n");
  options.label.clear();
  options.soft_labels = {"x", "y"};
  EXPECT_THAT(load(options).soft, ElementsAre(0.25, 1, 0.5, 0.5, 0, 0));
  options.train = write("b.csv", "text,x,y\na,0.25,1.5\n");
  EXPECT_THAT(refused(options), HasSubstr("\"1.5\" is not a number in 0 .. 1"));
}

TEST_F(MultiLabel, RowsAreSkippedByOneOfTheirLabels) {
  auto options = several("a.jsonl",
                         "{\"text\": \"a\", \"label\": [\"x\", \"-\"]}\n"
                         "{\"text\": \"b\", \"label\": []}\n"
                         "{\"text\": \"c\", \"label\": [\"y\"]}\n"
                         "{\"text\": \"d\", \"label\": [\"x\"]}\n");
  options.skip_labels = {"-"};
  Split split = load(options);
  EXPECT_EQ(split.skipped, 1);
  EXPECT_THAT(split.labels, ElementsAre("x", "y"));
  EXPECT_EQ(split.rows(), 3);
  EXPECT_EQ(count_rows(options, "train"), 3);
  options.skip_labels = {"-", ""};
  split = load(options);
  EXPECT_EQ(split.skipped, 2);
  EXPECT_EQ(count_rows(options, "train"), 2);
}

TEST_F(MultiLabel, BadRowsAreNamed) {
  auto options = several("a.jsonl",
                         "{\"text\": \"a\", \"label\": [\"x\"]}\n"
                         "{\"text\": \"b\", \"label\": [\"x\", \"\"]}\n"
                         "{\"text\": \"c\", \"label\": [\"insullt\", \"x\"]}\n"
                         "{\"text\": \"d\", \"label\": [null]}\n");
  options.labels = {"x", "insult"};
  EXPECT_THAT(refused(options),
              AllOf(HasSubstr("3 of 4 rows"), HasSubstr("an empty label in the list"),
                    HasSubstr("\"insullt\" is none of the 2 classes (did you mean \"insult\"?)"),
                    HasSubstr("has null in its list")));
  EXPECT_THAT(refused(several("b.jsonl", "{\"text\": \"a\", \"label\": []}\n")),
              HasSubstr("no row has a label"));
  // One label that is true or not is a task.
  EXPECT_THAT(
      load(several("c.jsonl",
                   "{\"text\": \"a\", \"label\": [\"x\"]}\n{\"text\": \"b\", \"label\": []}\n"))
          .soft,
      ElementsAre(1, 0));
}

TEST_F(MultiLabel, ACacheHoldsThemAndKnowsTheSeparator) {
  auto options = several("a.tsv", "text\tlabel\na\tx|y,z\nb\ty,z\n");
  options.label_separator = "|";
  options.cache = path("cache");
  for (int again = 0; again < 2; ++again) {
    const Split split = load(options);
    EXPECT_FALSE(split.cache.empty());
    EXPECT_THAT(split.labels, ElementsAre("x", "y,z"));
    EXPECT_THAT(split.soft, ElementsAre(1, 1, 0, 1));
  }
  const std::string hash = source_hash(options, "train");
  options.label_separator = ",";
  EXPECT_NE(source_hash(options, "train"), hash);
  EXPECT_THAT(load(options).labels, ElementsAre("x|y", "y", "z"));
}

TEST(MultiLabelTask, IsScoredByItsOwnMetrics) {
  const TaskFacts& facts = facts_of(Task::multi_label);
  EXPECT_EQ(std::string(facts.name), "multi_label");
  EXPECT_THAT(facts.metrics, ElementsAre("f1_micro", "f1_macro", "subset_accuracy", "lrap"));
  EXPECT_EQ(task_of_head("multi_label_classification"), &facts);
}

}  // namespace
}  // namespace compress::data
