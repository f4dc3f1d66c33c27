#include "support.h"

namespace compress::data {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// All problems of a data set written as YAML, as one text ("" = none).
std::string problems_of(const std::string& yaml, DatasetOptions* read = nullptr) {
  recipe::Problems problems;
  DatasetOptions options;
  recipe::read_struct(DatasetOptions::options().info(), recipe::parse_text(yaml), &options,
                      problems);
  std::string text;
  for (const auto& problem : problems.list())
    text += str(problem.mark.path, ": ", problem.what, " (", problem.hint, ")\n");
  if (read != nullptr) *read = options;
  return text;
}

TEST(DataOptions, ReadsAll) {
  DatasetOptions o;
  EXPECT_EQ(
      problems_of("{format: csv, train: a, validation: b, test: c, text: s, pair: t, label: y,\n"
                  " labels: [no, maybe], header: false, quoting: false, max_length: 64, limit: 9,\n"
                  " cache: off}",
                  &o),
      "");
  EXPECT_EQ(o.format + o.train.file + o.validation.file + o.test.file + o.text + o.pair + o.label,
            "csvabcsty");
  EXPECT_EQ(o.task, "classification");
  EXPECT_THAT(o.labels, ElementsAre("no", "maybe"));
  EXPECT_FALSE(o.header);
  EXPECT_EQ(o.quoting, false);
  EXPECT_EQ(o.max_length, 64);
  EXPECT_EQ(o.limit, 9);
  EXPECT_EQ(o.cache, "off");
  EXPECT_EQ(problems_of("{train: a.tsv, text: s, task: unlabelled}"), "");
  EXPECT_EQ(problems_of("{train: a.json, format: squad, text: s, task: span}"), "");
  EXPECT_EQ(problems_of("{train: a.tsv, text: s, task: sequence_to_sequence, target: t}"), "");
  EXPECT_EQ(problems_of("{train: a.tsv, text: s, soft_labels: [a, b]}"), "");
  EXPECT_EQ(problems_of("{train: a.x, format: text, text: 0, task: next_sentence, duplicates: 3}"),
            "");
  EXPECT_EQ(problems_of("{train: a.tsv, text: s, target: t, task: language_model, compose: "
                        "{demonstrations: {count: 2}}}",
                        &o),
            "");
  EXPECT_EQ(o.compose.name(), "demonstrations");
  EXPECT_EQ(problems_of("{train: a.csv, text: s, task: multi_label, label_columns: [a]}"), "");
  EXPECT_EQ(problems_of("{train: a.jsonl, text: s, task: multi_label, label: l}"), "");
}

struct Case {
  const char* yaml;
  const char* expected;
};
std::ostream& operator<<(std::ostream& out, const Case& each) {
  return out << each.yaml;
}
class DataOptionsProblem : public ::testing::TestWithParam<Case> {};
TEST_P(DataOptionsProblem, IsFound) {
  EXPECT_THAT(problems_of(GetParam().yaml), HasSubstr(GetParam().expected));
}

INSTANTIATE_TEST_SUITE_P(
    All, DataOptionsProblem,
    ::testing::Values(
        Case{"{train: a.tsv, text: s, task: multi_label, label: l}",
             "label_separator: a cell with several labels needs `label_separator`"},
        Case{"{train: a.csv, text: s, task: multi_label, label: l, label_columns: [a, b]}",
             "label_columns: labels are in `label`, `label_columns` or `soft_labels`"},
        Case{"{train: a.jsonl, text: s, task: multi_label, label: l, positive: x}",
             "positive: `positive` names the one class"},
        Case{"{train: a.tsv, text: s, label: l, label_separator: '|'}",
             "label_separator: `label_separator` needs `task: multi_label`"},
        Case{"{train: a.tsv, text: s, task: multi_label}", "needs `label`"},
        Case{"{train: a.tsv, label: y}", "text"},
        Case{"{train: a.tsv, text: s, label: y, format: xls}", "xls"},
        Case{"{train: a.tsv, text: s, label: y, task: guess}", "guess"},
        Case{"{train: a.tsv, text: s, label: y, max_length: 2}", "max_length"},
        Case{"{train: a.tsv, text: s, task: language_model, label: y}", "has no label"},
        Case{"{train: a.tsv, text: s, task: language_model, pair: p}", "no second text"},
        Case{"{train: a.tsv, text: s, task: unlabelled, concatenate: true}",
             "`concatenate` needs `task: language_model`"},
        Case{"{train: a.tsv, text: s, task: unlabelled, append_end: false}", "append_end"},
        Case{"{train: a.tsv, text: s, task: sequence_to_sequence}", "needs `target`"},
        Case{"{train: a.tsv, text: s, task: sequence_to_sequence, target: s}", "used twice"},
        Case{"{train: a.tsv, text: s, label: y, target: t}",
             "`target` needs `task: language_model` or `task: sequence_to_sequence`"},
        Case{"{train: a.tsv, text: s, task: token_classification}", "needs `label`"},
        Case{"{train: a.tsv, text: s, task: span, pair: p}", "needs `answer`"},
        Case{"{train: a.tsv, text: s, task: span, answer: p}", "needs `pair`"},
        Case{"{train: a.json, format: squad, text: s, label: y}", "needs `task: span`"},
        Case{"{train: a.tsv, text: s, task: next_sentence}", "documents are read from a text file"},
        Case{"{train: a.jsonl, text: s, task: next_sentence, labels: [a, b]}",
             "the classes of `next_sentence` are is_next and not_next"},
        Case{"{train: a.jsonl, text: s, task: next_sentence, weight: w}", "have no columns"},
        Case{"{train: a.tsv, text: s, label: y, duplicates: 2}", "needs `task: next_sentence`"},
        Case{"{train: a.tsv, text: s, label: y, compose: demonstrations}",
             "`compose` needs `task: language_model`"},
        Case{"{train: a.tsv, text: s, task: language_model, compose: demonstrations}",
             "these have no `target`"},
        Case{"{test: a.tsv, text: s, target: t, task: language_model, compose: demonstrations}",
             "of the training part, and there is none"},
        Case{"{train: a.tsv, text: s, target: t, task: language_model, compose: examples}",
             "examples"},
        Case{"{train: a.tsv, text: s, task: multiple_choice, label: y, choices: a}",
             "needs `choices`"},
        Case{"{train: a.tsv, text: s, task: multiple_choice, label: y, choices: [a, b], labels: x}",
             "1 names of choices for 2 columns"},
        Case{"{train: a.tsv, text: s, label: y, max_length: 100001}", "max_length"},
        Case{"{train: a.tsv, text: s, label: y, limit: 0}", "limit"},
        Case{"{test: a.tsv, text: s, label: y, train_limit: 2}", "has no training part"},
        Case{"{train: a.tsv, text: s, label: y, lable: z}", "lable"},
        Case{"{train: a.tsv, text: s, label: y, cache: ''}", "an empty name of a folder"},
        Case{"{text: s, label: y}", "names no file"},
        Case{"{train: a.tsv, test: a.txt, text: s, label: y}", "extension of a.txt"},
        Case{"{train: a, format: jsonl, text: s, label: y, quoting: true}", "jsonl has quoting"},
        Case{"{train: a, format: jsonl, text: s, label: y, header: false}", "jsonl has no header"},
        Case{"{train: a.tsv, text: s, label: y, pair: s}", "\"s\" is used twice"},
        Case{"{train: a.tsv, text: s, label: s}", "\"s\" is used twice"},
        Case{"{train: a.tsv, text: s, soft_labels: [a, a]}", "\"a\" is used twice"},
        Case{"{train: a.tsv, text: s}", "needs `label`"},
        Case{"{train: a.tsv, text: s, task: regression}", "needs `label`"},
        Case{"{train: a.tsv, text: s, label: y, task: unlabelled}",
             "unlabelled data set has no label"},
        Case{"{train: a.tsv, text: s, soft_labels: [a, b], task: regression}", "soft labels need"},
        Case{"{train: a.tsv, text: s, label: y, labels: [a, b], task: regression}",
             "class names need"},
        Case{"{train: a.tsv, text: s, label: y, soft_labels: [a, b]}", "not both"},
        Case{"{train: a.tsv, text: s, soft_labels: [a]}", "one column of probabilities"},
        Case{"{train: a.tsv, text: s, label: l, labels: [a]}", "one class"},
        Case{"{train: a.tsv, text: s, soft_labels: [a, b], labels: [x]}",
             "1 class names for 2 columns"},
        Case{"{train: a.tsv, text: s, label: y, labels: [a, b, a]}", "\"a\" is named twice"},
        Case{"{train: a.tsv, text: s, label: y, labels: [a, ' b']}", "spaces around"}));

}  // namespace
}  // namespace compress::data
