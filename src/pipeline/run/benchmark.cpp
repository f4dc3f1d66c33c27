#include <map>
#include <numeric>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"
#include "compress/data/layouts.h"
#include "compress/pipeline/compare.h"
#include "compress/pipeline/recipe.h"
#include "report/result.h"
#include "stage.h"

namespace compress::pipeline {

namespace fs = std::filesystem;

namespace {

double mean_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

// The results of a folder's runs, one a seed.
std::vector<fs::path> results_in(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored))
    if (starts_with(entry.path().filename().string(), "seed-") &&
        fs::is_regular_file(entry.path() / "result.json", ignored))
      files.push_back(entry.path() / "result.json");
  if (files.empty()) files.push_back(folder / "result.json");
  if (!fs::is_regular_file(files[0], ignored))
    throw Error(ErrorKind::recipe, "this is no folder of a finished run", folder.string(),
                "name a folder that `compress run` wrote to its end");
  return files;
}

RecipeOptions recipe_of(const fs::path& result) {
  RecipeOptions options;
  recipe::Problems problems;
  recipe::read_struct(RecipeOptions::options().info(),
                      recipe::parse_file(result.parent_path() / "recipe.yaml"), &options, problems);
  problems.raise();
  return options;
}

// A task's metrics by name, each with its values over seeds.
struct Scored {
  std::string stage;
  std::vector<std::string> names;
  std::map<std::string, std::vector<double>> values;
};

class Scores {
 public:
  void add(const Compared& asked) {
    for (const fs::path& file : results_in(asked.folder)) {
      const RecipeOptions recipe = recipe_of(file);
      bool found = false;
      const nn::Json whole = checkpoint::read_json(file);
      for (const nn::Json& json : whole.at("stages")) {
        const StageResult result = stage_from_json(json);
        const StageOptions* stage = recipe.stage(result.name);
        if (stage == nullptr || (!asked.stage.empty() && asked.stage != result.name)) continue;
        found = take(asked, recipe.dataset(dataset_of(recipe, *stage)), result) || found;
      }
      if (!found)
        throw Error(ErrorKind::recipe, "no stage was scored on a benchmark's data",
                    asked.folder.string(), "data sets with a `layout` are a benchmark's");
    }
  }

  std::string text(bool markdown) const {
    std::vector<data::TaskScore> scores;
    Table table({"task", "stage", "metrics", "score"});
    for (const auto& [layout, scored] : tasks_) {
      data::TaskScore score{layout, {}};
      std::vector<std::string> shown;
      for (const std::string& name : scored.names) {
        score.metrics.push_back(mean_of(scored.values.at(name)));
        shown.push_back(name + " " + fixed(score.metrics.back(), 4));
      }
      table.row({layout, scored.stage, join(shown, ", "), fixed(mean_of(score.metrics), 4)});
      scores.push_back(std::move(score));
    }
    const data::BenchmarkScore whole = data::benchmark_score(scores);
    std::string text = markdown ? table.markdown() : table.text();
    text += str("\nmean over tasks ", fixed(whole.all, 4));
    if (!whole.left_out.empty())
      text += str(", without ", join(whole.left_out, ", "), " ", fixed(whole.without, 4));
    text += "; a task's score is the mean of its metrics, its parts count once\n";
    if (!whole.missing.empty()) text += "not scored: " + join(whole.missing, ", ") + "\n";
    return text;
  }

 private:
  // A run's later stages take the place of earlier ones.
  bool take(const Compared& asked, const data::DatasetOptions* data, const StageResult& result) {
    const std::vector<Metric>& metrics =
        result.validation.empty() ? result.test : result.validation;
    if (data == nullptr || data->layout.empty() || metrics.empty()) return false;
    const std::string name = str(asked.folder.string(), ":", result.name);
    Scored& scored = tasks_[data->layout];
    if (scored.stage != name) scored = Scored{name, {}, {}};
    for (const std::string& wanted : data::metrics_of(*data))
      for (const Metric& metric : metrics) {
        if (metric.name != wanted) continue;
        if (scored.values.count(wanted) == 0) scored.names.push_back(wanted);
        scored.values[wanted].push_back(metric.value);
      }
    if (scored.names.size() == data->metrics.size()) return true;
    throw Error(ErrorKind::recipe,
                str("the stage does not report all of ", join(data::metrics_of(*data), ", ")), name,
                "leave `metrics` out of the stage, or name them as well");
  }

  std::map<std::string, Scored> tasks_;  // by layout
};

}  // namespace

std::string benchmark(const std::vector<Compared>& runs, bool markdown) {
  Scores scores;
  for (const Compared& run : runs) scores.add(run);
  return scores.text(markdown);
}

}  // namespace compress::pipeline
