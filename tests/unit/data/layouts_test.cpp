// Benchmarks' published forms, on hand-made files with their quirks (tests/standins).

#include "compress/data/layouts.h"

#include <set>

#include "compress/data/passages.h"
#include "compress/data/submission.h"
#include "support.h"

namespace compress::data {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const std::string standins = COMPRESS_SOURCE_DIR "/tests/standins/";

// A data set written as YAML; its problems, of which there must be none unless `told` asks.
DatasetOptions read(const std::string& yaml, std::string* told = nullptr) {
  recipe::Problems problems;
  DatasetOptions options;
  recipe::Type<DatasetOptions>::read(recipe::parse_text(yaml), options, problems);
  std::string text;
  for (const auto& problem : problems.list()) text += problem.what + " | " + problem.hint + "\n";
  if (told != nullptr)
    *told = text;
  else
    EXPECT_EQ(text, "") << yaml;
  return options;
}

DatasetOptions layout(const std::string& name, const std::string& folder,
                      const std::string& more = "") {
  return read("{layout: " + name + ", folder: " + standins + folder + more + "}");
}

Split load(const DatasetOptions& options, const std::string& part) {
  return load_split(options, part, SpaceTokenizer(), {}, 2);
}

// The names of a split's classes, row by row.
std::vector<std::string> named(const Split& split) {
  std::vector<std::string> names;
  for (int64_t row = 0; row < split.rows(); ++row)
    names.push_back(split.labels[static_cast<size_t>(split.classes[row * split.choices])]);
  return names;
}

std::vector<int32_t> pair_ids(std::string_view first, std::string_view second) {
  text::Encoding out;
  SpaceTokenizer().encode(first, second, {}, out);
  return out.ids;
}

struct GlueTask {
  const char *name, *folder;
  std::vector<std::string> train, validation;  // classes of the rows
  std::vector<std::string> metrics;
  const char* sent;
  std::vector<std::string> ids;  // of the rows to submit
};
std::ostream& operator<<(std::ostream& out, const GlueTask& task) {
  return out << task.name;
}
class Glue : public ::testing::TestWithParam<GlueTask> {};

TEST_P(Glue, ReadsTrainingDevelopmentAndSubmission) {
  const GlueTask& task = GetParam();
  const DatasetOptions options = layout(task.name, std::string("glue/") + task.folder);
  EXPECT_EQ(named(load(options, "train")), task.train);
  const Split validation = load(options, "validation");
  EXPECT_EQ(named(validation), task.validation);
  EXPECT_EQ(validation.metrics, task.metrics);
  EXPECT_EQ(options.submission->as, task.sent);
  EXPECT_EQ(ids_to_submit(options), task.ids);
  const Split rows = load(rows_to_submit(options), "test");
  EXPECT_EQ(rows.rows(), static_cast<int64_t>(task.ids.size()));
  EXPECT_EQ(rows.labels, validation.labels);
}

using Names = std::vector<std::string>;
INSTANTIATE_TEST_SUITE_P(
    Tasks, Glue,
    ::testing::Values(
        GlueTask{"glue/cola",
                 "CoLA",
                 {"1", "1", "0", "0"},
                 {"1", "0"},
                 {"matthews"},
                 "CoLA.tsv",
                 {"0", "1"}},
        GlueTask{"glue/sst2",
                 "SST-2",
                 {"1", "1", "1", "1", "0", "0", "0", "0"},
                 {"1", "0"},
                 {"accuracy"},
                 "SST-2.tsv",
                 {"0", "1", "2"}},
        GlueTask{"glue/mrpc",
                 "MRPC",
                 {"1", "0", "1"},
                 {"0", "1"},
                 {"f1", "accuracy"},
                 "MRPC.tsv",
                 {"0", "1"}},
        GlueTask{"glue/qqp",
                 "QQP",
                 {"1", "0", "1"},
                 {"0", "1"},
                 {"f1", "accuracy"},
                 "QQP.tsv",
                 {"0", "1"}},
        GlueTask{"glue/mnli",
                 "MNLI",
                 {"entailment", "neutral", "contradiction"},
                 {"contradiction", "entailment"},
                 {"accuracy"},
                 "MNLI-m.tsv",
                 {"0", "1"}},
        GlueTask{"glue/mnli_mismatched",
                 "MNLI",
                 {"entailment", "neutral", "contradiction"},
                 {"neutral", "contradiction"},
                 {"accuracy"},
                 "MNLI-mm.tsv",
                 {"0"}},
        GlueTask{"glue/qnli",
                 "QNLI",
                 {"entailment", "not_entailment"},
                 {"entailment", "not_entailment"},
                 {"accuracy"},
                 "QNLI.tsv",
                 {"0", "1"}},
        GlueTask{"glue/rte",
                 "RTE",
                 {"entailment", "not_entailment"},
                 {"entailment", "not_entailment"},
                 {"accuracy"},
                 "RTE.tsv",
                 {"0", "1"}},
        GlueTask{"glue/wnli", "WNLI", {"1", "0"}, {"1", "0"}, {"accuracy"}, "WNLI.tsv", {"0"}}),
    [](const auto& each) { return std::string(each.param.name + std::string("glue/").size()); });

TEST(Layouts, GlueTextsAreTheRightColumns) {
  const Split cola = load(layout("glue/cola", "glue/CoLA"), "train");
  EXPECT_EQ(ids_of(cola, 1), ids_of("They sang \"home\" all night."));
  const Split sent = load(rows_to_submit(layout("glue/cola", "glue/CoLA")), "test");
  EXPECT_EQ(ids_of(sent, 1), ids_of("Knows she him the."));
  // A quote sign that is never closed is a character.
  const Split mrpc = load(layout("glue/mrpc", "glue/MRPC"), "train");
  EXPECT_EQ(ids_of(mrpc, 0), pair_ids("\"We are ready, he said.", "He said they were ready."));
  EXPECT_EQ(mrpc.positive, "1");
  const Split mnli = load(layout("glue/mnli", "glue/MNLI"), "train");
  EXPECT_EQ(ids_of(mnli, 1), pair_ids("The bus is \"late.", "The bus has a driver."));
  const Split qqp = load(layout("glue/qqp", "glue/QQP"), "train");
  EXPECT_THAT(qqp.lines, ElementsAre(2, 3, 5)) << "the row that is cut short is skipped";
  EXPECT_EQ(ids_of(load(rows_to_submit(layout("glue/qqp", "glue/QQP")), "test"), 0),
            pair_ids("What is snow?", "How is snow made?"));
}

TEST(Layouts, StsbIsARegression) {
  const DatasetOptions options = layout("glue/stsb", "glue/STS-B");
  const Split train = load(options, "train");
  EXPECT_THAT(train.values, ElementsAre(5, 3.8f, 0));
  EXPECT_EQ(ids_of(train, 0), pair_ids("A plane is taking off.", "An air plane is taking off."));
  EXPECT_THAT(train.metrics, ElementsAre("pearson", "spearman"));
  EXPECT_EQ(load(rows_to_submit(options), "test").rows(), 2);
  EXPECT_EQ(submitted(*options.submission, 5.7), "5.000");
  EXPECT_EQ(submitted(*options.submission, -0.2), "0.000");
  EXPECT_EQ(submitted(*options.submission, 3.25), "3.250");
}

TEST(Layouts, DiagnosticsAreOnlySubmitted) {
  const DatasetOptions options = layout("glue/ax", "glue/AX");
  EXPECT_THAT(ids_to_submit(options), ElementsAre("0", "1"));
  EXPECT_THAT(load(rows_to_submit(options), "test").labels,
              ElementsAre("contradiction", "entailment", "neutral"));
}

TEST(Layouts, SubmissionsAreAsTheServersReadThem) {
  const DatasetOptions rte = layout("glue/rte", "glue/RTE");
  EXPECT_EQ(submission_text(*rte.submission, {"0", "1"}, {"not_entailment", "entailment"}),
            "index\tprediction\n0\tnot_entailment\n1\tentailment\n");
  const DatasetOptions copa = layout("superglue/copa", "superglue/COPA");
  EXPECT_EQ(submission_text(*copa.submission, {"0", "1"}, {"1", "0"}),
            "{\"idx\":0,\"label\":1}\n{\"idx\":1,\"label\":0}\n");
  const DatasetOptions wic = layout("superglue/wic", "superglue/WiC");
  EXPECT_EQ(submission_text(*wic.submission, {"7"}, {"true"}), "{\"idx\":7,\"label\":\"true\"}\n");
}

TEST(Layouts, KeysOfTheDataSetComeFirst) {
  const DatasetOptions options = layout("glue/mnli", "glue/MNLI",
                                        ", labels: [neutral, entailment, contradiction], "
                                        "max_length: 16, metrics: [f1_macro]");
  EXPECT_THAT(load(options, "train").labels, ElementsAre("neutral", "entailment", "contradiction"));
  EXPECT_EQ(options.max_length, 16);
  EXPECT_THAT(metrics_of(options), ElementsAre("f1_macro"));
  EXPECT_EQ(options.text, "sentence1");
  // Another task takes the texts alone.
  const DatasetOptions texts = layout("glue/sst2", "glue/SST-2", ", task: language_model");
  EXPECT_EQ(load(texts, "train").rows(), 8);
  EXPECT_THAT(texts.metrics, IsEmpty());
  // What was read is written whole and read again the same.
  std::string yaml = recipe::to_yaml(recipe::Type<DatasetOptions>::write(options));
  EXPECT_EQ(recipe::to_yaml(recipe::Type<DatasetOptions>::write(read(yaml))), yaml);
}

TEST(Layouts, MistakesAreToldAtTheEntry) {
  std::string told;
  read("{layout: glue/sst, folder: x}", &told);
  EXPECT_THAT(told, HasSubstr("unknown layout \"glue/sst\" | did you mean glue/sst2?"));
  read("{layout: glue/sst2}", &told);
  EXPECT_THAT(told, HasSubstr("needs `folder`"));
  read("{folder: x, train: a.tsv, text: s, label: y}", &told);
  EXPECT_THAT(told, HasSubstr("add `layout`"));
}

TEST(Layouts, SuperGlueBooleansNamesAndTexts) {
  const Split boolq = load(layout("superglue/boolq", "superglue/BoolQ"), "train");
  EXPECT_EQ(named(boolq), (Names{"true", "false", "true"}));
  const Split cb = load(layout("superglue/cb", "superglue/CB"), "train");
  EXPECT_EQ(named(cb), (Names{"neutral", "entailment", "contradiction"}));
  EXPECT_THAT(cb.metrics, ElementsAre("f1_macro", "accuracy"));
  EXPECT_EQ(named(load(layout("superglue/rte", "superglue/RTE"), "validation")),
            (Names{"not_entailment", "entailment"}));
}

TEST(Layouts, CopaIsAChoiceBehindBecauseOrSo) {
  const DatasetOptions options = layout("superglue/copa", "superglue/COPA");
  const Split copa = load(options, "train");
  ASSERT_EQ(copa.rows(), 2);
  EXPECT_THAT(copa.classes, ElementsAre(0, 0, 1, 1));
  const std::vector<int32_t> all(copa.ids.begin(), copa.ids.begin() + copa.offsets[1]);
  EXPECT_EQ(all, pair_ids("My body cast a shadow over the grass because", "The sun was rising."));
  EXPECT_EQ(load(rows_to_submit(options), "test").rows(), 1);
}

TEST(Layouts, WordsAndSpansAreMarked) {
  const Split wic = load(layout("superglue/wic", "superglue/WiC"), "train");
  EXPECT_EQ(ids_of(wic, 0), pair_ids("place: Do you want to come over to my *place* later?",
                                     "A political system with no *place* for the less fortunate."));
  EXPECT_EQ(ids_of(wic, 1), pair_ids("wave: Café owners *wave* at us.", "They *wave* back."))
      << "places count characters";
  const Split wsc = load(layout("superglue/wsc", "superglue/WSC"), "train");
  EXPECT_EQ(ids_of(wsc, 0),
            pair_ids("*Mark* told Pete many lies about himself , which Pete included in #his# "
                     "book .",
                     "his: Mark"));
  EXPECT_EQ(ids_of(wsc, 1),
            pair_ids("*The city councilmen* refused the demonstrators a permit because #they# "
                     "feared violence.",
                     "they: The city councilmen"));
}

TEST(Layouts, AnswersAndEntitiesAreGroups) {
  const DatasetOptions options = layout("superglue/multirc", "superglue/MultiRC");
  const Split multirc = load(options, "validation");
  EXPECT_EQ(named(multirc), (Names{"1", "0", "1", "0", "1"}));
  EXPECT_EQ(ids_of(multirc, 1),
            pair_ids("Sent 1: Anna went to the market. Sent 2: She bought bread.",
                     "What did Anna buy? milk"));
  EXPECT_EQ(multirc.groups[0], multirc.groups[2]);
  EXPECT_NE(multirc.groups[0], multirc.groups[3]);
  EXPECT_THAT(ids_to_submit(options), ElementsAre("0-0-0", "0-0-1", "0-0-2", "0-1-3", "0-1-4"));
  const Split record = load(layout("superglue/record", "superglue/ReCoRD"), "train");
  EXPECT_EQ(named(record), (Names{"0", "0", "0", "1", "0", "0", "0", "1"}));
  EXPECT_EQ(ids_of(record, 3),
            pair_ids("Zoë Reed of Acme met Bo Lund in Riga. Acme opens an office",
                     "Riga is where the office opens"));
  EXPECT_EQ(record.groups[0], record.groups[3]);
  EXPECT_NE(record.groups[3], record.groups[4]);
}

TEST(Layouts, NestedSubmissionsOfQuestionsAndEntities) {
  const DatasetOptions multirc = layout("superglue/multirc", "superglue/MultiRC");
  EXPECT_THAT(metrics_of(multirc), ElementsAre("f1", "group_exact_match"));
  EXPECT_EQ(submission_text(multirc, {"0-0-0", "0-0-1", "0-1-2", "1-2-3"}, {"1", "0", "1", "0"},
                            {2, -1, 3, -2}),
            R"({"idx":0,"passage":{"questions":[{"idx":0,"answers":[{"idx":0,"label":1},)"
            R"({"idx":1,"label":0}]},{"idx":1,"answers":[{"idx":2,"label":1}]}]}})"
            "\n"
            R"({"idx":1,"passage":{"questions":[{"idx":2,"answers":[{"idx":3,"label":0}]}]}})"
            "\n");
  const DatasetOptions record = layout("superglue/record", "superglue/ReCoRD");
  const std::vector<std::string> ids = ids_to_submit(record);
  ASSERT_EQ(static_cast<int64_t>(ids.size()), load(rows_to_submit(record), "test").rows());
  EXPECT_THAT(ids[0], HasSubstr("\t"));
  // The likeliest of each query; of equal ones the first.
  EXPECT_EQ(submission_text(record, {"7\tAda", "7\tBo", "7\tRiga", "8\tAda", "8\tBo"},
                            {"0", "0", "0", "1", "1"}, {-3, -1, -1, 2, 5}),
            "{\"idx\":7,\"label\":\"Bo\"}\n{\"idx\":8,\"label\":\"Bo\"}\n");
}

// A score file beside a file of pairs, sub-set for sub-set; pairs without a score are left out.
TEST(Layouts, YearsOfSimilarityAreGroupsOfSubSets) {
  const std::vector<std::pair<std::string, size_t>> years = {
      {"12", 5}, {"13", 3}, {"14", 6}, {"15", 5}, {"16", 5}};
  for (const auto& [year, sets] : years) {
    const DatasetOptions options = layout("sts/" + year, "sts/" + year);
    const Split split = load(options, "test");
    EXPECT_EQ(split.rows(), static_cast<int64_t>(2 * sets)) << year;
    EXPECT_EQ(split.skipped, static_cast<int64_t>(sets) - 1) << year;
    EXPECT_EQ(std::set<int64_t>(split.groups.begin(), split.groups.end()).size(), sets) << year;
    EXPECT_THAT(split.metrics,
                ElementsAre("spearman", "spearman_mean", "spearman_wmean", "pearson"));
  }
  const Split first = load(layout("sts/12", "sts/12"), "test");
  EXPECT_THAT(std::vector<float>(first.values.begin(), first.values.begin() + 4),
              ElementsAre(4.75f, 0.5f, 3, 2.25f));
  EXPECT_EQ(ids_of(first, 0), pair_ids("A \"quote of MSRpar .", "The MSRpar text ."));
  EXPECT_EQ(ids_of(first, 5), pair_ids("One of SMTeuroparl .", "Two ."))
      << "lines that end in CRLF";
  EXPECT_EQ(first.groups[0], group_number("MSRpar"));
  EXPECT_THAT(first.place(1), HasSubstr("STS.input.MSRpar.txt:3"));
  const DatasetOptions original = layout("sts/b", "sts/b");
  EXPECT_THAT(load(original, "train").values, ElementsAre(5, 1.2f)) << "rows with further cells";
  EXPECT_EQ(ids_of(load(original, "test"), 0), pair_ids("Four.", "Five."));
}

TEST(Layouts, DataSetsThatArePublishedAlone) {
  const Split wikiqa = load(layout("wikiqa/raw", "wikiqa"), "test");
  EXPECT_EQ(named(wikiqa), (Names{"0", "1", "0", "1"}));
  EXPECT_EQ(wikiqa.groups[0], wikiqa.groups[1]);
  const Split asnq = load(layout("asnq/all", "asnq"), "validation");
  EXPECT_EQ(named(asnq), (Names{"1", "4", "2", "3"}));
  EXPECT_EQ(asnq.positive, "4");
  EXPECT_THAT(load(layout("sick/relatedness", "sick"), "test").values, ElementsAre(4.5f, 1.2f));
  const Split snli = load(layout("snli/1.0", "snli"), "train");
  EXPECT_EQ(snli.rows(), 3);
  EXPECT_EQ(snli.skipped, 1) << "a row without a gold label";
  EXPECT_EQ(load(layout("squad/v1", "squad"), "validation").rows(), 2);
  const Split squad = load(layout("squad/v2", "squad"), "train");
  const Passages& passages = passages_of(squad, SpaceTokenizer());
  EXPECT_THAT(passages.examples.at(0).answers, ElementsAre("a painter", "painter"));
  EXPECT_THAT(passages.examples.at(2).answers, IsEmpty());
}

TEST(Layouts, EveryOneIsTested) {
  Names names;
  for (const LayoutFacts& facts : layout_facts()) names.push_back(facts.name);
  EXPECT_EQ(names.size(), 37u) << "add the new layout's stand-in files and a test above";
}

TEST(BenchmarkScore, IsTheMeanOverTasksOfTheMeanOfTheirMetrics) {
  const std::vector<TaskScore> scores = {{"glue/cola", {0.5}},
                                         {"glue/mrpc", {0.8, 0.6}},
                                         {"glue/mnli", {0.8}},
                                         {"glue/mnli_mismatched", {0.9}},
                                         {"glue/wnli", {0.25}}};
  const BenchmarkScore score = benchmark_score(scores);
  EXPECT_DOUBLE_EQ(score.all, (0.5 + 0.7 + 0.85 + 0.25) / 4);
  EXPECT_DOUBLE_EQ(score.without, (0.5 + 0.7 + 0.85) / 3);
  EXPECT_THAT(score.left_out, ElementsAre("glue/wnli"));
  EXPECT_THAT(score.missing,
              ElementsAre("glue/sst2", "glue/stsb", "glue/qqp", "glue/qnli", "glue/rte"));
  const std::vector<TaskScore> two = {{"glue/cola", {0.5}}, {"superglue/cb", {0.5}}};
  EXPECT_THAT(error_of(ErrorKind::recipe, [&] { benchmark_score(two); }),
              HasSubstr("two benchmarks"));
  const std::vector<TaskScore> none = {{"squad/v1", {0.5}}};
  error_of(ErrorKind::recipe, [&] { benchmark_score(none); });
}

}  // namespace
}  // namespace compress::data
