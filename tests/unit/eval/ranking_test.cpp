// Metrics of rows that are ranked within their query.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "compress/base/error.h"
#include "compress/base/random.h"
#include "compress/eval/metric.h"

namespace compress {
namespace {

using ::testing::HasSubstr;

// Two queries. The first is ranked - + - +, the second + -.
RankedRows two_queries() {
  return {{7, 7, 7, 7, 3, 3}, {0.9, 0.8, 0.2, 0.1, 0.5, 0.4}, {0, 1, 0, 1, 1, 0}};
}

TEST(Ranking, ByHand) {
  const RankedRows rows = two_queries();
  // (1/2 + 2/4) / 2 and 1.
  EXPECT_DOUBLE_EQ(mean_average_precision(rows).value, (0.5 + 1) / 2);
  EXPECT_DOUBLE_EQ(mean_reciprocal_rank(rows).value, (0.5 + 1) / 2);
  EXPECT_DOUBLE_EQ(mean_reciprocal_rank(rows, 1).value, 0.5);
  EXPECT_DOUBLE_EQ(precision_at(rows, 1).value, 0.5);
  EXPECT_DOUBLE_EQ(precision_at(rows, 4).value, (2.0 / 4 + 1.0 / 4) / 2);
  EXPECT_DOUBLE_EQ(recall_at(rows, 1).value, 0.5);
  EXPECT_DOUBLE_EQ(recall_at(rows, 2).value, (0.5 + 1) / 2);
  // (1/log2(3) + 1/log2(5)) / (1 + 1/log2(3)) and 1.
  const double two = 1 / std::log2(3.0), four = 1 / std::log2(5.0);
  EXPECT_DOUBLE_EQ(normalised_discounted_gain(rows).value, ((two + four) / (1 + two) + 1) / 2);
  EXPECT_DOUBLE_EQ(normalised_discounted_gain(rows, 2).value, (two / (1 + two) + 1) / 2);
  EXPECT_EQ(mean_average_precision(rows).n, 2);
  EXPECT_EQ(mean_average_precision(rows).note, "");
}

TEST(Ranking, GradedRelevanceIsTheGain) {
  const RankedRows rows{{1, 1, 1}, {3, 2, 1}, {1, 3, 0}};
  const double two = 1 / std::log2(3.0);
  EXPECT_DOUBLE_EQ(normalised_discounted_gain(rows).value, (1 + 3 * two) / (3 + two));
  EXPECT_DOUBLE_EQ(mean_average_precision(rows).value, 1);  // relevant: above 0
}

TEST(Ranking, QueriesWithoutARelevantRowAreLeftOut) {
  RankedRows rows = two_queries();
  for (double score : {0.3, 0.2}) {
    rows.groups.push_back(11);
    rows.scores.push_back(score);
    rows.relevance.push_back(0);
  }
  rows.groups.push_back(12);  // relevant rows only
  rows.scores.push_back(1);
  rows.relevance.push_back(1);
  const Metric metric = mean_average_precision(rows);
  EXPECT_DOUBLE_EQ(metric.value, 2.5 / 3);
  EXPECT_EQ(metric.n, 3);
  EXPECT_EQ(metric.note,
            "1 of 4 queries have no relevant row and are left out; counted as 0, it would be "
            "0.6250; 1 have relevant rows only, which any order answers");
}

// The mean over all orders of rows with equal scores, one permutation after the other.
template <class Score>
double over_orders(const RankedRows& rows, const Score& score) {
  std::vector<size_t> order(rows.scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  double sum = 0;
  int64_t count = 0;
  do {
    if (!std::is_sorted(order.begin(), order.end(),
                        [&](size_t a, size_t b) { return rows.scores[a] > rows.scores[b]; }))
      continue;
    RankedRows apart = rows;
    for (size_t rank = 0; rank < order.size(); ++rank)
      apart.scores[order[rank]] = -static_cast<double>(rank);
    sum += score(apart).value;
    ++count;
  } while (std::next_permutation(order.begin(), order.end()));
  return sum / static_cast<double>(count);
}

TEST(Ranking, TiesAreTheMeanOverTheirOrders) {
  Random random(3);
  for (int time = 0; time < 20; ++time) {
    RankedRows rows;
    const uint64_t count = 1 + random.below(6);
    for (uint64_t i = 0; i < count; ++i) {
      rows.groups.push_back(5);
      rows.scores.push_back(static_cast<double>(random.below(3)));
      rows.relevance.push_back(static_cast<double>(random.below(3)));
    }
    rows.relevance[random.below(count)] = 1;
    const auto expect = [&](const auto& score) {
      EXPECT_NEAR(score(rows).value, over_orders(rows, score), 1e-12) << time;
    };
    expect(mean_average_precision);
    for (int64_t at : {0, 1, 2, 4}) {
      expect([&](const RankedRows& r) { return mean_reciprocal_rank(r, at); });
      expect([&](const RankedRows& r) { return normalised_discounted_gain(r, at); });
      if (at == 0) continue;
      expect([&](const RankedRows& r) { return precision_at(r, at); });
      expect([&](const RankedRows& r) { return recall_at(r, at); });
    }
  }
}

TEST(Ranking, TheOrderOfRowsDoesNotCount) {
  const RankedRows rows{{1, 2, 1, 2, 1}, {0.5, 0.5, 0.5, 0.1, 0.7}, {1, 0, 0, 1, 0}};
  const RankedRows other{{2, 1, 1, 2, 1}, {0.1, 0.7, 0.5, 0.5, 0.5}, {1, 0, 0, 0, 1}};
  EXPECT_EQ(mean_average_precision(rows).value, mean_average_precision(other).value);
  EXPECT_EQ(mean_reciprocal_rank(rows).value, mean_reciprocal_rank(other).value);
}

Error failure(const std::function<void()>& act) {
  try {
    act();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was thrown";
  return Error(ErrorKind::internal, "");
}

TEST(Ranking, DegenerateInputs) {
  const Metric none = mean_reciprocal_rank({{1, 1}, {0.5, 0.4}, {0, 0}});
  EXPECT_EQ(none.value, 0);
  EXPECT_EQ(none.n, 0);
  EXPECT_THAT(none.note, HasSubstr("no query has a relevant row"));
  EXPECT_EQ(failure([] { mean_average_precision({}); }).kind(), ErrorKind::data);
  EXPECT_EQ(failure([] {
              mean_average_precision({{1}, {std::nan("")}, {1}});
            }).kind(),
            ErrorKind::diverged);
  EXPECT_THAT(failure([] {
                normalised_discounted_gain({{1}, {1}, {-1}});
              }).message(),
              HasSubstr("the relevance of row 0 is -1"));
  EXPECT_EQ(normalised_discounted_gain({{1}, {0.5}, {1}}).value, 1);  // a query of one row
}

TEST(Ranking, NamesHaveANumber) {
  EXPECT_EQ(eval::metric_of("precision@3").at, 3);
  EXPECT_TRUE(eval::is_metric("recall@10"));
  EXPECT_TRUE(eval::is_metric("map"));
  for (const char* name : {"precision", "precision@", "precision@0", "precision@-1", "precision@k",
                           "precision@1x", "precision@01", "map@1", "accuracy@1", "@1"})
    EXPECT_FALSE(eval::is_metric(name)) << name;
  EXPECT_THAT(failure([] { eval::metric_of("precision"); }).hint(), HasSubstr("precision@1"));
  EXPECT_THAT(failure([] { eval::metric_of("mpa"); }).hint(), HasSubstr("map"));
  Predictions predictions;
  predictions.ranked = two_queries();
  const std::vector<std::string> names = {"map", "precision@1", "ndcg@2"};
  const std::vector<Metric> metrics = compute_metrics(names, predictions);
  EXPECT_EQ(metrics[1].name, "precision@1");
  EXPECT_EQ(metrics[1].value, 0.5);
  EXPECT_TRUE(higher_is_better("recall@7"));
}

TEST(Ranking, NeedsGroups) {
  EXPECT_NO_THROW(check_metric("map", MetricTask::classification, false, true));
  EXPECT_NO_THROW(check_metric("ndcg", MetricTask::regression, false, true));
  for (const MetricTask task : {MetricTask::classification, MetricTask::answers})
    EXPECT_THAT(
        failure([&] { check_metric("map", task, false, task == MetricTask::answers); }).message(),
        HasSubstr("needs rows of queries (`group` in the data set)"));
  Predictions classes;
  classes.classes = classes.labels = {0, 1};
  classes.num_classes = 2;
  const std::vector<std::string> names = {"mrr"};
  EXPECT_EQ(failure([&] { compute_metrics(names, classes); }).kind(), ErrorKind::recipe);
}

TEST(MetricComponents, AllAreDescribed) {
  EXPECT_GE(eval::metrics().list().size(), 20u);
  for (const auto& info : eval::metrics().list()) {
    EXPECT_FALSE(info->summary.empty()) << info->name;
    EXPECT_FALSE(info->equation.empty()) << info->name;
    recipe::Component component;
    component.info = info.get();
    EXPECT_TRUE(eval::metrics().maker(component).compute) << info->name;
  }
}

}  // namespace
}  // namespace compress
