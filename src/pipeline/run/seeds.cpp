// The same recipe with several seeds: mean and spread.

#include <cmath>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/strings.h"
#include "report/result.h"
#include "run/run_folder.h"

namespace compress::pipeline {

namespace {

// The numbers of several runs become their means, place by place; what one lacks becomes null.
nn::Json mean_numbers(const std::vector<nn::Json>& all) {
  nn::Json mean = all.front();
  auto below = [&](const auto& key) {
    std::vector<nn::Json> parts;
    for (const nn::Json& one : all)
      parts.push_back(one.is_structured() && one.size() == mean.size() ? one.at(key) : nn::Json());
    return mean_numbers(parts);
  };
  if (mean.is_object())
    for (auto& [key, value] : mean.items()) value = below(key);
  if (mean.is_array())
    for (size_t i = 0; i < mean.size(); ++i) mean[i] = below(i);
  if (!mean.is_number()) return mean;
  std::vector<double> values;
  for (const nn::Json& one : all) {
    if (!one.is_number()) return {};
    values.push_back(one.get<double>());
  }
  return spread(values).mean;
}

Table seeds_table(const std::vector<RunResult>& runs) {
  std::vector<std::string> header = {"stage", "part", "metric", "mean", "deviation"};
  for (const RunResult& run : runs) header.push_back(str("seed ", run.seed));
  header.push_back("n");
  Table table(header);
  for (size_t s = 0; s < runs.front().stages.size(); ++s) {
    for (const auto& [label, part] :
         {std::pair{"validation", &StageResult::validation}, {"test", &StageResult::test}}) {
      const std::vector<Metric>& metrics = runs.front().stages[s].*part;
      for (size_t m = 0; m < metrics.size(); ++m) {
        std::vector<double> values;
        for (const RunResult& run : runs) values.push_back((run.stages[s].*part)[m].value);
        Spread found = spread(values);
        std::vector<std::string> row = {runs.front().stages[s].name, label, title(metrics[m]),
                                        fixed(found.mean, 4), fixed(found.deviation, 4)};
        for (double value : values) row.push_back(fixed(value, 4));
        row.push_back(str(metrics[m].n));
        table.row(row);
      }
    }
  }
  return table;
}

}  // namespace

Spread spread(const std::vector<double>& values) {
  Spread s;
  for (double v : values) s.mean += v / static_cast<double>(values.size());
  double sum = 0;
  for (double v : values) sum += (v - s.mean) * (v - s.mean);
  if (values.size() > 1) s.deviation = std::sqrt(sum / static_cast<double>(values.size() - 1));
  return s;
}

std::vector<StageResult> mean_stages(const std::vector<std::vector<StageResult>>& runs) {
  std::vector<StageResult> means = runs.front();
  for (size_t s = 0; s < means.size(); ++s) {
    auto average = [&](std::vector<Metric> StageResult::*part) {
      for (size_t m = 0; m < (means[s].*part).size(); ++m) {
        std::vector<double> values;
        for (const auto& stages : runs) values.push_back((stages[s].*part)[m].value);
        (means[s].*part)[m].value = spread(values).mean;
      }
    };
    average(&StageResult::validation);
    average(&StageResult::test);
    std::vector<nn::Json> numbers;
    for (const auto& stages : runs) numbers.push_back(stages[s].numbers);
    means[s].numbers = mean_numbers(numbers);
  }
  return means;
}

bool SeedsResult::held() const {
  for (const Expectation& expectation : expectations)
    if (!expectation.held) return false;
  return true;
}

SeedsResult run_seeds(const std::filesystem::path& file, const std::vector<std::string>& overrides,
                      const std::vector<int64_t>& seeds, const RunOptions& options) {
  if (seeds.empty()) throw Error(ErrorKind::recipe, "no seeds were given", "--seeds");
  SeedsResult result;
  std::filesystem::path root = options.folder;
  Recipe recipe;
  for (int64_t seed : seeds) {
    std::vector<std::string> with_seed = overrides;
    with_seed.push_back(str("seed=", seed));
    recipe = load_recipe(file, with_seed);
    if (root.empty()) root = std::filesystem::path("runs") / recipe.options.name;
    refuse_single_run(root);
    RunOptions one = options;
    one.folder = root / str("seed-", seed);
    result.runs.push_back(run(recipe, one));
  }
  if (!parallel::is_first(options.processes)) return result;
  std::vector<std::filesystem::path> folders;
  for (int64_t seed : seeds) folders.push_back(root / str("seed-", seed));
  std::vector<std::vector<StageResult>> stages;
  for (const RunResult& run : result.runs) stages.push_back(run.stages);
  result.expectations = judge(recipe.options.expect, mean_stages(stages),
                              static_cast<int64_t>(seeds.size()), scores_in(folders));
  Table table = seeds_table(result.runs);
  result.table = table.text();
  std::string text =
      str("# ", recipe.options.name, ": ", seeds.size(), " seeds\n\n", table.markdown());
  if (!result.expectations.empty()) text += "\n## Expectations, on the means\n\n";
  nn::Json json = {{"name", recipe.options.name},
                   {"held", result.held()},
                   {"runs", nn::Json::array()},
                   {"expectations", nn::Json::array()}};
  for (const Expectation& e : result.expectations) {
    text += str("- ", e.verdict(), e.text, "\n");
    json["expectations"].push_back(to_json(e));
  }
  for (const RunResult& run : result.runs) json["runs"].push_back(to_json(run, recipe));
  write_file(root / "result.md", text);
  write_file(root / "result.json", json.dump(2) + "\n");
  return result;
}

}  // namespace compress::pipeline
