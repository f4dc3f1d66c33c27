#include "recipe/configs.h"

#include <algorithm>

#include "compress/base/error.h"
#include "compress/base/place.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"
#include "compress/data/classes.h"
#include "compress/eval/evaluate.h"
#include "stage.h"

namespace compress::pipeline {

const Known& Configs::model(const std::string& name) {
  auto it = models_.find(name);
  if (it == models_.end())
    it = models_.emplace(name, Known{checkpoint::load_config(name), name}).first;
  return it->second;
}

const std::vector<std::string>& Configs::classes(const std::string& name) {
  auto it = classes_.find(name);
  if (it != classes_.end()) return it->second;
  const data::DatasetOptions& dataset = recipe_.dataset(name);
  std::vector<std::string> names =
      with_place(dataset.mark.text(), [&] { return data::label_names(dataset); });
  if (!dataset.positive.empty())
    with_place(dataset.positive.mark.text(),
               [&] { return data::named_class(names, dataset.positive); });
  return classes_.emplace(name, std::move(names)).first->second;
}

bool Configs::has_scored_part(const std::string& dataset) const {
  const data::DatasetOptions& data = recipe_.dataset(dataset);
  return !data.validation.empty() || !data.test.empty();
}

void Configs::check_scored(const nn::ModelConfig& config, const recipe::Reference& dataset) const {
  const data::Task task = data::task_of(recipe_.dataset(dataset));
  if (!has_scored_part(dataset) || eval::can_score(config.head, task)) return;
  throw Error(ErrorKind::recipe,
              str("a model with the head '", nn::head_name(config.head),
                  "' cannot be scored on data set '", dataset, "'"),
              dataset.mark.text(),
              "the data set's `task` and the model's `head` must agree, or the data set have no "
              "validation and test part");
}

void Configs::check_classes(const nn::ModelConfig& config, const std::string& dataset,
                            const recipe::Mark& place) {
  const bool named = nn::has_classes(config.head);
  if (!named || !has_scored_part(dataset)) return;
  const std::vector<std::string>& names = classes(dataset);
  if (data::match_classes(names, config.labels)) return;
  throw Error(ErrorKind::data, eval::labels_differ(names, config.labels), place.text(),
              data::mismatch_hint(names, config.labels));
}

void Configs::check_metric(const recipe::Reference& metric, const nn::ModelConfig& config,
                           const std::string& dataset) const {
  if (metric.empty() || !has_scored_part(dataset)) return;
  const std::vector<std::string> names = {metric.name};
  with_place(metric.mark.text(), [&] {
    const data::DatasetOptions& data = recipe_.dataset(dataset);
    eval::check_metrics(names, config, !data.positive.empty(), !data.group.empty(),
                        !data.target.empty(), data::task_of(data), !data.candidate.empty());
  });
}

void Configs::check_metrics(const std::vector<recipe::MetricReference>& metrics,
                            const nn::ModelConfig& config, const std::string& dataset) const {
  const std::vector<recipe::MetricReference>& all =
      metrics.empty() ? recipe_.dataset(dataset).metrics : metrics;
  for (const recipe::MetricReference& metric : all) check_metric(metric, config, dataset);
}

namespace {

// Columns that a data set names must be among those that a stage leaves, whose file is not there
// yet.
void check_columns(const data::DatasetOptions& data, Configs& configs) {
  std::vector<std::string> wanted = {data.text,   data.pair,   data.label,
                                     data.target, data.weight, data.group};
  wanted.insert(wanted.end(), data.soft_labels.begin(), data.soft_labels.end());
  wanted.insert(wanted.end(), data.label_columns.begin(), data.label_columns.end());
  wanted = data::columns_of(wanted);
  for (const auto& [part, origin] : data::parts_of(data)) {
    if (origin->stage.empty()) continue;
    const StageOptions& source = *configs.recipe().stage(origin->stage);
    const std::vector<std::string> left = kind_of(source)->columns(configs);
    for (const std::string& column : wanted) {
      if (column.empty() || std::find(left.begin(), left.end(), column) != left.end()) continue;
      throw Error(ErrorKind::recipe,
                  "the rows of stage '" + source.name + "' have no column '" + column + "'",
                  data.mark.text(), did_you_mean(column, left, "its columns: " + join(left, ", ")));
    }
  }
}

}  // namespace

void check_models(const Recipe& recipe) {
  Configs configs(recipe);
  for (const StageOptions& stage : recipe.options.stages) {
    const std::unique_ptr<StageKind> kind = kind_of(stage);
    for (const recipe::Referred& input : kind->inputs(recipe.options))
      if (input.to == recipe::Refers::data) check_columns(recipe.dataset(input.reference), configs);
    with_place(stage.mark.text(), [&] { kind->check_models(configs); });
  }
}

}  // namespace compress::pipeline
