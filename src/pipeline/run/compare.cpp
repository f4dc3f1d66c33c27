#include "compress/pipeline/compare.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/strings.h"
#include "compress/eval/kept.h"
#include "compress/eval/paired.h"
#include "report/result.h"
#include "run/description.h"
#include "run/finished.h"
#include "stage.h"

namespace compress::pipeline {

namespace fs = std::filesystem;

namespace {

// One row of the table: a metric of a part, of two stages.
struct Score {
  std::string stage, part, metric, of;
  std::vector<double> first, second;  // by seed
  int64_t n = 0;
  eval::Differences differences;  // empty: not to be told row by row
};

class Comparison {
 public:
  explicit Comparison(const CompareOptions& options) : options_(options) {
    const auto first = finished_runs(options.first.folder),
               second = finished_runs(options.second.folder);
    for (const auto& [seed, run] : first)
      if (const auto other = second.find(seed); other != second.end())
        pairs_.emplace_back(run, other->second);
    if (pairs_.empty() && first.size() == 1 && second.size() == 1)
      pairs_.emplace_back(first.begin()->second, second.begin()->second);
    if (pairs_.empty())
      throw Error(ErrorKind::recipe, "the two runs have no seed in common",
                  options.second.folder.string(), "run both with the same --seeds");
  }

  std::string text() {
    std::string text = recipes();
    for (const auto& [one, other] : stage_pairs())
      for (const char* part : {"validation", "test"}) add(one, other, part);
    if (scores_.empty()) return text + "No score is reported by both.\n";
    const Table table = scores();
    text += options_.markdown ? table.markdown() : table.text();
    return text + str("\n", pairs_.size(), pairs_.size() == 1 ? " seed" : " seeds",
                      "; differences are the second's from the first, better is above 0; intervals "
                      "of confidence ",
                      shortest(1 - options_.p), "\n");
  }

 private:
  std::string recipes() const {
    const fs::path &one = pairs_.front().first.folder, &other = pairs_.front().second.folder;
    std::error_code ignored;
    if (fs::equivalent(one, other, ignored)) return {};
    const std::vector<std::string> found =
        differences(read_file(one / "recipe.yaml"), read_file(other / "recipe.yaml"));
    if (found.empty()) return "The recipes are the same.\n\n";
    std::string text = "The recipes differ in:\n";
    for (const std::string& difference : found) text += "  " + difference + "\n";
    return text + "\n";
  }

  // Names of the stages that are compared.
  std::vector<std::pair<std::string, std::string>> stage_pairs() const {
    const std::string &one = options_.first.stage, &other = options_.second.stage;
    if (!one.empty() || !other.empty())
      return {{one.empty() ? other : one, other.empty() ? one : other}};
    std::vector<std::pair<std::string, std::string>> pairs;
    for (const StageResult& stage : pairs_.front().first.stages)
      if (pairs_.front().second.find(stage.name) != nullptr)
        pairs.emplace_back(stage.name, stage.name);
    if (pairs.empty())
      throw Error(ErrorKind::recipe, "the two runs have no stage of one name",
                  options_.second.folder.string(), "name them: FOLDER:STAGE");
    return pairs;
  }

  void add(const std::string& one, const std::string& other, const char* part) {
    std::vector<Score> list;
    for (const auto& [first, second] : pairs_) {
      const StageResult &a = first.stage(one), &b = second.stage(other);
      for (const Metric& metric : std::string(part) == "test" ? a.test : a.validation) {
        const Metric* found = find_metric(b, part, metric.name);
        if (found == nullptr) continue;
        Score* score = nullptr;
        for (Score& known : list)
          if (known.metric == metric.name) score = &known;
        if (score == nullptr) {
          list.push_back({one == other ? one : one + ", " + other,
                          part,
                          metric.name,
                          title(metric),
                          {},
                          {},
                          metric.n,
                          {}});
          score = &list.back();
        }
        score->first.push_back(metric.value);
        score->second.push_back(found->value);
        if (eval::is_mean_over_rows(metric.name))
          pair_rows(*score, predictions_file(first.folder, one, part),
                    predictions_file(second.folder, other, part));
      }
    }
    scores_.insert(scores_.end(), list.begin(), list.end());
  }

  static void pair_rows(Score& score, const fs::path& first, const fs::path& second) {
    std::error_code ignored;
    if (!fs::exists(first, ignored) || !fs::exists(second, ignored)) return;  // an older run
    try {
      std::vector<double> found = eval::row_differences(
          eval::read_predictions(second), eval::read_predictions(first), score.metric);
      if (found.size() > 1) score.differences.push_back(std::move(found));
    } catch (const Error& error) {  // an older run did not keep what the metric is a mean of
      if (error.kind() != ErrorKind::recipe) throw;
    }
  }

  Table scores() const {
    Table table({"stage", "part", "metric", "first", "second", "difference", "interval", "verdict",
                 "smallest visible", "McNemar p", "n"});
    for (const Score& score : scores_) {
      std::vector<std::string> row = {score.stage, score.part, score.of,
                                      fixed(spread(score.first).mean, 4),
                                      fixed(spread(score.second).mean, 4)};
      if (score.differences.size() != score.first.size()) {
        row.insert(row.end(), {fixed(spread(score.second).mean - spread(score.first).mean, 4), "",
                               "not tested", "", ""});
      } else {
        const eval::PairedTest test = eval::paired_test(score.differences, options_.p);
        const char* verdict = test.low > 0    ? "second is better"
                              : test.high < 0 ? "first is better"
                                              : "undecided";
        row.insert(row.end(), {fixed(test.difference, 4),
                               str("[", fixed(test.low, 4), ", ", fixed(test.high, 4), "]"),
                               verdict, fixed(test.visible, 4), mcnemar(score)});
      }
      row.push_back(with_commas(score.n));
      table.row(row);
    }
    return table;
  }

  // Of one pair of classifiers.
  static std::string mcnemar(const Score& score) {
    if (score.differences.size() != 1) return {};
    int64_t up = 0, down = 0;
    for (double difference : score.differences.front()) {
      if (difference != 0 && std::abs(difference) != 1) return {};
      up += difference > 0 ? 1 : 0;
      down += difference < 0 ? 1 : 0;
    }
    return fixed(eval::mcnemar(up, down), 4);
  }

  const CompareOptions& options_;
  std::vector<std::pair<Finished, Finished>> pairs_;
  std::vector<Score> scores_;
};

}  // namespace

Compared compared(const std::string& text) {
  std::error_code ignored;
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos || fs::exists(text, ignored)) return {text, {}};
  if (colon == 0 || colon + 1 == text.size())
    throw Error(ErrorKind::recipe, "'" + text + "' names no folder and stage", {},
                "write FOLDER, or FOLDER:STAGE");
  return {text.substr(0, colon), text.substr(colon + 1)};
}

std::string compare(const CompareOptions& options) {
  return Comparison(options).text();
}

}  // namespace compress::pipeline
