// Whether a run reached the numbers that its recipe expects.

#include <algorithm>
#include <cmath>

#include "compress/base/strings.h"
#include "report/result.h"

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

std::vector<Expectation> judge(const std::vector<ExpectOptions>& expect,
                               const std::vector<StageResult>& stages) {
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
      list.push_back({options, value, bound, held, name + relation});
    };
    if (options.at_least)
      add(*options.at_least, value >= *options.at_least, " >= " + fixed(*options.at_least, 4));
    if (options.at_most)
      add(*options.at_most, value <= *options.at_most, " <= " + fixed(*options.at_most, 4));
    if (options.drop_at_most)
      add(other - *options.drop_at_most, value >= other - *options.drop_at_most,
          str(" >= ", options.of, " ", fixed(other, 4), " - ", shortest(*options.drop_at_most)));
    if (options.gain_at_least)
      add(other + *options.gain_at_least, value >= other + *options.gain_at_least,
          str(" >= ", options.of, " ", fixed(other, 4), " + ", shortest(*options.gain_at_least)));
  }
  return list;
}

}  // namespace compress::pipeline
