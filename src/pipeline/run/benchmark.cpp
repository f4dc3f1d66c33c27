#include <map>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/data/layouts.h"
#include "compress/pipeline/compare.h"
#include "compress/pipeline/recipe.h"
#include "report/result.h"
#include "run/finished.h"
#include "stage.h"

namespace compress::pipeline {

namespace {

// A task's metrics by name, each with its values over seeds.
struct Scored {
  std::string stage;
  std::vector<std::string> names;
  std::map<std::string, std::vector<double>> values;
};

class Scores {
 public:
  void add(const Compared& asked) {
    for (const auto& [seed, run] : finished_runs(asked.folder)) {
      const RecipeOptions recipe = read_options(run.folder / "recipe.yaml");
      if (!asked.stage.empty()) run.stage(asked.stage);  // Error where there is none
      bool found = false;
      for (const StageResult& result : run.stages) {
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
        score.metrics.push_back(spread(scored.values.at(name)).mean);
        shown.push_back(name + " " + fixed(score.metrics.back(), 4));
      }
      table.row({layout, scored.stage, join(shown, ", "), fixed(spread(score.metrics).mean, 4)});
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
