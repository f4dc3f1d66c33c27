#include "materials/score.h"

#include "compress/base/log.h"
#include "compress/base/strings.h"
#include "compress/eval/evaluate.h"
#include "compress/eval/kept.h"
#include "materials/workbench.h"

namespace compress::pipeline {

namespace {

std::string metrics_line(const std::vector<Metric>& metrics) {
  std::vector<std::string> parts;
  for (const Metric& metric : metrics)
    parts.push_back(str(title(metric), " ", fixed(metric.value, 4),
                        metric.signature.empty() ? "" : " [" + metric.signature + "]",
                        metric.note.empty() ? "" : " (" + metric.note + ")"));
  return join(parts, "  ") + (metrics.empty() ? "" : str("  n ", metrics.front().n));
}

// The files that SQuAD's evaluation script reads.
void add_answers(const std::filesystem::path& folder, const std::string& part,
                 const Predictions& predictions, StageResult& result) {
  const std::string answers = "answers-" + part + ".json", odds = "null-odds-" + part + ".json";
  eval::write_answers(folder / answers, folder / odds, predictions);
  result.made.push_back(answers);
  if (!predictions.answers.null_odds.empty()) result.made.push_back(odds);
}

}  // namespace

void score_model(Bench& bench, exports::LoadedModel& model, const ScoreOptions& options,
                 StageResult& result) {
  const data::DatasetOptions& data = bench.recipe.dataset(options.dataset);
  eval::EvaluateOptions how;
  how.metrics = options.metrics;
  how.head = options.head;
  how.precision = options.precision;
  how.batch = 64;
  how.tokenizer = &bench.work.tokenizer(options.tokenizer_folder);
  how.processes = bench.processes;
  how.stop = options.stop;
  how.null_threshold = options.null_threshold;
  const nn::ModelConfig scored = nn::with_head(model.model->config(), options.head);
  if (eval::need_texts(how.metrics, scored))
    how.write = generate::writer(options.tokenizer_folder, scored, *how.tokenizer, how.precision,
                                 data.max_target_length, options.writing);
  auto metrics_on = [&](const char* part) {
    how.progress = bench.name() + "  " + part;
    const data::Split& split = bench.work.split(options.dataset, part, options.tokenizer_folder);
    eval::Evaluation found = eval::evaluate(*model.model, split, how);
    const std::string file = predictions_name(part);
    if (bench.first() && eval::write_predictions(bench.folder / file, split, found))
      result.made.push_back(file);
    if (bench.first() && found.predictions.answers.questions() > 0)
      add_answers(bench.folder, part, found.predictions, result);
    return std::move(found.metrics);
  };
  if (!data.validation.empty()) result.validation = metrics_on("validation");
  if (!data.test.empty()) result.test = metrics_on("test");
  if (!result.validation.empty())
    log::info(bench.name() + "  validation: " + metrics_line(result.validation));
  if (!result.test.empty()) log::info(bench.name() + "  test: " + metrics_line(result.test));
}

std::vector<std::string> reported_metrics(const std::vector<recipe::MetricReference>& named,
                                          const nn::ModelConfig& scored,
                                          const data::DatasetOptions& data) {
  return named.empty() ? eval::default_metrics(scored, data::metrics_of(data), data::task_of(data))
                       : recipe::names_of(named);
}

Promise promised_scores(const data::DatasetOptions& data, const std::vector<std::string>& metrics) {
  Promise promise;
  if (!data.validation.empty()) promise.metrics["validation"] = metrics;
  if (!data.test.empty()) promise.metrics["test"] = metrics;
  return promise;
}

}  // namespace compress::pipeline
