// Answers that are compared behind prompts, and tokens in gaps.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "compress/base/error.h"
#include "compress/data/compose.h"
#include "compress/eval/evaluate.h"
#include "support/failure.h"
#include "unit/nn/support.h"
#include "unit/nn/writers.h"

namespace compress::eval {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using torch::Tensor;

// Prompts of one to three tokens, each answered with the first class.
data::Split prompts(std::vector<std::vector<int32_t>> options) {
  data::Split out;
  out.name = "test";
  out.file = "made up";
  out.task = data::Task::prompted;
  out.answers = true;
  out.labels = {"a", "b", "c"};
  out.options = std::move(options);
  out.offsets = {0};
  for (int64_t row = 0; row < 6; ++row) {
    const int64_t prompt = 1 + row % 3;
    for (int64_t i = 0; i < prompt; ++i)
      out.ids.push_back(static_cast<int32_t>((row * 13 + i * 7 + 1) % 50));
    for (int32_t id : out.options[0]) out.ids.push_back(id);
    out.offsets.push_back(static_cast<int64_t>(out.ids.size()));
    out.first_lengths.push_back(static_cast<int32_t>(prompt));
    out.classes.push_back(static_cast<int32_t>(row % 3));
    out.lines.push_back(row + 1);
  }
  return out;
}

// The log-probabilities of `answer` behind `prompt`, token by token.
std::vector<double> behind(nn::Model& model, std::vector<int32_t> row, size_t answer) {
  data::Split one;
  one.task = data::Task::language_model;
  one.offsets = {0, static_cast<int64_t>(row.size())};
  one.first_lengths = {static_cast<int32_t>(row.size())};
  one.lines = {1};
  for (int32_t id : row) one.ids.push_back(id);
  data::Batch batch = data::pack(one, std::vector<int64_t>{0});
  batch.targets = {};
  const Tensor log_p = at::log_softmax(model.forward(batch, {}, {}).token_logits, 1);
  std::vector<double> found;
  for (size_t i = row.size() - answer; i < row.size(); ++i)
    found.push_back(log_p[static_cast<int64_t>(i) - 1][row[i]].item<double>());
  return found;
}

TEST(Options, TheLikeliestAnswerIsTheClass) {
  torch::NoGradGuard no_grad;
  const nn::ModelState state = nn::tiny_gpt2(2);
  auto model = nn::build(state, 1);
  model->params().refresh(nn::Precision::float32);
  for (const bool mean : {true, false}) {
    data::Split split = prompts({{4}, {7, 9}, {11, 3, 20}});
    split.option_mean = mean;
    EvaluateOptions options;
    options.batch = 4;
    const Evaluation found = evaluate(*model, split, options);
    std::vector<int64_t> wanted;
    for (int64_t row = 0; row < split.rows(); ++row) {
      std::vector<double> scores;
      for (const std::vector<int32_t>& answer : split.options) {
        std::vector<int32_t> ids(split.ids.begin() + split.offsets[row],
                                 split.ids.begin() + split.offsets[row] + split.first_lengths[row]);
        ids.insert(ids.end(), answer.begin(), answer.end());
        double sum = 0;
        for (double value : behind(*model, ids, answer.size())) sum += value;
        scores.push_back(mean ? sum / static_cast<double>(answer.size()) : sum);
      }
      for (size_t c = 0; c < 3; ++c)
        EXPECT_NEAR(found.logits[row][static_cast<int64_t>(c)].item<double>(), scores[c], 1e-4);
      wanted.push_back(std::max_element(scores.begin(), scores.end()) - scores.begin());
    }
    EXPECT_EQ(found.predictions.classes, wanted);
    EXPECT_THAT(found.predictions.labels, ElementsAre(0, 1, 2, 0, 1, 2));
    ASSERT_EQ(found.metrics.size(), 2u);
    EXPECT_EQ(found.metrics[0].name, "accuracy");
    EXPECT_EQ(found.metrics[1].name, "f1_macro");
    EXPECT_EQ(found.metrics[0].signature,
              str("options:", mean ? "mean" : "sum", "-log-probability|votes:1"));
  }
}

// In front of each row the token that the draw says.
class Drawn final : public data::Composer {
 public:
  std::vector<std::span<const int32_t>> compose(const data::Split& split, int64_t row,
                                                uint64_t draw) const override {
    size_t vote = 0;
    while (data::Composer::vote_draw(static_cast<int64_t>(vote)) != draw) ++vote;
    const int32_t* ids = split.ids.data() + split.offsets[row];
    return {{tokens.data() + vote, 1}, {ids, static_cast<size_t>(split.length(row))}};
  }
  const data::Split* source() const override { return nullptr; }
  int64_t most_tokens() const override { return 64; }
  bool fixed() const override { return false; }
  int64_t votes() const override { return 3; }
  std::string summary(const data::Split&) const override { return {}; }
  std::vector<int32_t> tokens = {2, 30, 45};
};

TEST(Options, TheMajorityOfSeveralDrawsCounts) {
  torch::NoGradGuard no_grad;
  auto model = nn::build(nn::tiny_gpt2(2), 1);
  model->params().refresh(nn::Precision::float32);
  data::Split split = prompts({{4}, {7}, {11}});
  auto composer = std::make_shared<Drawn>();
  split.composer = composer;
  const Evaluation found = evaluate(*model, split, {});
  std::vector<int64_t> wanted;
  for (int64_t row = 0; row < split.rows(); ++row) {
    std::vector<int64_t> votes(3, 0);
    std::vector<double> sums(3, 0);
    for (int32_t front : composer->tokens) {
      std::vector<double> scores;
      for (const std::vector<int32_t>& answer : split.options) {
        std::vector<int32_t> ids = {front};
        ids.insert(ids.end(), split.ids.begin() + split.offsets[row],
                   split.ids.begin() + split.offsets[row] + split.first_lengths[row]);
        ids.insert(ids.end(), answer.begin(), answer.end());
        scores.push_back(behind(*model, ids, 1)[0]);
      }
      ++votes[static_cast<size_t>(std::max_element(scores.begin(), scores.end()) - scores.begin())];
      for (size_t c = 0; c < 3; ++c) sums[c] += scores[c];
    }
    size_t best = 0;
    for (size_t c = 1; c < 3; ++c)
      if (votes[c] > votes[best] || (votes[c] == votes[best] && sums[c] > sums[best])) best = c;
    wanted.push_back(static_cast<int64_t>(best));
  }
  EXPECT_EQ(found.predictions.classes, wanted);
  EXPECT_THAT(found.metrics[0].signature, HasSubstr("votes:3"));
}

TEST(Gaps, PlacesOfTheRightTokenInTheVocabulary) {
  torch::NoGradGuard no_grad;
  const nn::ModelState state = nn::tiny_bert(nn::HeadKind::masked_lm);
  auto model = nn::build(state, 1);
  model->params().refresh(nn::Precision::float32);
  data::Split split;
  split.name = "test";
  split.file = "made up";
  split.task = data::Task::cloze;
  split.offsets = {0};
  const auto vocabulary = static_cast<int32_t>(state.config.vocab_size);
  for (int64_t row = 0; row < 5; ++row) {
    for (int64_t i = 0; i < 3 + row; ++i) {
      split.ids.push_back(static_cast<int32_t>((row * 5 + i * 3 + 1) % vocabulary));
      split.token_classes.push_back(i == row % 3 ? static_cast<int32_t>((row * 4 + 2) % vocabulary)
                                                 : -100);
    }
    split.offsets.push_back(static_cast<int64_t>(split.ids.size()));
    split.first_lengths.push_back(static_cast<int32_t>(3 + row));
    split.groups.push_back(row < 2 ? 1 : 2);
    split.lines.push_back(row + 1);
  }
  EvaluateOptions options;
  options.batch = 2;
  options.metrics = {"vocabulary_precision@3", "vocabulary_precision_mean@3"};
  const Evaluation found = evaluate(*model, split, options);
  std::vector<int64_t> above;
  double loss = 0;
  for (int64_t row = 0; row < 5; ++row) {
    data::Batch batch = data::pack(split, std::vector<int64_t>{row});
    batch.targets = {};
    const Tensor logits = model->forward(batch, {}, {}).token_logits[row % 3];
    const int64_t right = (row * 4 + 2) % vocabulary;
    above.push_back((logits > logits[right]).sum().item<int64_t>());
    loss -= at::log_softmax(logits, 0)[right].item<double>();
  }
  EXPECT_EQ(found.predictions.above, above);
  EXPECT_NEAR(found.loss, loss / 5, 1e-4);
  auto hit = [&](size_t row) { return above[row] < 3 ? 1.0 : 0.0; };
  EXPECT_DOUBLE_EQ(found.metrics[0].value, (hit(0) + hit(1) + hit(2) + hit(3) + hit(4)) / 5);
  EXPECT_DOUBLE_EQ(found.metrics[1].value,
                   ((hit(0) + hit(1)) / 2 + (hit(2) + hit(3) + hit(4)) / 3) / 2);
  options.metrics.clear();
  EXPECT_EQ(evaluate(*model, split, options).metrics[1].name, "vocabulary_precision@10");
}

TEST(Options, MetricsThatFitAreKnownBeforehand) {
  nn::ModelConfig writer = nn::tiny_gpt2().config;
  const auto check = [&](const char* name, data::Task task) {
    check_metrics(std::vector<std::string>{name}, writer, false, false, true, task);
  };
  EXPECT_NO_THROW(check("f1_macro", data::Task::prompted));
  EXPECT_THAT(failure([&] { check("bleu", data::Task::prompted); }).message(),
              HasSubstr("class predictions"));
  EXPECT_THAT(failure([&] { check("accuracy", data::Task::language_model); }).message(),
              HasSubstr("class predictions"));
  EXPECT_NO_THROW(check_metric("group_exact_match", MetricTask::classification, false, true));
  EXPECT_THAT(failure([] {
                check_metric("group_exact_match", MetricTask::regression, false, true);
              }).message(),
              HasSubstr("group_exact_match"));
  EXPECT_NO_THROW(check_metric("spearman_mean", MetricTask::regression, false, true));
  EXPECT_THAT(failure([] {
                check_metric("spearman_mean", MetricTask::regression, false, false);
              }).message(),
              HasSubstr("`group`"));
}

TEST(Groups, QuestionsAndSubSetsByHand) {
  Predictions p;
  p.classes = {1, 0, 1, 1};
  p.labels = {1, 0, 1, 0};
  p.num_classes = 2;
  p.ranked.groups = {5, 5, 6, 6};
  const Metric whole = compute_metrics(std::vector<std::string>{"group_exact_match"}, p)[0];
  EXPECT_DOUBLE_EQ(whole.value, 0.5);
  EXPECT_EQ(whole.n, 2);
  const std::vector<int64_t> groups = {1, 1, 1, 2, 2};
  const std::vector<double> values = {1, 2, 3, 1, 2}, targets = {1, 2, 3, 2, 1};
  EXPECT_DOUBLE_EQ(mean_correlation(groups, values, targets, true, false).value, 0);
  EXPECT_DOUBLE_EQ(mean_correlation(groups, values, targets, true, true).value, 0.2);
}

TEST(Groups, TheBestCandidateAnswersItsQuery) {
  // Query 7: the best of two equal ones is the first, and shares one of two and three words with
  // the right one. Query 8: right but for case and an article. Query 9: nothing is right.
  RankedRows rows{{7, 7, 7, 8, 8, 9},
                  {2, 2, -1, 0.5, 0.1, 1},
                  {0, 0, 1, 0, 1, 0},
                  {"Bo Lund", "Ada", "Bo Erik Dahl", "The Hague", "hague", "Oslo"}};
  const Metric f1 = group_answer(rows, false), match = group_answer(rows, true);
  EXPECT_DOUBLE_EQ(f1.value, (2.0 / 5 + 1 + 0) / 3);
  EXPECT_DOUBLE_EQ(match.value, 1.0 / 3);
  EXPECT_EQ(f1.n, 3);
  EXPECT_THAT(f1.note, HasSubstr("1 of 3 groups have no positive row"));
  Predictions p;
  p.classes = p.labels = {0, 0, 1, 0, 1, 0};
  p.num_classes = 2;
  p.ranked = rows;
  EXPECT_EQ(compute_metrics(std::vector<std::string>{"group_answer_f1"}, p)[0].value, f1.value);
  p.ranked.candidates.clear();
  EXPECT_THAT(
      failure([&] { compute_metrics(std::vector<std::string>{"group_answer_f1"}, p); }).message(),
      HasSubstr("`candidate`"));
  EXPECT_NO_THROW(check_metric("group_answer_f1", MetricTask::classification, false, true, true));
  EXPECT_THAT(failure([] {
                check_metric("group_answer_f1", MetricTask::classification, false, true);
              }).message(),
              HasSubstr("`candidate`"));
}

// Two tokens a text, the same ones give a cosine of 1.
TEST(Pairs, AreScoredByTheCosineOfTheirEmbeddings) {
  data::Split split;
  split.file = "made up";
  split.task = data::Task::similarity;
  split.choices = 2;
  split.ids = {1, 5, 1, 5, 1, 5, 1, 9, 1, 7, 1, 30};
  split.offsets = {0, 2, 4, 6, 8, 10, 12};
  split.first_lengths = {2, 2, 2, 2, 2, 2};
  split.values = {5, 5, 2, 2, 1, 1};
  split.lines = {1, 1, 2, 2, 3, 3};
  split.groups = {4, 4, 4, 4, 5, 5};
  auto bare = nn::build(nn::tiny_bert(nn::HeadKind::none), 1);
  EvaluateOptions options;
  options.batch = 2;
  const Evaluation found = evaluate(*bare, split, options);
  ASSERT_EQ(found.predictions.values.size(), 3u);
  EXPECT_NEAR(found.predictions.values[0], 1, 1e-6);
  EXPECT_THAT(found.predictions.targets, ElementsAre(5, 2, 1));
  // By hand: the mean of the last states, of each text by itself.
  torch::NoGradGuard no_grad;
  nn::Capture capture;
  capture.hidden = true;
  std::vector<torch::Tensor> means;
  for (int64_t row : {1, 2}) {
    const data::Batch batch = data::pack(split, std::vector<int64_t>{row});
    const torch::Tensor states = bare->forward(batch, capture, {}).hidden.back();
    const torch::Tensor a = states.slice(0, 0, 2).mean(0), b = states.slice(0, 2, 4).mean(0);
    EXPECT_NEAR(found.predictions.values[static_cast<size_t>(row)],
                (a.dot(b) / (a.norm() * b.norm())).item<double>(), 1e-5);
  }
  EXPECT_EQ(found.metrics[0].name, "spearman");
  EXPECT_EQ(found.metrics[0].signature, "score:cosine|pooling:mean");
  EXPECT_DOUBLE_EQ(found.metrics[0].value,
                   spearman(found.predictions.values, found.predictions.targets).value);
  EXPECT_THAT(found.predictions.ranked.groups, ElementsAre(4, 4, 5));
  // A model with the embedding head says the same.
  nn::ModelState state = bare->state();
  nn::set_head(state, nn::HeadKind::embedding, {});
  auto embeds = nn::build(state, 1);
  const Evaluation same = evaluate(*embeds, split, options);
  for (size_t row = 0; row < 3; ++row)
    EXPECT_NEAR(same.predictions.values[row], found.predictions.values[row], 1e-6);
  EXPECT_TRUE(can_score(nn::HeadKind::embedding, data::Task::similarity));
  EXPECT_FALSE(can_score(nn::HeadKind::regression, data::Task::similarity));
  EXPECT_FALSE(can_score(nn::HeadKind::none, data::Task::regression));
}

}  // namespace
}  // namespace compress::eval
