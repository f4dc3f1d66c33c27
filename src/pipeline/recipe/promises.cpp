#include "recipe/promises.h"

#include <algorithm>
#include <cmath>

#include "compress/base/strings.h"
#include "report/result.h"

namespace compress::pipeline {

namespace {

using recipe::Problems;

// Names of the numbers, as expectations write them; of a list the first one's and the last one's.
std::string names_of(const nn::Json& numbers) {
  std::vector<std::string> names;
  for (const auto& [key, value] : numbers.items()) {
    if (!value.is_array())
      names.push_back(key);
    else if (!value.empty())
      names.push_back(
          str(key, ".0", value.size() > 1 ? str(" to ", key, ".", value.size() - 1) : ""));
  }
  return join(names, ", ");
}

void check_number(const ExpectOptions& expect, const recipe::StageReference& stage,
                  const Promise& promise, Problems& problems) {
  if (!promise.numbers || !std::isnan(number_at(*promise.numbers, *expect.number))) return;
  problems.add(expect.mark, str("stage '", stage, "' leaves no number '", *expect.number, "'"),
               "its numbers: " + names_of(*promise.numbers));
}

void check_metric(const ExpectOptions& expect, const recipe::StageReference& stage,
                  const Promise& promise, Problems& problems) {
  const auto part = promise.metrics.find(expect.split);
  if (part == promise.metrics.end()) {
    std::vector<std::string> parts;
    for (const auto& [name, metrics] : promise.metrics) parts.push_back(name);
    problems.add(
        stage.mark,
        parts.empty() ? str("stage '", stage, "' scores nothing")
                      : str("stage '", stage, "' is not scored on a part '", expect.split, "'"),
        parts.empty()
            ? "name a stage that scores a model on data with such a part"
            : "set `split: " + join(parts, "` or `split: ") + "`, or give the data set the part");
    return;
  }
  const std::vector<std::string>& metrics = part->second;
  if (std::find(metrics.begin(), metrics.end(), expect.metric.name) != metrics.end()) return;
  problems.add(expect.metric.mark, str("stage '", stage, "' does not score '", expect.metric, "'"),
               "it scores " + join(metrics, ", ") +
                   "; others are named by `metrics`, of the stage or the data set");
}

}  // namespace

void check_expectations(const RecipeOptions& recipe, const Promises& promises) {
  static const Promise nothing;
  Problems problems;
  for (const ExpectOptions& expect : recipe.expect)
    for (const recipe::StageReference* stage : {&expect.stage, &expect.of, &expect.above}) {
      if (stage->empty()) continue;
      const auto found = promises.find(*stage);
      const Promise& promise = found == promises.end() ? nothing : found->second;
      if (expect.number)
        check_number(expect, *stage, promise, problems);
      else
        check_metric(expect, *stage, promise, problems);
    }
  problems.raise();
}

}  // namespace compress::pipeline
