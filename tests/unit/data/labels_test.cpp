#include "support.h"

namespace compress::data {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::FloatEq;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class Labels : public DataTest {
 protected:
  DatasetOptions soft(std::string_view rows) {
    auto options = dataset("s.tsv", "text\tno\tyes\n" + std::string(rows));
    options.label.clear();
    options.soft_labels = {"no", "yes"};
    return options;
  }
  std::string load_error(const DatasetOptions& options, const std::string& name = "train") {
    return error_of(ErrorKind::data, [&] { load(options, name); });
  }
};

TEST_F(Labels, NamesAreSorted) {
  auto options = dataset("a.tsv", "text\tlabel\na\tpos\nb\tneg\nc\t pos \n");
  Split split = load(options);
  EXPECT_THAT(split.labels, ElementsAre("neg", "pos"));
  EXPECT_THAT(split.classes, ElementsAre(1, 0, 1));
  EXPECT_THAT(split.values, IsEmpty());
  EXPECT_THAT(split.soft, IsEmpty());
}

TEST_F(Labels, IntegersAreSortedByValue) {
  EXPECT_THAT(label_names(dataset("a.tsv", "text\tlabel\na\t10\nb\t2\nc\t-1\n")),
              ElementsAre("-1", "2", "10"));
  EXPECT_THAT(label_names(dataset("b.tsv", "text\tlabel\na\t10\nb\t2\nc\tx\n")),
              ElementsAre("10", "2", "x"));
}

TEST_F(Labels, JsonScalars) {
  auto options =
      dataset("a.jsonl", "{\"text\":\"a\",\"label\":true}\n{\"text\":\"b\",\"label\":false}\n");
  Split split = load(options);
  EXPECT_THAT(split.labels, ElementsAre("false", "true"));
  EXPECT_THAT(split.classes, ElementsAre(1, 0));
  options = dataset("b.jsonl", "{\"text\":\"a\",\"label\":10}\n{\"text\":\"b\",\"label\":\"9\"}\n");
  EXPECT_THAT(load(options).classes, ElementsAre(1, 0));
}

TEST_F(Labels, ConfiguredOrderAndCallersOrder) {
  auto options = dataset("a.tsv", "text\tlabel\na\tpos\nb\tneg\n");
  options.labels = {"pos", "mixed", "neg"};
  EXPECT_THAT(load(options).classes, ElementsAre(0, 2));
  Split split = load_split(options, "train", SpaceTokenizer(), {"neg", "pos"});
  EXPECT_THAT(split.labels, ElementsAre("neg", "pos"));
  EXPECT_THAT(split.classes, ElementsAre(1, 0));
}

TEST_F(Labels, OtherSplitsUseTheTrainingFilesNames) {
  auto options = dataset("a.tsv", "text\tlabel\na\tpositive\nb\tnegative\n");
  options.validation = write("dev.tsv", "text\tlabel\na\tpositive\n");
  options.test = write("test.tsv", "text\tlabel\na\tpositive\nb\tpostive\nc\tzzz\n");
  EXPECT_THAT(load(options, "validation").classes, ElementsAre(1));
  EXPECT_THAT(
      load_error(options, "test"),
      AllOf(HasSubstr("test.tsv:3: 2 of 3 rows"),
            HasSubstr(
                "line 3: label \"postive\" is none of the 2 classes (did you mean \"positive\"?)"),
            HasSubstr("line 4: label \"zzz\" is none of the 2 classes\n"),
            HasSubstr("the classes are \"negative\", \"positive\"")));
  options.train = Origin();
  EXPECT_THAT(error_of(ErrorKind::recipe, [&] { load(options, "validation"); }),
              HasSubstr("not known without"));
  options.labels = {"negative", "positive"};
  EXPECT_THAT(load(options, "validation").classes, ElementsAre(1));
}

TEST_F(Labels, NumbersAsTablesWithGapsWriteThem) {
  auto options = dataset("a.tsv", "text\tlabel\na\t1.0\nb\t0.0\n");
  options.labels = {"0", "1"};
  EXPECT_THAT(load_error(options), AllOf(HasSubstr("label \"1.0\" is none of the 2 classes"),
                                         HasSubstr("write 1.0 as 1")));
}

TEST_F(Labels, LimitDoesNotHideClasses) {
  auto options = dataset("a.tsv", "text\tlabel\na\t0\nb\t1\nc\t2\n");
  options.limit = 1;
  Split split = load(options);
  EXPECT_EQ(split.rows(), 1);
  EXPECT_THAT(split.labels, ElementsAre("0", "1", "2"));
}

TEST_F(Labels, EmptyLabels) {
  auto options = dataset("a.tsv", "text\tlabel\na\t1\nb\t\nc\t0\nd\t \n");
  EXPECT_THAT(load_error(options),
              AllOf(HasSubstr("2 of 4 rows"), HasSubstr("line 3: an empty label"),
                    HasSubstr("line 5: an empty label")));
  options.labels = {"0", "1"};
  EXPECT_THAT(load_error(options), HasSubstr("2 of 4 rows"));
  options.task = "regression";
  EXPECT_THAT(load_error(options), HasSubstr("line 3: an empty score"));
}

TEST_F(Labels, SignsOfAWrongColumn) {
  std::string rows = "text\tlabel\n";
  for (int i = 0; i <= 10000; ++i) rows += str("a\t", i, "\n");
  EXPECT_THAT(load_error(dataset("a.tsv", rows)),
              AllOf(HasSubstr("a.tsv:10002: more than 10,000 different labels"),
                    HasSubstr("`task: regression`")));
  EXPECT_THAT(load_error(dataset("a.tsv", "text\tlabel\na\t" + std::string(1001, 'x') + "\n")),
              HasSubstr("a label of more than 1,000 bytes"));
  EXPECT_THAT(load_error(dataset("a.tsv", "text\tlabel\na\t1\nb\t1\n")),
              HasSubstr("every row has the label \"1\""));
}

TEST_F(Labels, HostileLabelsAreShownSafely) {
  auto options = dataset("a.tsv", "text\tlabel\na\t\x1B[31m" + std::string(100, 'y') + "\n");
  options.labels = {"0", "1"};
  EXPECT_THAT(load_error(options),
              AllOf(HasSubstr("\"?[31my"), HasSubstr("y...\""), Not(HasSubstr("\x1B"))));
}

TEST_F(Labels, Scores) {
  auto options = dataset("a.tsv", "text\tlabel\na\t1.5\nb\t-2e-1\nc\t +3 \n");
  options.task = "regression";
  Split split = load(options);
  EXPECT_THAT(split.values, ElementsAre(FloatEq(1.5f), FloatEq(-0.2f), FloatEq(3.f)));
  EXPECT_THAT(split.labels, IsEmpty());
  EXPECT_THAT(label_names(options), IsEmpty());
}

TEST_F(Labels, ScoresThatAreNoNumbers) {
  for (const char* bad :
       {"good", "1.5x", "nan", "inf", "-inf", "1e400", "1e39", "0x10", "1,5", "+-3", "--3"}) {
    auto options = dataset("a.tsv", str("text\tlabel\na\t1\nb\t", bad, "\n"));
    options.task = "regression";
    EXPECT_THAT(load_error(options),
                AllOf(HasSubstr("a.tsv:3: 1 of 2 rows"),
                      HasSubstr(str("score \"", bad, "\" is not a finite number"))));
  }
}

TEST_F(Labels, JsonScores) {
  auto options =
      dataset("a.jsonl", "{\"text\":\"a\",\"label\":1.25}\n{\"text\":\"b\",\"label\":-3}\n");
  options.task = "regression";
  EXPECT_THAT(load(options).values, ElementsAre(1.25f, -3.f));
  options.train = write("b.jsonl", "{\"text\":\"a\",\"label\":true}\n");
  EXPECT_THAT(load_error(options), HasSubstr("score \"true\""));
}

TEST_F(Labels, SoftLabelsAreNormalised) {
  Split split = load(soft("a\t0.25\t0.75\nb\t0\t1.0005\n"));
  EXPECT_THAT(split.labels, ElementsAre("no", "yes"));
  EXPECT_THAT(split.soft, ElementsAre(0.25f, 0.75f, 0.f, 1.f));
  EXPECT_THAT(split.classes, IsEmpty());
}

TEST_F(Labels, SoftLabelsAreMatchedByName) {
  auto options = soft("a\t0.25\t0.75\n");
  EXPECT_THAT(load_split(options, "train", SpaceTokenizer(), {"yes", "no"}).soft,
              ElementsAre(0.75f, 0.25f));
  options.labels = {"negative", "positive"};
  EXPECT_THAT(load(options).labels, ElementsAre("negative", "positive"));
  EXPECT_THAT(load_split(options, "train", SpaceTokenizer(), {"positive", "negative"}).soft,
              ElementsAre(0.75f, 0.25f));
  auto with = [&](std::vector<std::string> names) {
    return error_of(ErrorKind::recipe,
                    [&] { load_split(options, "train", SpaceTokenizer(), names); });
  };
  EXPECT_THAT(with({"positive", "other"}),
              HasSubstr("no column of soft labels for class \"other\""));
  EXPECT_THAT(with({"positive"}), HasSubstr("2 columns of soft labels for 1 classes"));
}

TEST_F(Labels, SoftLabelsThatAreNoDistribution) {
  EXPECT_THAT(load_error(soft("a\t0.5\t0.5\nb\t0.5\t0.502\n")),
              AllOf(HasSubstr("s.tsv:3: 1 of 2"), HasSubstr("the probabilities' sum is 1.002")));
  EXPECT_THAT(load_error(soft("a\t-0.5\t1.5\n")), HasSubstr("\"-0.5\" is negative"));
  EXPECT_THAT(load_error(soft("a\tx\t1\n")), HasSubstr("\"x\" is not a finite number"));
  EXPECT_THAT(load_error(soft("a\t\t1\n")), HasSubstr("\"\" is not a finite number"));
}

TEST_F(Labels, TasksAndTheirColumns) {
  auto options = dataset("a.tsv", "text\tlabel\na\t1\nb\t0\n");
  options.label.clear();
  EXPECT_THAT(error_of(ErrorKind::recipe,
                       [&] {
                         load_split(options, "train", SpaceTokenizer(), {"0", "1"});
                       }),
              HasSubstr("needs `label`"));
  options.task = "guess";
  EXPECT_THAT(error_of(ErrorKind::recipe, [&] { load(options); }),
              HasSubstr("unknown task \"guess\""));
  options.task = "unlabelled";
  Split split = load(options);
  EXPECT_EQ(split.task, Task::unlabelled);
  EXPECT_THAT(split.classes, IsEmpty());
  options.text.clear();
  EXPECT_THAT(error_of(ErrorKind::recipe, [&] { load(options); }), HasSubstr("no text column"));
}

TEST_F(Labels, HashesSayWhatWasRead) {
  auto base = dataset("a.tsv", "text\tlabel\tp\na\t1\tx\nb\t0\ty\n");
  auto hash = [](const DatasetOptions& options) { return source_hash(options, "train"); };
  auto copy = base;
  copy.train = write("copy.tsv", "text\tlabel\tp\na\t1\tx\nb\t0\ty\n");
  copy.format = "tsv";   // what the extension says already
  copy.quoting = false;  // the default of tsv
  EXPECT_EQ(hash(copy), hash(base));
  EXPECT_EQ(load(copy).content_hash, load(base).content_hash);

  std::vector<std::function<void(DatasetOptions&)>> changes{
      [&](auto& o) { o.train = write("b.tsv", "text\tlabel\tp\na\t1\tx\nc\t0\ty\n"); },
      [](auto& o) { o.text = "p"; },
      [](auto& o) { o.pair = "p"; },
      [](auto& o) { o.task = "regression"; },
      [](auto& o) {
        o.labels = {"1", "0"};
      },
      [](auto& o) { o.quoting = true; },
      [](auto& o) { o.max_length = 64; },
      [](auto& o) { o.limit = 1; },
      [](auto& o) { o.train_limit = 1; },
  };
  for (size_t i = 0; i < changes.size(); ++i) {
    auto changed = base;
    changes[i](changed);
    EXPECT_NE(hash(changed), hash(base)) << i;
    EXPECT_NE(load(changed).content_hash, load(base).content_hash) << i;
  }
  EXPECT_NE(load_split(base, "train", SpaceTokenizer(false)).content_hash, load(base).content_hash);
  EXPECT_NE(load_split(base, "train", SpaceTokenizer(), {"1", "0"}).content_hash,
            load(base).content_hash);
}

}  // namespace
}  // namespace compress::data
