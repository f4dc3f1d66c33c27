// Whether a run reached the numbers that its recipe expects.

#include <algorithm>
#include <cmath>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/eval/kept.h"
#include "compress/eval/paired.h"
#include "report/result.h"
#include "stage.h"

namespace compress::pipeline {

const Metric* find_metric(const StageResult& result, const std::string& split,
                          const std::string& name) {
  for (const Metric& metric : split == "validation" ? result.validation : result.test)
    if (metric.name == name) return &metric;
  return nullptr;
}

double number_at(const nn::Json& numbers, const std::string& path) {
  const nn::Json* at = &numbers;
  for (const std::string& key : split(path, '.')) {
    const bool place =
        !key.empty() && key.size() < 10 &&
        std::all_of(key.begin(), key.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (at->is_object() && at->contains(key))
      at = &at->at(key);
    else if (at->is_array() && place && std::stoul(key) < at->size())
      at = &at->at(std::stoul(key));
    else
      return std::nan("");
  }
  return at->is_number() ? at->get<double>() : std::nan("");
}

namespace {

// A relation of two stages that a test decides.
Expectation tested(const ExpectOptions& options, const std::string& other, int64_t runs,
                   const ScoresOfRows& scores) {
  const double bound = options.within ? -*options.within : 0;
  Expectation found{options, std::nan(""), bound, false, true, {}};
  const std::string relation = options.within
                                   ? str(" within ", shortest(*options.within), " of ", other)
                                   : " above " + other;
  found.text = str(options.stage, " ", options.metric, " (", options.split, ")", relation, ": ");
  eval::Differences differences;
  try {
    for (int64_t run = 0; run < runs; ++run) {
      auto of = [&](const std::string& stage) {
        return scores(run, stage, options.split, options.metric);
      };
      differences.push_back(eval::row_differences(of(options.stage), of(other)));
    }
    const eval::PairedTest test = eval::paired_test(differences, *options.p);
    const eval::Verdict verdict = eval::above(test, bound);
    found.value = test.difference;
    found.held = verdict == eval::Verdict::held;
    found.undecided = verdict == eval::Verdict::undecided;
    found.text +=
        eval::text_of(test) + (test.seeds == 1 ? ", which says nothing of other seeds" : "");
  } catch (const Error& error) {
    found.text += error.message();
  }
  return found;
}

}  // namespace

ScoresOfRows scores_in(std::vector<std::filesystem::path> folders) {
  return [folders = std::move(folders)](int64_t run, const std::string& stage,
                                        const std::string& split, const std::string& metric) {
    return eval::row_scores(eval::read_predictions(predictions_file(
                                folders.at(static_cast<size_t>(run)), stage, split)),
                            metric);
  };
}

std::string Expectation::verdict() const {
  return undecided ? "undecided  " : held ? "held    " : "MISSED  ";
}

std::vector<Expectation> judge(const std::vector<ExpectOptions>& expect,
                               const std::vector<StageResult>& stages, int64_t runs,
                               const ScoresOfRows& scores) {
  auto value_of = [&](const std::string& stage, const ExpectOptions& options) {
    for (const StageResult& result : stages) {
      if (result.name != stage) continue;
      if (options.number) return number_at(result.numbers, *options.number);
      if (const Metric* metric = find_metric(result, options.split, options.metric))
        return metric->value;
    }
    return std::nan("");  // compares false: a missing number does not hold
  };
  std::vector<Expectation> list;
  for (const ExpectOptions& options : expect) {
    const double value = value_of(options.stage, options);
    const double other = options.of.empty() ? std::nan("") : value_of(options.of, options);
    const std::string what = options.number.value_or(str(options.metric, " (", options.split, ")"));
    std::string name = str(options.stage, " ", what, " ", fixed(value, 4));
    auto add = [&](double bound, bool held, const std::string& relation) {
      list.push_back({options, value, bound, held, false, name + relation});
    };
    if (options.at_least)
      add(*options.at_least, value >= *options.at_least, " >= " + fixed(*options.at_least, 4));
    if (options.at_most)
      add(*options.at_most, value <= *options.at_most, " <= " + fixed(*options.at_most, 4));
    if (options.drop_at_most)
      add(other - *options.drop_at_most, value >= other - *options.drop_at_most,
          str(" >= ", options.of, " ", fixed(other, 4), " - ", shortest(*options.drop_at_most),
              " (not tested)"));
    if (options.gain_at_least)
      add(other + *options.gain_at_least, value >= other + *options.gain_at_least,
          str(" >= ", options.of, " ", fixed(other, 4), " + ", shortest(*options.gain_at_least),
              " (not tested)"));
    if (!options.above.empty()) list.push_back(tested(options, options.above, runs, scores));
    if (options.within) list.push_back(tested(options, options.of, runs, scores));
  }
  return list;
}

}  // namespace compress::pipeline
