// Metrics of rows that are ranked within their query: answer selection, retrieval.
//
// Rows with equal scores have no order of their own. Each metric is its mean over all orders of
// them, in closed form (McSherry and Najork 2008): what it would be on average if ties were broken
// by chance. It so depends neither on the order of the file nor on names of rows.

#include <algorithm>
#include <cmath>
#include <numeric>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "metrics/checks.h"

namespace compress {

namespace {

// Rows of one query with the same score: ranks first + 1 .. first + count.
struct Tie {
  int64_t first = 0, count = 0, relevant = 0;
  double gain = 0;  // the sum of their relevance
};

struct Query {
  std::vector<Tie> ties;          // best score first
  std::vector<double> relevance;  // of its rows, largest first
  int64_t number = 0, rows = 0, relevant = 0;
};

// Calls take(query) for each query, in the order of their numbers.
template <class Take>
void each_query(const RankedRows& ranked, const Take& take) {
  std::vector<size_t> order(ranked.groups.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    if (ranked.groups[a] != ranked.groups[b]) return ranked.groups[a] < ranked.groups[b];
    return ranked.scores[a] > ranked.scores[b];
  });
  for (size_t begin = 0, end = 0; begin < order.size(); begin = end) {
    Query query;
    query.number = ranked.groups[order[begin]];
    for (; end < order.size() && ranked.groups[order[end]] == ranked.groups[order[begin]]; ++end) {
      const size_t row = order[end];
      if (end == begin || ranked.scores[row] != ranked.scores[order[end - 1]])
        query.ties.push_back({query.rows, 0, 0, 0});
      Tie& tie = query.ties.back();
      const double relevance = ranked.relevance[row];
      ++query.rows;
      ++tie.count;
      tie.relevant += relevance > 0;
      tie.gain += relevance;
      query.relevant += relevance > 0;
      query.relevance.push_back(relevance);
    }
    std::sort(query.relevance.begin(), query.relevance.end(), std::greater<>());
    take(query);
  }
}

// At a rank inside a tie, a relevant row has the share relevant / count; with it, each of the i
// rows of the tie before it is one of the other relevant ones with (relevant - 1) / (count - 1).
double average_precision(const Query& query) {
  double sum = 0;
  int64_t found = 0;
  for (const Tie& tie : query.ties) {
    const auto count = static_cast<double>(tie.count), relevant = static_cast<double>(tie.relevant);
    const double others = tie.count > 1 ? (relevant - 1) / (count - 1) : 0;
    for (int64_t i = 0; i < tie.count && tie.relevant > 0; ++i)
      sum += relevant / count * (static_cast<double>(found) + 1 + static_cast<double>(i) * others) /
             static_cast<double>(tie.first + i + 1);
    found += tie.relevant;
  }
  return sum / static_cast<double>(query.relevant);
}

// The first tie with a relevant row has the first one at its i-th rank when none of those before
// is relevant.
double reciprocal_rank(const Query& query, int64_t at) {
  for (const Tie& tie : query.ties) {
    if (tie.relevant == 0) continue;
    double sum = 0, none_before = 1;
    for (int64_t i = 0; i <= tie.count - tie.relevant; ++i) {
      const auto left = static_cast<double>(tie.count - i);
      const int64_t rank = tie.first + i + 1;
      if (at > 0 && rank > at) break;
      sum += none_before * static_cast<double>(tie.relevant) / left / static_cast<double>(rank);
      none_before *= (left - static_cast<double>(tie.relevant)) / left;
    }
    return sum;
  }
  return 0;
}

// Relevant rows that are expected among the first `at`.
double found_by(const Query& query, int64_t at) {
  double found = 0;
  for (const Tie& tie : query.ties) {
    const int64_t ranks = std::clamp<int64_t>(at - tie.first, 0, tie.count);
    found += static_cast<double>(ranks) * static_cast<double>(tie.relevant) /
             static_cast<double>(tie.count);
  }
  return found;
}

double discount(int64_t rank) {
  return 1 / std::log2(static_cast<double>(rank) + 1);
}

double normalised_gain(const Query& query, int64_t at) {
  const int64_t last = at > 0 ? std::min(at, query.rows) : query.rows;
  double gain = 0, ideal = 0;
  for (const Tie& tie : query.ties)
    for (int64_t rank = tie.first + 1; rank <= std::min(last, tie.first + tie.count); ++rank)
      gain += tie.gain / static_cast<double>(tie.count) * discount(rank);
  for (int64_t rank = 1; rank <= last; ++rank)
    ideal += query.relevance[static_cast<size_t>(rank - 1)] * discount(rank);
  return gain / ideal;
}

using Score = double (*)(const Query&, int64_t at);

// The mean over the queries that have a relevant row.
Metric mean_over_queries(const char* name, const RankedRows& ranked, Score score, int64_t at) {
  check_reals(name, ranked.scores, ranked.relevance);
  check_sizes(name, ranked.scores.size(), ranked.groups.size());
  for (size_t i = 0; i < ranked.relevance.size(); ++i)
    if (ranked.relevance[i] < 0)
      throw Error(ErrorKind::data,
                  str(name, ": the relevance of row ", i, " is ", shortest(ranked.relevance[i])),
                  {}, "relevance is a number from 0, which means not relevant");
  long double sum = 0;
  int64_t scored = 0, all = 0, sure = 0;
  each_query(ranked, [&](const Query& query) {
    ++all;
    if (query.relevant == 0) return;
    ++scored;
    sure += query.relevant == query.rows;
    sum += score(query, at);
  });
  Metric metric{name, 0, scored, {}};
  if (scored == 0) {
    metric.note = "no query has a relevant row: undefined, reported as 0";
    return metric;
  }
  metric.value = static_cast<double>(sum / scored);
  if (scored < all)
    metric.note = str(with_commas(all - scored), " of ", with_commas(all),
                      " queries have no relevant row and are left out; counted as 0, it would be ",
                      fixed(static_cast<double>(sum / all), 4));
  if (sure > 0)
    metric.note += str(metric.note.empty() ? "" : "; ", with_commas(sure),
                       " have relevant rows only, which any order answers");
  return metric;
}

// What each of those queries scores, under its number.
eval::Parts of_queries(const RankedRows& ranked, Score score, int64_t at) {
  eval::Parts parts;
  each_query(ranked, [&](const Query& query) {
    if (query.relevant == 0) return;
    parts.ids.push_back(query.number);
    parts.values.push_back(score(query, at));
  });
  return parts;
}

double average_precision_of(const Query& query, int64_t) {
  return average_precision(query);
}
double precision_of(const Query& query, int64_t at) {
  return found_by(query, at) / static_cast<double>(at);
}
double recall_of(const Query& query, int64_t at) {
  return found_by(query, at) / static_cast<double>(query.relevant);
}

}  // namespace

