// Metrics that take rows by their group: questions that are right as a whole, correlations of
// sub-sets, and the places of right tokens in a vocabulary.

#include <algorithm>
#include <map>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "metrics/checks.h"

namespace compress {

namespace {

// Rows of each group, in the order of the groups' numbers.
std::map<int64_t, std::vector<size_t>> rows_of(std::span<const int64_t> groups) {
  std::map<int64_t, std::vector<size_t>> rows;
  for (size_t row = 0; row < groups.size(); ++row) rows[groups[row]].push_back(row);
  return rows;
}

eval::Parts right_groups(std::span<const int64_t> groups, std::span<const int64_t> classes,
                         std::span<const int64_t> labels) {
  eval::Parts parts;
  for (const auto& [group, rows] : rows_of(groups)) {
    parts.ids.push_back(group);
    parts.values.push_back(std::all_of(rows.begin(), rows.end(),
                                       [&](size_t row) { return classes[row] == labels[row]; })
                               ? 1
                               : 0);
  }
  return parts;
}

double mean_of(const std::vector<double>& values) {
  long double sum = 0;
  for (double value : values) sum += value;
  return static_cast<double>(sum / static_cast<long double>(values.size()));
}

// Whether the right token of each gap is among the `at` likeliest.
eval::Parts found_tokens(const Predictions& p, int64_t at) {
  eval::Parts parts;
  for (int64_t above : p.above) parts.values.push_back(above < at ? 1 : 0);
  return parts;
}

// The same, a mean over each group's rows.
eval::Parts found_of_groups(const Predictions& p, int64_t at) {
  eval::Parts parts;
  for (const auto& [group, rows] : rows_of(p.ranked.groups)) {
    double found = 0;
    for (size_t row : rows) found += p.above[row] < at ? 1 : 0;
    parts.ids.push_back(group);
    parts.values.push_back(found / static_cast<double>(rows.size()));
  }
  return parts;
}

// What the best candidate of each query scores. `unanswered`: queries without a relevant row.
eval::Parts best_candidates(const RankedRows& ranked, bool exact, int64_t& unanswered) {
  eval::Parts parts;
  for (const auto& [group, rows] : rows_of(ranked.groups)) {
    std::vector<std::string> accepted;
    size_t best = rows.front();
    for (size_t row : rows) {
      if (ranked.scores[row] > ranked.scores[best]) best = row;
      if (ranked.relevance[row] > 0) accepted.push_back(ranked.candidates[row]);
    }
    parts.ids.push_back(group);
    unanswered += accepted.empty();
    const AnswerScore score =
        accepted.empty() ? AnswerScore() : compare_answer(ranked.candidates[best], accepted);
    parts.values.push_back(!exact ? score.f1 : score.exact ? 1 : 0);
  }
  return parts;
}

}  // namespace

Metric group_answer(const RankedRows& ranked, bool exact) {
  check_sizes("group_answer", ranked.candidates.size(), ranked.groups.size());
  check_sizes("group_answer", ranked.scores.size(), ranked.groups.size());
  check_reals("group_answer", ranked.scores, ranked.relevance);
  int64_t unanswered = 0;
  const eval::Parts parts = best_candidates(ranked, exact, unanswered);
  Metric metric{exact ? "group_answer_match" : "group_answer_f1",
                mean_of(parts.values),
                static_cast<int64_t>(parts.values.size()),
                {}};
  if (unanswered > 0)
    metric.note = str(unanswered, " of ", metric.n, " groups have no positive row and count 0");
  return metric;
}

Metric group_exact_match(std::span<const int64_t> groups, std::span<const int64_t> classes,
                         std::span<const int64_t> labels) {
  check_sizes("group_exact_match", classes.size(), labels.size());
  check_sizes("group_exact_match", classes.size(), groups.size());
  const eval::Parts parts = right_groups(groups, classes, labels);
  return {
      "group_exact_match", mean_of(parts.values), static_cast<int64_t>(parts.values.size()), {}};
}

Metric mean_correlation(std::span<const int64_t> groups, std::span<const double> values,
                        std::span<const double> targets, bool ranks, bool weighted) {
  const char* name = ranks ? "spearman" : "pearson";
  check_reals(name, values, targets);
  check_sizes(name, values.size(), groups.size());
  long double sum = 0, weight = 0;
  int64_t count = 0, undefined = 0;
  for (const auto& [group, rows] : rows_of(groups)) {
    std::vector<double> own, given;
    for (size_t row : rows) {
      own.push_back(values[row]);
      given.push_back(targets[row]);
    }
    const Metric found = ranks ? spearman(own, given) : pearson(own, given);
    const long double counts = weighted ? static_cast<long double>(rows.size()) : 1;
    sum += counts * found.value;
    weight += counts;
    ++count;
    undefined += !found.note.empty();
  }
  Metric metric{name, static_cast<double>(sum / weight), static_cast<int64_t>(values.size()), {}};
  metric.signature = str("aggregate:", weighted ? "wmean" : "mean", "|sets:", count);
  if (undefined > 0)
    metric.note = str(undefined, " of ", count, " groups have a constant side and count 0");
  return metric;
}

namespace eval {

void add_group_metrics(MetricRegistry& registry) {
  add_metric(registry,
             {Need::row_groups, true,
              [](const Predictions& p, int64_t) {
                return group_exact_match(p.ranked.groups, p.classes, p.labels);
              },
              [](const Predictions& p, int64_t) {
                return right_groups(p.ranked.groups, p.classes, p.labels);
              }},
             "group_exact_match", "share of groups all of whose rows are classified right",
             "mean over groups of [every row's class was found]",
             "MultiRC's exact match by question: Wang et al. 2019, arXiv 1905.00537",
             "Groups are those of `group`; one without a positive row counts as any other.");
  for (const bool exact : {false, true})
    add_metric(registry,
               {Need::candidates, true,
                [=](const Predictions& p, int64_t) { return group_answer(p.ranked, exact); },
                [=](const Predictions& p, int64_t) {
                  int64_t unanswered = 0;
                  if (p.ranked.candidates.size() != p.ranked.groups.size()) return Parts();
                  return best_candidates(p.ranked, exact, unanswered);
                }},
               exact ? "group_answer_match" : "group_answer_f1",
               str(exact ? "whether the words of each group's best candidate are those"
                         : "overlap of the words of each group's best candidate with those",
                   " of one of its positive rows"),
               exact ? "mean over groups of max_a [words(best) = words(a)]"
                     : "mean over groups of max_a F1(words(best), words(a))",
               "ReCoRD: Zhang et al. 2018, arXiv 1810.12885",
               "Groups are those of `group`, candidates those of `candidate`; the best one has the "
               "highest probability of the positive class, of equal ones it is the first. Words "
               "are compared as by SQuAD's script. A group without a positive row counts 0, with a "
               "note.");
  for (const bool ranks : {true, false})
    for (const bool weighted : {false, true})
      add_metric(
          registry,
          {Need::values_of_groups, true,
           [=](const Predictions& p, int64_t) {
             return mean_correlation(p.ranked.groups, p.values, p.targets, ranks, weighted);
           }},
          str(ranks ? "spearman" : "pearson", weighted ? "_wmean" : "_mean"),
          str(weighted ? "weighted mean" : "mean", " over groups of their rows' ",
              ranks ? "Spearman" : "Pearson", " correlation"),
          weighted ? "sum_g n_g r_g / sum_g n_g" : "mean_g r_g",
          "sub-sets of STS: Agirre et al. 2012 to 2016; SentEval, arXiv 1803.05449",
          "Groups are those of `group`, the sub-sets of a year of STS. The same without an ending "
          "is "
          "of all rows together (\"all\"). A group with a constant side counts 0, with a note.");
  const char* lama = "LAMA: Petroni et al. 2019, arXiv 1909.01066";
  const std::string ties = "Equal probabilities do not count as above it.";
  add_metric(registry,
             {Need::above, true,
              [](const Predictions& p, int64_t at) {
                check_sizes("vocabulary_precision", p.above.size(), p.above.size());
                return Metric{"vocabulary_precision",
                              mean_of(found_tokens(p, at).values),
                              static_cast<int64_t>(p.above.size()),
                              {}};
              },
              found_tokens},
             "vocabulary_precision@k",
             "share of gaps whose right token is among the k likeliest of the vocabulary",
             "mean over rows of [tokens likelier than the right one < k]", lama,
             "P@k over all rows. " + ties);
  add_metric(registry,
             {Need::above, true,
              [](const Predictions& p, int64_t at) {
                check_sizes("vocabulary_precision_mean", p.above.size(), p.above.size());
                if (p.ranked.groups.size() != p.above.size())
                  throw Error(ErrorKind::recipe, "vocabulary_precision_mean needs rows of groups",
                              {}, "name the relation's column: `group` in the data set");
                const Parts parts = found_of_groups(p, at);
                Metric metric{"vocabulary_precision_mean",
                              mean_of(parts.values),
                              static_cast<int64_t>(p.above.size()),
                              {}};
                metric.signature = str("aggregate:mean|groups:", parts.values.size());
                return metric;
              },
              found_of_groups},
             "vocabulary_precision_mean@k",
             "the same, a mean over groups (relations) of their rows",
             "mean over groups of vocabulary_precision@k of their rows", lama, ties);
}

}  // namespace eval
}  // namespace compress
