#include "compress/eval/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "compress/base/error.h"
#include "support/failure.h"

namespace compress {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Ids = std::vector<int64_t>;
using Reals = std::vector<double>;

const double not_a_number = std::numeric_limits<double>::quiet_NaN();
const double inf = std::numeric_limits<double>::infinity();

// Confusion table tp 3, fn 1, fp 2, tn 4.
const Ids ten_labels = {1, 1, 1, 1, 0, 0, 0, 0, 0, 0};
const Ids ten_classes = {1, 1, 1, 0, 1, 1, 0, 0, 0, 0};

TEST(Metrics, BinaryTableByHand) {
  EXPECT_DOUBLE_EQ(accuracy(ten_classes, ten_labels).value, 0.7);
  EXPECT_EQ(accuracy(ten_classes, ten_labels).n, 10);
  EXPECT_DOUBLE_EQ(f1_binary(ten_classes, ten_labels, 1).value, 6.0 / 9);
  EXPECT_DOUBLE_EQ(f1_binary(ten_classes, ten_labels, 0).value, 8.0 / 11);
  EXPECT_DOUBLE_EQ(f1_macro(ten_classes, ten_labels).value, (6.0 / 9 + 8.0 / 11) / 2);
  // (tp tn - fp fn) / sqrt((tp + fp)(tp + fn)(tn + fp)(tn + fn)) = 10 / sqrt(5 * 4 * 6 * 5)
  EXPECT_NEAR(matthews(ten_classes, ten_labels).value, 10 / std::sqrt(600.0), 1e-15);
}

TEST(Metrics, ThreeClassesByHand) {
  Ids labels = {0, 0, 1, 1, 2, 2}, classes = {0, 1, 1, 1, 2, 0};
  EXPECT_DOUBLE_EQ(f1_macro(classes, labels).value, (0.5 + 0.8 + 2.0 / 3) / 3);
  // 4 right of 6; counts labelled (2, 2, 2), predicted (2, 3, 1): (24 - 12) / sqrt((36 - 14)(36 -
  // 12))
  EXPECT_NEAR(matthews(classes, labels).value, 12 / std::sqrt(22.0 * 24.0), 1e-15);
}

TEST(Metrics, MacroF1CountsClassesOfEitherSideOnly) {
  // Class 0: 2/3; class 5 is predicted and never right: 0; classes 1..4 do not occur and do not
  // count.
  EXPECT_DOUBLE_EQ(f1_macro(Ids{0, 5}, Ids{0, 0}).value, (2.0 / 3) / 2);
  EXPECT_DOUBLE_EQ(f1_macro(Ids{3, 3}, Ids{3, 3}).value, 1);
}

TEST(Metrics, MatthewsWithAnEmptyRowOrColumnIsZero) {
  for (auto [classes, labels, note] :
       {std::tuple{Ids{1, 1, 1}, Ids{0, 1, 1}, "constant predictions:"},
        std::tuple{Ids{0, 1, 1}, Ids{1, 1, 1}, "constant references:"},
        std::tuple{Ids{0, 0}, Ids{1, 1}, "constant predictions and references:"}}) {
    Metric metric = matthews(classes, labels);
    EXPECT_EQ(metric.value, 0);
    EXPECT_THAT(metric.note, HasSubstr(note));
  }
  EXPECT_DOUBLE_EQ(matthews(Ids{0, 1}, Ids{1, 0}).value, -1);
  EXPECT_EQ(matthews(Ids{0, 1}, Ids{1, 0}).note, "");
}

TEST(Metrics, F1OfAnAbsentClassIsZeroWithANote) {
  Metric metric = f1_binary(Ids{0, 0}, Ids{0, 0}, 1);
  EXPECT_EQ(metric.value, 0);
  EXPECT_THAT(metric.note, HasSubstr("class 1 occurs neither"));
  EXPECT_EQ(f1_binary(Ids{0, 0}, Ids{0, 1}, 1).note, "");
}

TEST(Metrics, CorrelationsByHand) {
  Reals x = {1, 2, 3, 4}, y = {1, 3, 2, 4};
  EXPECT_DOUBLE_EQ(pearson(x, y).value, 0.8);  // 4 / 5
  EXPECT_DOUBLE_EQ(spearman(x, y).value, 0.8);
  EXPECT_DOUBLE_EQ(pearson(x, Reals{-2, -4, -6, -8}).value, -1);
  // A monotone curve: ranks agree, values do not. Differences from the mean 25: -24, -17, 2, 39.
  EXPECT_DOUBLE_EQ(spearman(x, Reals{1, 8, 27, 64}).value, 1);
  EXPECT_NEAR(pearson(x, Reals{1, 8, 27, 64}).value, 104 / std::sqrt(5 * 2390.0), 1e-15);
}

TEST(Metrics, SpearmanGivesTiesTheirAverageRank) {
  // Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: 4.5 / sqrt(4.5 * 5).
  EXPECT_NEAR(spearman(Reals{5, 7, 7, 9}, Reals{0, 1, 2, 3}).value, 4.5 / std::sqrt(22.5), 1e-15);
}

TEST(Metrics, CorrelationOfAConstantIsZeroWithANote) {
  Metric metric = pearson(Reals{3, 3, 3}, Reals{1, 2, 3});
  EXPECT_EQ(metric.value, 0);
  EXPECT_EQ(metric.note, "constant predictions: Pearson undefined, reported as 0");
  EXPECT_EQ(spearman(Reals{1, 2, 3}, Reals{0.1, 0.1, 0.1}).note,
            "constant references: Spearman undefined, reported as 0");
  EXPECT_EQ(pearson(Reals{1}, Reals{2}).value, 0);
}

TEST(Metrics, CorrelationOfHugeAndTinyValuesStaysFinite) {
  EXPECT_DOUBLE_EQ(pearson(Reals{-1e308, 0, 1e308}, Reals{1e-300, 2e-300, 3e-300}).value, 1);
}

TEST(Metrics, SquaredErrorAndPerplexity) {
  EXPECT_DOUBLE_EQ(mean_squared_error(Reals{1, 2, 5}, Reals{1, 4, 2}).value, 13.0 / 3);
  Metric metric = perplexity(8 * std::log(3.0), 8);
  EXPECT_NEAR(metric.value, 3, 1e-14);
  EXPECT_EQ(metric.n, 8);
  EXPECT_EQ(metric.note, "");
  EXPECT_TRUE(std::isinf(perplexity(1e6, 10).value));
  EXPECT_THAT(perplexity(1e6, 10).note, HasSubstr("overflows"));
}

TEST(Metrics, NothingToScoreIsAnError) {
  EXPECT_EQ(failure([] { accuracy({}, {}); }).kind(), ErrorKind::data);
  EXPECT_EQ(failure([] { f1_macro({}, {}); }).kind(), ErrorKind::data);
  EXPECT_EQ(failure([] { f1_binary({}, {}, 1); }).kind(), ErrorKind::data);
  EXPECT_EQ(failure([] { matthews({}, {}); }).kind(), ErrorKind::data);
  EXPECT_EQ(failure([] { pearson({}, {}); }).kind(), ErrorKind::data);
  EXPECT_EQ(failure([] { spearman({}, {}); }).kind(), ErrorKind::data);
  EXPECT_EQ(failure([] { mean_squared_error({}, {}); }).kind(), ErrorKind::data);
  EXPECT_EQ(failure([] { perplexity(0, 0); }).kind(), ErrorKind::data);
  EXPECT_EQ(failure([] { perplexity(1, -3); }).kind(), ErrorKind::data);
}

TEST(Metrics, NonFiniteNumbersAreErrors) {
  for (auto metric : {pearson, spearman, mean_squared_error}) {
    Error error = failure([&] { metric(Reals{1, not_a_number}, Reals{1, 2}); });
    EXPECT_EQ(error.kind(), ErrorKind::diverged);
    EXPECT_THAT(error.message(), HasSubstr("prediction 1 is nan"));
    EXPECT_EQ(failure([&] { metric(Reals{-inf, 1}, Reals{1, 2}); }).kind(), ErrorKind::diverged);
    EXPECT_EQ(failure([&] { metric(Reals{1, 2}, Reals{1, inf}); }).kind(), ErrorKind::data);
  }
  EXPECT_EQ(failure([] { perplexity(not_a_number, 4); }).kind(), ErrorKind::diverged);
}

TEST(Metrics, LengthsMustAgree) {
  EXPECT_EQ(failure([] { accuracy(Ids{1}, Ids{1, 0}); }).kind(), ErrorKind::internal);
  EXPECT_EQ(failure([] { pearson(Reals{1, 2, 3}, Reals{1, 0}); }).kind(), ErrorKind::internal);
}

TEST(MetricNames, StandInTheOrderOfTheRegister) {
  EXPECT_THAT(
      metric_names(),
      ElementsAre("accuracy", "f1", "f1_macro", "matthews", "pearson", "spearman", "mse",
                  "perplexity", "entity_f1", "entity_precision", "entity_recall", "exact_match",
                  "answer_f1", "has_answer_exact", "has_answer_f1", "no_answer_exact",
                  "no_answer_f1", "best_exact", "best_f1", "map", "mrr", "mrr@k", "precision@k",
                  "recall@k", "ndcg", "ndcg@k", "f1_micro", "subset_accuracy", "lrap", "exact_text",
                  "rouge_1", "rouge_1_stem", "rouge_2", "rouge_2_stem", "rouge_l", "rouge_l_stem",
                  "bleu", "chrf", "distinct@k", "meteor_exact", "group_exact_match",
                  "group_answer_f1", "group_answer_match", "spearman_mean", "spearman_wmean",
                  "pearson_mean", "pearson_wmean", "vocabulary_precision@k",
                  "vocabulary_precision_mean@k"));
}

TEST(MetricNames, DirectionAndUnknownNames) {
  EXPECT_TRUE(higher_is_better("accuracy"));
  EXPECT_TRUE(higher_is_better("spearman"));
  EXPECT_FALSE(higher_is_better("mse"));
  EXPECT_FALSE(higher_is_better("perplexity"));
  Error error = failure([] { higher_is_better("acuracy"); });
  EXPECT_EQ(error.kind(), ErrorKind::recipe);
  EXPECT_THAT(error.hint(), HasSubstr("'accuracy'"));
  EXPECT_THAT(failure([] { higher_is_better("zzzzzz"); }).hint(), HasSubstr("f1_macro, matthews"));
}

Predictions classifier() {
  Predictions p;
  p.classes = ten_classes;
  p.labels = ten_labels;
  p.num_classes = 2;
  return p;
}

std::vector<Metric> compute(const std::vector<std::string>& names, const Predictions& p) {
  return compute_metrics(names, p);
}

TEST(ComputeMetrics, KeepsTheOrderAskedFor) {
  std::vector<Metric> metrics = compute({"f1", "accuracy"}, classifier());
  ASSERT_EQ(metrics.size(), 2u);
  EXPECT_EQ(metrics[0].name, "f1");
  EXPECT_DOUBLE_EQ(metrics[0].value, 6.0 / 9);
  EXPECT_EQ(metrics[1].name, "accuracy");
  Predictions p = classifier();
  p.positive_class = 0;
  EXPECT_DOUBLE_EQ(compute({"f1"}, p)[0].value, 8.0 / 11);
}

TEST(ComputeMetrics, RegressionAndLanguageModels) {
  Predictions p;
  p.values = {1, 2, 3, 4};
  p.targets = {1, 3, 2, 4};
  std::vector<Metric> metrics = compute({"pearson", "spearman", "mse"}, p);
  EXPECT_DOUBLE_EQ(metrics[0].value, 0.8);
  EXPECT_DOUBLE_EQ(metrics[1].value, 0.8);
  EXPECT_DOUBLE_EQ(metrics[2].value, 0.5);
  Predictions lm;
  lm.nll_sum = 2 * std::log(7.0);
  lm.tokens = 2;
  EXPECT_NEAR(compute({"perplexity"}, lm)[0].value, 7, 1e-14);
}

TEST(ComputeMetrics, WrongRequestsNameTheMistake) {
  EXPECT_EQ(failure([] { compute({"perplexty"}, classifier()); }).kind(), ErrorKind::recipe);
  Error error = failure([] { compute({"pearson"}, classifier()); });
  EXPECT_EQ(error.kind(), ErrorKind::recipe);
  EXPECT_THAT(error.message(), HasSubstr("needs predicted scores, but this task gives class"));
  EXPECT_EQ(failure([] { compute({"accuracy"}, Predictions{}); }).kind(), ErrorKind::data);
  Predictions three = classifier();
  three.num_classes = 3;
  EXPECT_THAT(failure([&] { compute({"f1"}, three); }).hint(), HasSubstr("use f1_macro"));
  three.positive_is_given = true;
  EXPECT_DOUBLE_EQ(compute({"f1"}, three).front().value, 6.0 / 9);
}

TEST(ComputeMetrics, ClassIdsOutsideTheRangeAreDataErrors) {
  Predictions unlabelled = classifier();
  unlabelled.labels[4] = -1;
  Error error = failure([&] { compute({"accuracy"}, unlabelled); });
  EXPECT_EQ(error.kind(), ErrorKind::data);
  EXPECT_THAT(error.message(), HasSubstr("label 4 is class -1, outside 0 .. 1"));
  Predictions other_head = classifier();
  other_head.classes[0] = 2;
  EXPECT_THAT(failure([&] { compute({"matthews"}, other_head); }).message(),
              HasSubstr("prediction 0"));
}

}  // namespace
}  // namespace compress
