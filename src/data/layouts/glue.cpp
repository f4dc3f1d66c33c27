// GLUE (Wang et al. 2019, arXiv 1804.07461): tables without quoting, of which CoLA's have no
// header.

#include "layouts/layout.h"

namespace compress::data {

std::vector<PublishedLayout> glue_layouts() {
  using Counts = PublishedLayout::Counts;
  return {
      {"glue/cola", "whether a sentence is acceptable English", R"(
train: train.tsv
validation: dev.tsv
header: false
quoting: false
text: "3"
label: "1"
labels: ["0", "1"]
positive: "1"
metrics: [matthews]
submission: {file: test.tsv, header: true, text: sentence, id: index, as: CoLA.tsv})"},
      {"glue/sst2", "whether a sentence of a review is positive", R"(
train: train.tsv
validation: dev.tsv
quoting: false
text: sentence
label: label
labels: ["0", "1"]
positive: "1"
metrics: [accuracy]
submission: {file: test.tsv, id: index, as: SST-2.tsv})"},
      {"glue/mrpc", "whether two sentences of news say the same", R"(
train: train.tsv
validation: dev.tsv
quoting: false
text: "#1 String"
pair: "#2 String"
label: Quality
labels: ["0", "1"]
positive: "1"
metrics: [f1, accuracy]
submission: {file: test.tsv, id: index, as: MRPC.tsv})"},
      {"glue/stsb", "how similar two sentences are, from 0 to 5", R"(
train: train.tsv
validation: dev.tsv
quoting: false
task: regression
text: sentence1
pair: sentence2
label: score
metrics: [pearson, spearman]
submission: {file: test.tsv, id: index, clip: [0, 5], as: STS-B.tsv})"},
      // Some rows of the published files are cut short.
      {"glue/qqp", "whether two questions ask the same", R"(
train: train.tsv
validation: dev.tsv
quoting: false
bad_rows: skip
text: question1
pair: question2
label: is_duplicate
labels: ["0", "1"]
positive: "1"
metrics: [f1, accuracy]
submission: {file: test.tsv, id: id, as: QQP.tsv})"},
      {"glue/mnli", "whether a sentence follows from another, genres of the training part", R"(
train: train.tsv
validation: dev_matched.tsv
quoting: false
text: sentence1
pair: sentence2
label: gold_label
labels: [contradiction, entailment, neutral]
metrics: [accuracy]
submission: {file: test_matched.tsv, id: index, as: MNLI-m.tsv})"},
      {"glue/mnli_mismatched", "the same, other genres", R"(
train: train.tsv
validation: dev_mismatched.tsv
quoting: false
text: sentence1
pair: sentence2
label: gold_label
labels: [contradiction, entailment, neutral]
metrics: [accuracy]
submission: {file: test_mismatched.tsv, id: index, as: MNLI-mm.tsv})",
       nullptr, Counts::as_task, "glue/mnli"},
      {"glue/qnli", "whether a sentence answers a question", R"(
train: train.tsv
validation: dev.tsv
quoting: false
text: question
pair: sentence
label: label
labels: [entailment, not_entailment]
metrics: [accuracy]
submission: {file: test.tsv, id: index, as: QNLI.tsv})"},
      {"glue/rte", "whether a sentence follows from another", R"(
train: train.tsv
validation: dev.tsv
quoting: false
text: sentence1
pair: sentence2
label: label
labels: [entailment, not_entailment]
metrics: [accuracy]
submission: {file: test.tsv, id: index, as: RTE.tsv})"},
      {"glue/wnli", "whether a pronoun stands for what the second sentence says", R"(
train: train.tsv
validation: dev.tsv
quoting: false
text: sentence1
pair: sentence2
label: label
labels: ["0", "1"]
positive: "1"
metrics: [accuracy]
submission: {file: test.tsv, id: index, as: WNLI.tsv})",
       nullptr, Counts::often_left_out},
      {"glue/ax", "MNLI's classes of the diagnostic pairs, which are only submitted", R"(
quoting: false
text: sentence1
pair: sentence2
label: "{=entailment}"
labels: [contradiction, entailment, neutral]
submission: {file: diagnostic.tsv, id: index, as: AX.tsv})",
       nullptr, Counts::never},
  };
}

}  // namespace compress::data