Metric mean_average_precision(const RankedRows& ranked) {
  return mean_over_queries("map", ranked, average_precision_of, 0);
}

Metric mean_reciprocal_rank(const RankedRows& ranked, int64_t at) {
  return mean_over_queries("mrr", ranked, reciprocal_rank, at);
}

Metric precision_at(const RankedRows& ranked, int64_t at) {
  return mean_over_queries("precision", ranked, precision_of, at);
}

Metric recall_at(const RankedRows& ranked, int64_t at) {
  return mean_over_queries("recall", ranked, recall_of, at);
}

Metric normalised_discounted_gain(const RankedRows& ranked, int64_t at) {
  return mean_over_queries("ndcg", ranked, normalised_gain, at);
}

namespace eval {

namespace {

constexpr const char* convention =
    "The rows of one `group` are ranked by the positive class's probability (a regressor's by its "
    "score, with the true score as their relevance; relevant: above 0). Queries without a relevant "
    "row are left out and counted in a note, with the value that they would give if they counted "
    "0. Rows with equal scores: the mean over all their orders (McSherry and Najork 2008), so that "
    "the order of the file does not count. ";

}  // namespace

void add_ranking_metrics(MetricRegistry& registry) {
  auto add = [&](Score score, const char* name, const char* summary, const char* equation,
                 const char* paper, const std::string& notes) {
    add_metric(
        registry,
        {Need::groups, true,
         [score, of = std::string(name)](const Predictions& p, int64_t at) {
           return mean_over_queries(of.c_str(), p.ranked, score, at);
         },
         [score](const Predictions& p, int64_t at) { return of_queries(p.ranked, score, at); }},
        name, summary, equation, paper, convention + notes);
  };
  add(average_precision_of, "map", "mean average precision of queries",
      "AP = 1 / R sum over ranks r of relevant rows of (relevant rows up to r) / r", "",
      "All rows of a query are ranked, so that R is the number of its relevant rows, as for "
      "trec_eval's map.");
  add(reciprocal_rank, "mrr", "mean reciprocal rank of the first relevant row",
      "RR = 1 / (rank of the first relevant row)", "", "As trec_eval's recip_rank.");
  add(reciprocal_rank, "mrr@k", "the same, 0 where no relevant row is among the first k",
      "RR = 1 / (rank of the first relevant row) where that is at most k", "", "");
  add(precision_of, "precision@k", "share of the first k rows that is relevant",
      "P@k = (relevant rows among the first k) / k", "",
      "A query with fewer than k rows is divided by k all the same, as by trec_eval. precision@1 "
      "is "
      "how often the best row answers the query.");
  add(recall_of, "recall@k", "share of the relevant rows that is among the first k",
      "R@k = (relevant rows among the first k) / (relevant rows)", "", "");
  const char* gain =
      "Jarvelin and Kekalainen 2002, Cumulated gain-based evaluation of IR "
      "techniques, with the discount log2(rank + 1)";
  const std::string gains =
      "The gain is the relevance itself (1 for a positive class), as in trec_eval and "
      "scikit-learn's ndcg_score, not 2^relevance - 1.";
  add(normalised_gain, "ndcg", "normalised discounted cumulative gain of whole rankings",
      "nDCG = DCG / (DCG of the best order), DCG = sum_r relevance_r / log2(r + 1)", gain, gains);
  add(normalised_gain, "ndcg@k", "the same of the first k rows",
      "nDCG@k = DCG@k / (DCG@k of the best order)", gain, gains);
}

}  // namespace eval
}  // namespace compress
