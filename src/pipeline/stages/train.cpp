#include "stages/train.h"

#include <algorithm>
#include <chrono>

#include "compress/base/clock.h"
#include "compress/base/log.h"
#include "compress/base/strings.h"
#include "compress/eval/evaluate.h"
#include "compress/export/export.h"
#include "compress/generate/texts.h"
#include "materials/score.h"
#include "materials/workbench.h"
#include "run/description.h"
#include "run/record.h"
#include "stages/kinds.h"

namespace compress::pipeline {

namespace {

constexpr const char* train_name = "train";

// Where a stage's options say of each teacher that is a model of its own how it is used.
std::vector<KeyPath> teacher_paths(const train::TrainOptions& options) {
  std::vector<KeyPath> paths = {{"teacher"}};
  for (const auto& named : options.teachers)
    if (teacher::model_of(named.value) != nullptr)
      paths.push_back({"teachers", named.name, named.value.name()});
  return paths;
}

// Scores the student on the validation part with the weights that it has.
std::function<train::Score()> scorer(Bench& bench, const train::TrainOptions& options,
                                     const Prepared& prepared,
                                     const std::vector<std::string>& metrics) {
  if (bench.recipe.dataset(options.data).validation.empty()) return {};
  const data::Split* validation = &bench.work.split(options.data, "validation", prepared.source);
  const std::string select =
      options.evaluate.select.empty() ? metrics.front() : options.evaluate.select.name;
  eval::EvaluateOptions how;
  how.metrics = metrics;
  how.head = options.evaluate.head;
  how.batch = options.evaluate.batch;
  how.precision = prepared.job.precision;
  how.tokenizer = prepared.job.tokenizer;
  how.processes = bench.processes;
  how.progress = bench.name() + "  validation";
  const nn::ModelConfig scored = nn::with_head(prepared.student->config(), how.head);
  if (eval::need_texts(metrics, scored))
    how.write = generate::writer(prepared.source, scored, *how.tokenizer, how.precision,
                                 bench.recipe.dataset(options.data).max_target_length);
  return [validation, select, how, student = prepared.student.get()] {
    eval::Evaluation found = eval::evaluate(*student, *validation, how);
    train::Score score;
    for (const Metric& metric : found.metrics) score.values.emplace_back(metric.name, metric.value);
    score.values.emplace_back("loss", found.loss);
    score.selected = found.find(select)->value;
    score.higher_is_better = higher_is_better(select);
    return score;
  };
}

void complete(train::Job& job, const Bench& bench) {
  job.state_file = bench.state_file;
  job.identity = bench.state_identity;
  job.inputs = bench.state_inputs;
  job.metrics = bench.metrics;
  job.events = bench.events;
  job.quiet = !bench.first();
}

}  // namespace

std::vector<std::string> metric_list(const train::EvaluationOptions& options,
                                     const nn::ModelConfig& scored,
                                     const data::DatasetOptions& data) {
  std::vector<std::string> names = reported_metrics(options.metrics, scored, data);
  const std::string& select = options.select;
  if (!select.empty() && std::find(names.begin(), names.end(), select) == names.end())
    names.push_back(select);
  return names;
}

std::vector<std::vector<std::string>> TrainStage::indifferent() const {
  std::vector<std::vector<std::string>> keys = {
      {"checkpoint"}, {"device"}, {"seed"}, {"evaluate", "batch"}};
  for (const KeyPath& teacher : teacher_paths(options()))
    for (const char* key : {"folder", "missing", "hidden"}) {
      keys.push_back(teacher);
      keys.back().insert(keys.back().end(), {"cache", key});
    }
  return keys;
}

// Device and precision as they are here; without the test part and the teacher's floor, which are
// looked at again in any case.
bool TrainStage::describe_updates(recipe::Node& node, const parallel::Processes* processes) const {
  const train::EvaluationOptions& scoring = options().evaluate;
  erase_key(node, {"data", "test"});
  for (KeyPath teacher : teacher_paths(options())) {
    teacher.insert(teacher.begin(), train_name);
    for (const char* key : {"floor", "metric"}) {
      teacher.emplace_back(key);
      erase_key(node, teacher);
      teacher.pop_back();
    }
  }
  erase_key(node, {train_name, "evaluate", "metrics"});
  if (scoring.select.empty() && !scoring.metrics.empty())
    set_key(node, {train_name, "evaluate", "select"}, scoring.metrics.front());
  const torch::Device device =
      train::resolve_device(options().device, processes, options().device.mark.text());
  set_key(node, {train_name, "device"}, device.is_cpu() ? "cpu" : "cuda");
  set_key(node, {train_name, "precision"},
          nn::precision_name(train::resolve_precision(options().precision, device)));
  return true;
}

StageResult TrainStage::run(Bench& bench) const {
  const auto begin = std::chrono::steady_clock::now();
  const train::TrainOptions& options = this->options();
  Prepared prepared = bench.work.prepare(stage_, TeacherCheck::score);
  const std::filesystem::path source = prepared.source;
  train::Job& job = prepared.job;
  log::info(str(bench.name(), ": ", with_commas(job.rows), " rows, ", options.length.text(),
                ", batch ", options.batch, ", ", nn::precision_name(job.precision), " on ",
                job.device.str()));
  const std::vector<std::string> metrics =
      metric_list(options.evaluate, nn::with_head(job.student->config(), options.evaluate.head),
                  bench.recipe.dataset(options.data));
  job.evaluate = scorer(bench, options, prepared, metrics);
  complete(job, bench);
  train::Result trained = train::run(job, *prepared.binding);
  StageResult result;
  if (!prepared.binding->helpers().list().empty()) {
    parallel::first_only(bench.processes, [&] {
      train::save_helpers(*prepared.binding, bench.folder / helpers_name);
    });
    result.made.emplace_back(helpers_name);
  }
  prepared.binding.reset();

  result.steps = trained.steps;
  result.samples_per_second = trained.samples_per_second;
  result.best_step = trained.best_step;
  result.notes = prepared.notes;
  for (const std::string& score : prepared.teacher_scores) result.notes.push_back(score);
  result.notes.insert(result.notes.end(), trained.notes.begin(), trained.notes.end());
  const exports::Quantised integers = exports::quantised_in(trained.scheme);
  result.quantized = integers.weights || integers.activations;
  result.embeddings = exports::embeddings_text(trained.scheme);
  result.count(*prepared.student);
  result.begun = prepared.begun;
  for (const std::string& edit : prepared.student->history()) result.notes.push_back(edit);
  exports::LoadedModel finished = exports::with_scheme(std::move(prepared.student), trained.scheme);
  score_model(bench, finished,
              {options.data, options.evaluate.head, metrics, job.precision, source, nullptr},
              result);
  const std::filesystem::path folder = bench.folder / model_name;
  parallel::first_only(bench.processes, [&] {
    exports::save_stage_model(*finished.model, trained.scheme, folder, source);
  });
  result.made.push_back(model_name);
  result.bytes = static_cast<int64_t>(weight_bytes(folder));
  result.seconds = trained.earlier_seconds + seconds_since(begin);
  log::info(str(bench.name(), ": done in ", human_seconds(result.seconds), ", ",
                fixed(result.samples_per_second, 0), " samples/s"));
  return result;
}

void add_train(StageRegistry& registry) {
  add_kind<TrainStage, train::TrainOptions>(
      registry, train_name, "trains a model, with or without a teacher", "", "",
      "Durations carry a unit: `500 steps`, `3 epochs`, `10%` (of the stage). It leaves `model/`.");
}

}  // namespace compress::pipeline
