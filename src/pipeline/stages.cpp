// The three kinds of stages.

#include "stages.h"

#include <chrono>

#include "compress/base/clock.h"
#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/log.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"
#include "compress/eval/evaluate.h"

namespace compress::pipeline {

namespace {

// Reported metrics, with the selecting one among them.
std::vector<std::string> metric_list(const train::EvaluationOptions& options,
                                     const nn::ModelConfig& config) {
  std::vector<std::string> names =
      options.metrics.empty() ? eval::default_metrics(config) : options.metrics;
  if (!options.select.empty() &&
      std::find(names.begin(), names.end(), options.select) == names.end())
    names.push_back(options.select);
  return names;
}

std::string metrics_line(const std::vector<Metric>& metrics) {
  std::vector<std::string> parts;
  for (const Metric& metric : metrics)
    parts.push_back(compress::str(title(metric), " ", fixed(metric.value, 4),
                                  metric.note.empty() ? "" : " (" + metric.note + ")"));
  return join(parts, "  ") + (metrics.empty() ? "" : compress::str("  n ", metrics.front().n));
}

}  // namespace

void Runner::score(exports::LoadedModel& loaded, const std::string& dataset,
                   const std::vector<std::string>& metrics, nn::Precision precision,
                   const std::filesystem::path& tokenizer_folder, StageResult& result) {
  const data::DatasetOptions& data = recipe_.dataset(dataset);
  eval::EvaluateOptions how;
  how.metrics = metrics;
  how.precision = precision;
  how.batch = 64;
  how.tokenizer = &bench_.tokenizer(tokenizer_folder);
  how.processes = options_.processes;
  // After training, a score is always waited for: a stop would lose what was trained.
  if (result.kind == "evaluate") how.stop = options_.stop;
  auto metrics_on = [&](const char* part) {
    how.progress = result.name + "  " + part;
    return eval::evaluate(*loaded.model, bench_.split(dataset, part, tokenizer_folder), how)
        .metrics;
  };
  if (!data.validation.empty()) result.validation = metrics_on("validation");
  if (!data.test.empty()) result.test = metrics_on("test");
  if (!result.validation.empty())
    log::info(result.name + "  validation: " + metrics_line(result.validation));
  if (!result.test.empty()) log::info(result.name + "  test: " + metrics_line(result.test));
}

StageResult Runner::run_train(const StageOptions& stage, StageResult result) {
  auto begin = std::chrono::steady_clock::now();
  const train::TrainOptions& options = *stage.train;
  const data::DatasetOptions& data = recipe_.dataset(options.data);
  result.kind = "train";
  Prepared prepared = bench_.prepare(stage, TeacherCheck::score);
  const std::filesystem::path source = prepared.source;
  train::Job& job = prepared.job;
  log::info(compress::str(stage.name, ": ", with_commas(job.rows), " rows, ", options.length.text(),
                          ", batch ", options.batch, ", ", nn::precision_name(job.precision),
                          " on ", job.device.str()));

  const std::vector<std::string> metrics = metric_list(options.evaluate, job.student->config());
  const std::string select =
      options.evaluate.select.empty() ? metrics.front() : options.evaluate.select;
  if (!data.validation.empty()) {
    const data::Split* validation = &bench_.split(options.data, "validation", source);
    job.evaluate = [&, validation] {
      eval::EvaluateOptions how;
      how.metrics = metrics;
      how.batch = options.evaluate.batch;
      how.precision = job.precision;
      how.tokenizer = job.tokenizer;
      how.processes = options_.processes;
      how.progress = stage.name + "  validation";
      eval::Evaluation found = eval::evaluate(*job.student, *validation, how);
      train::Score score;
      for (const Metric& metric : found.metrics)
        score.values.emplace_back(metric.name, metric.value);
      score.values.emplace_back("loss", found.loss);
      score.selected = found.find(select)->value;
      score.higher_is_better = higher_is_better(select);
      return score;
    };
  }
  job.state_file = state_file(stage.name);
  const Inputs updates = identities_.updates(stage, options_.processes);
  job.identity = state_identity(stage, updates);
  job.inputs = updates.text;
  job.metrics = metrics_.get();
  job.quiet = !first();
  if (first()) job.events = folder_ / "events" / stage.name;
  train::Result trained = train::run(job, *prepared.binding);
  prepared.binding.reset();

  result.steps = trained.steps;
  result.samples_per_second = trained.samples_per_second;
  result.best_step = trained.best_step;
  result.notes = prepared.notes;
  if (!prepared.teacher_score.empty()) result.notes.push_back(prepared.teacher_score);
  result.notes.insert(result.notes.end(), trained.notes.begin(), trained.notes.end());
  result.quantized = !trained.scheme.is_null();
  result.census = nn::census(*prepared.student);
  for (const std::string& edit : prepared.student->history()) result.notes.push_back(edit);
  exports::LoadedModel finished = exports::with_scheme(std::move(prepared.student), trained.scheme);
  score(finished, options.data, metrics, job.precision, source, result);
  parallel::first_only(options_.processes, [&] {
    exports::save_stage_model(*finished.model, trained.scheme, stage_folder(stage.name) / "model",
                              source);
  });
  result.bytes = static_cast<int64_t>(weight_bytes(stage_folder(stage.name) / "model"));
  result.seconds = trained.earlier_seconds + seconds_since(begin);
  log::info(compress::str(stage.name, ": done in ", human_seconds(result.seconds), ", ",
                          fixed(result.samples_per_second, 0), " samples/s"));
  return result;
}

StageResult Runner::run_evaluate(const StageOptions& stage, StageResult result) {
  auto begin = std::chrono::steady_clock::now();
  result.kind = "evaluate";
  const std::filesystem::path folder = model_folder(stage.evaluate->model);
  exports::LoadedModel loaded = exports::load(folder);
  result.census = nn::census(*loaded.model);
  result.quantized = !loaded.scheme.is_null();
  result.bytes = static_cast<int64_t>(weight_bytes(folder));
  score(loaded, stage.evaluate->data, stage.evaluate->metrics, nn::Precision::float32, folder,
        result);
  result.seconds = seconds_since(begin);
  return result;
}

StageResult Runner::run_export(const StageOptions& stage, StageResult result) {
  auto begin = std::chrono::steady_clock::now();
  result.kind = "export";
  const std::filesystem::path folder = model_folder(stage.exports->model);
  exports::LoadedModel loaded = exports::load(folder);
  result.census = nn::census(*loaded.model);
  result.quantized = !loaded.scheme.is_null();
  const data::Split* check = nullptr;
  const std::string dataset = identities_.dataset_of(stage);
  if (!dataset.empty()) {
    const data::DatasetOptions& data = recipe_.dataset(dataset);
    const char* part = !data.test.empty()         ? "test"
                       : !data.validation.empty() ? "validation"
                                                  : "train";
    check = &bench_.split(dataset, part, folder);
  }
  for (const std::string& format : stage.exports->formats) {
    bench_.check_stop("the export '" + stage.name + "' was complete");
    if (!first()) continue;  // the others wait at the next check
    exports::Report report =
        exports::write(format, loaded, folder, stage_folder(stage.name) / format, check,
                       provenance(), stage.exports->tolerance);
    log::info(compress::str(
        stage.name, ": ", format, "  ", human_bytes(static_cast<double>(report.weight_bytes)),
        " of weights on disk, re-read: largest logit difference ", report.largest_difference,
        " on ", report.rows, " rows, ", title(report.ours), " ", fixed(report.ours.value, 4),
        " and ", fixed(report.reread.value, 4)));
    result.bytes = report.weight_bytes;
    result.exports.push_back(std::move(report));
  }
  result.seconds = seconds_since(begin);
  return result;
}

}  // namespace compress::pipeline
