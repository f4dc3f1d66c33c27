// What is kept of each row: written, read back and compared in pairs.

#include "compress/eval/kept.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/strings.h"
#include "support/failure.h"
#include "unit/nn/support.h"

namespace compress::eval {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class Kept : public testing::Test {
 protected:
  Kept() {
    folder_ = std::filesystem::temp_directory_path() / str("compress-kept-", ::getpid());
    std::filesystem::create_directories(folder_);
    split_.file = "made up";
    split_.offsets = {0};
    for (int64_t row = 0; row < 4; ++row) {
      for (int32_t id : {1, 2, 3}) split_.ids.push_back(id + static_cast<int32_t>(row));
      split_.offsets.push_back(3 * (row + 1));
      split_.first_lengths.push_back(3);
      split_.lines.push_back(row + 2);
    }
  }
  ~Kept() override { std::filesystem::remove_all(folder_); }

  // Writes what was found and reads it.
  KeptPredictions kept(const Evaluation& found) const {
    EXPECT_TRUE(write_predictions(folder_ / "p.jsonl", split_, found));
    return read_predictions(folder_ / "p.jsonl");
  }

  data::Split split_;
  std::filesystem::path folder_;
};

// Labels of a model that says the same of every text: x and z, never y.
TEST_F(Kept, LabelSetsOfAModel) {
  split_.task = data::Task::multi_label;
  split_.labels = {"x", "y", "z"};
  split_.soft = {1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 1, 0};
  nn::ModelState state = nn::tiny_bert(nn::HeadKind::none);
  nn::set_head(state, nn::HeadKind::multi_label, {"z", "x", "y"});
  state.tensors["classifier.weight"] = torch::zeros({3, 32});
  state.tensors["classifier.bias"] = torch::tensor({2.0f, 1.0f, -1.0f});
  auto model = nn::build(state, 1);
  const Evaluation found = evaluate(*model, split_, {});
  ASSERT_EQ(found.metrics.size(), 4u);
  EXPECT_DOUBLE_EQ(found.find("f1_micro")->value, 2.0 * 3 / (4 + 8));
  // x: 2 * 2 / (2 + 4); y: 0 of 1; z: 2 * 1 / (1 + 4).
  EXPECT_DOUBLE_EQ(found.find("f1_macro")->value, (4.0 / 6 + 0 + 2.0 / 5) / 3);
  EXPECT_DOUBLE_EQ(found.find("subset_accuracy")->value, 1.0 / 4);
  // Ranks: z, x, y. Rows: both first 1, x second 1/2, none 1, y third 1/3.
  EXPECT_DOUBLE_EQ(found.find("lrap")->value, (1 + 0.5 + 1 + 1.0 / 3) / 4);
  const double not_z = std::log1p(std::exp(2.0)), not_x = std::log1p(std::exp(1.0)),
               not_y = std::log1p(std::exp(-1.0));
  EXPECT_NEAR(found.loss, (4 * (not_z + not_x + not_y) - 2 - 2 * 1 + 1) / 12, 1e-6);

  const KeptPredictions again = kept(found);
  EXPECT_THAT(again.rows, ElementsAre(2, 3, 4, 5));
  for (const char* name : {"f1_micro", "f1_macro", "subset_accuracy", "lrap"})
    EXPECT_DOUBLE_EQ(compute_metrics(std::vector<std::string>{name}, again.predictions)[0].value,
                     found.find(name)->value)
        << name;
  state.tensors["classifier.bias"] = torch::tensor({-1.0f, 1.0f, -1.0f});
  const KeptPredictions other = kept(evaluate(*nn::build(state, 1), split_, {}));
  EXPECT_THAT(row_differences(again, other, "subset_accuracy"), ElementsAre(1, -1, 0, 0));
}

TEST_F(Kept, ProbabilitiesAreNoLabelsToScore) {
  split_.task = data::Task::multi_label;
  split_.labels = {"x", "y"};
  split_.soft = {1, 0, 1, 0.5, 0, 0, 0, 0};
  nn::ModelState state = nn::tiny_bert(nn::HeadKind::none);
  nn::set_head(state, nn::HeadKind::multi_label, {"x", "y"});
  auto model = nn::build(state, 1);
  const Error error = failure([&] { evaluate(*model, split_, {}); });
  EXPECT_EQ(error.kind(), ErrorKind::data);
  EXPECT_EQ(error.where(), "made up:3");
}

// Two queries of two rows each, and a third metric for each of them.
TEST_F(Kept, RankedRowsArePairedByQuery) {
  split_.labels = {"no", "yes"};
  Evaluation found;
  found.rows = 4;
  found.logits = torch::tensor({{0.f, 1.f}, {0.f, 2.f}, {0.f, 3.f}, {0.f, -1.f}});
  found.predictions.classes = {1, 1, 1, 0};
  found.predictions.labels = {1, 0, 1, 0};
  found.predictions.num_classes = 2;
  found.predictions.ranked = {{70, 70, 5, 5}, {1, 2, 3, -1}, {1, 0, 1, 0}};
  const KeptPredictions worse = kept(found);
  std::swap(found.predictions.ranked.scores[0], found.predictions.ranked.scores[1]);
  const KeptPredictions better = kept(found);
  // In the order of the queries' numbers: 5, then 70, whose relevant row was second.
  EXPECT_THAT(row_differences(better, worse, "map"), ElementsAre(0, 0.5));
  EXPECT_THAT(row_differences(better, worse, "mrr"), ElementsAre(0, 0.5));
  EXPECT_THAT(row_differences(better, worse, "precision@1"), ElementsAre(0, 1));
  EXPECT_THAT(row_differences(better, worse, "accuracy"), ElementsAre(0, 0, 0, 0));
  KeptPredictions of_others = better;
  of_others.predictions.ranked.groups = {70, 70, 6, 6};
  EXPECT_THAT(failure([&] { row_differences(better, of_others, "map"); }).message(),
              HasSubstr("on other rows or queries"));
  EXPECT_THAT(failure([&] { row_differences(better, worse, "mse"); }).message(),
              HasSubstr("does not fit"));
}

TEST_F(Kept, QuestionsAndTexts) {
  Evaluation found;
  Answers& answers = found.predictions.answers;
  answers.ids = {"q1", "q2"};
  answers.texts = {"a cat", ""};
  answers.exact = {1, 0};
  answers.f1 = {1, 0.25};
  answers.has_answer = {1, 0};
  answers.null_odds = {-1.5, 2};
  const KeptPredictions questions = kept(found);
  EXPECT_THAT(questions.rows, ElementsAre(1, 2));
  EXPECT_THAT(questions.predictions.answers.texts, ElementsAre("a cat", ""));
  answers.f1[1] = 0;
  EXPECT_THAT(row_differences(questions, kept(found), "answer_f1"), ElementsAre(0, 0.25));
  EXPECT_THAT(row_differences(questions, kept(found), "no_answer_f1"), ElementsAre(0.25));

  Evaluation texts;
  texts.rows = 4;
  texts.predictions.texts = {{"a b", "c", "The end.", ""}, {{"a b"}, {"d", "c c"}, {"end"}, {"x"}}};
  const KeptPredictions written = kept(texts);
  EXPECT_EQ(written.predictions.texts.references, texts.predictions.texts.references);
  texts.predictions.texts.written[0] = "b";
  const KeptPredictions others = kept(texts);
  EXPECT_THAT(row_differences(written, others, "exact_text"), ElementsAre(1, 0, 0, 0));
  // Without its article the text is the other one.
  EXPECT_THAT(row_differences(written, others, "exact_match"), ElementsAre(0, 0, 0, 0));
  EXPECT_NEAR(row_differences(written, others, "rouge_l")[0], 1 - 2.0 / 3, 1e-12);
}

TEST_F(Kept, DamagedLinesAreNamed) {
  const char* first =
      "{\"row\": 1, \"prediction\": [\"x\"], \"label\": [], \"log_odds\": {\"x\": 1}}\n";
  for (const auto& [line, what] :
       {std::pair("{\"row\": 2, \"prediction\": \"x\", \"label\": \"x\"}", "another kind"),
        {"{\"row\": 2, \"prediction\": [\"y\"], \"label\": [], \"log_odds\": {\"x\": 1}}",
         "without log-odds"},
        {"{\"row\": 2, \"prediction\": [1], \"label\": [], \"log_odds\": {\"x\": 1}}",
         "no prediction"},
        {"{\"row\": 2, \"prediction\": [], \"label\": [], \"log_odds\": {}}", "other labels"},
        {"{\"row\": 2, \"written\": \"a\", \"references\": []}", "another kind"},
        {"[]", "no prediction"}}) {
    write_file(folder_ / "p.jsonl", std::string(first) + line + "\n");
    const Error error = failure([&] { read_predictions(folder_ / "p.jsonl"); });
    EXPECT_THAT(error.message(), HasSubstr(what)) << line;
    EXPECT_THAT(error.where(), HasSubstr("p.jsonl:2"));
  }
}

TEST(KeptMetrics, MeansOverRowsQuestionsAndQueries) {
  for (const char* name : {"accuracy", "mse", "subset_accuracy", "lrap", "map", "mrr", "mrr@10",
                           "ndcg@3", "exact_match", "answer_f1", "rouge_1", "exact_text"})
    EXPECT_TRUE(is_mean_over_rows(name)) << name;
  for (const char* name : {"f1", "f1_micro", "pearson", "bleu", "chrf", "distinct@2", "best_f1"})
    EXPECT_FALSE(is_mean_over_rows(name)) << name;
  EXPECT_THAT(means_over_rows(), HasSubstr("mrr@k"));
}

}  // namespace
}  // namespace compress::eval
