// Data sets that are published alone.

#include "layouts/layout.h"

namespace compress::data {

std::vector<PublishedLayout> single_layouts() {
  constexpr auto never = PublishedLayout::Counts::never;
  return {
      {"squad/v1", "SQuAD 1.1 (arXiv 1606.05250): the part of a passage that answers a question",
       R"(
train: train-v1.1.json
validation: dev-v1.1.json
format: squad
task: span
text: question
pair: context
max_length: 384)",
       nullptr, never},
      {"squad/v2", "SQuAD 2.0 (arXiv 1806.03822): the same, or that there is no answer", R"(
train: train-v2.0.json
validation: dev-v2.0.json
format: squad
task: span
text: question
pair: context
max_length: 384)",
       nullptr, never},
      {"snli/1.0", "SNLI: whether a sentence follows from another", R"(
train: snli_1.0_train.jsonl
validation: snli_1.0_dev.jsonl
test: snli_1.0_test.jsonl
text: sentence1
pair: sentence2
label: gold_label
labels: [contradiction, entailment, neutral]
skip_labels: ["-"]
metrics: [accuracy])",
       nullptr, never},
      // Scores are over the questions with a right answer, as TANDA's are.
      {"wikiqa/raw", "WikiQA: which sentences of an article answer a question", R"(
train: WikiQA-train.tsv
validation: WikiQA-dev.tsv
test: WikiQA-test.tsv
quoting: false
text: Question
pair: Sentence
label: Label
labels: ["0", "1"]
positive: "1"
group: QuestionID
metrics: [map, mrr, precision@1])",
       nullptr, never},
      // Of the four classes the last alone is an answer.
      {"asnq/all", "ASNQ (arXiv 1911.04118): which sentences of a page answer a question", R"(
train: train.tsv
validation: dev.tsv
header: false
quoting: false
text: "0"
pair: "1"
label: "2"
labels: ["1", "2", "3", "4"]
positive: "4"
group: "0"
metrics: [map, mrr, precision@1])",
       nullptr, never},
      {"sick/relatedness", "SICK-R: how related two sentences are, from 1 to 5", R"(
train: SICK_train.txt
validation: SICK_trial.txt
test: SICK_test_annotated.txt
format: tsv
quoting: false
task: regression
text: "1"
pair: "2"
label: "3"
metrics: [spearman, pearson])",
       nullptr, never},
  };
}

}  // namespace compress::data
