// The three kinds of stages.

#include "stages.h"

#include <chrono>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/log.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"
#include "compress/eval/evaluate.h"
#include "compress/objective/objective.h"
#include "compress/surgery/surgery.h"
#include "compress/teacher/teacher.h"

namespace compress::pipeline {

namespace {

double since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

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

// The teacher's logits are all that objectives read, and a row is the same in every epoch.
bool can_remember(const train::TrainOptions& options, const nn::ModelConfig& student) {
  bool logits_only =
      student.head == nn::HeadKind::classification || student.head == nn::HeadKind::regression;
  for (const recipe::Component& component : options.objectives) {
    nn::Capture capture = objective::make(component)->captures();
    logits_only = logits_only && !capture.hidden && !capture.attention && !capture.pooled;
  }
  return options.teacher->remember && logits_only && options.augment.empty();
}

std::string metrics_line(const std::vector<Metric>& metrics) {
  std::vector<std::string> parts;
  for (const Metric& metric : metrics)
    parts.push_back(compress::str(metric.name, " ", fixed(metric.value, 4),
                                  metric.note.empty() ? "" : " (" + metric.note + ")"));
  return join(parts, "  ") + (metrics.empty() ? "" : compress::str("  n ", metrics.front().n));
}

}  // namespace

bool needs_logits(const train::TrainOptions& options) {
  for (const recipe::Component& component : options.objectives) {
    std::unique_ptr<objective::Objective> term = objective::make(component);
    if (term->needs_teacher() && term->needs_teacher_logits()) return true;
  }
  return false;
}

void prepare_state(nn::ModelState& state, const train::ModelOptions& options,
                   const data::DatasetOptions& data, const std::vector<std::string>& labels) {
  surgery::apply(options.surgery, state);
  nn::HeadKind wanted = state.config.head;
  if (!options.head.empty()) {
    wanted = nn::parse_head(options.head);
  } else if (data.task == "classification") {
    wanted = nn::HeadKind::classification;
  } else if (data.task == "regression") {
    wanted = nn::HeadKind::regression;
  }
  nn::set_head(state, wanted,
               wanted == nn::HeadKind::classification ? labels : std::vector<std::string>{},
               options.pooling);
}

void Runner::score(exports::LoadedModel& loaded, const std::string& dataset,
                   const std::vector<std::string>& metrics, nn::Precision precision,
                   const std::filesystem::path& tokenizer_folder, StageResult& result) {
  const data::DatasetOptions& data = recipe_.dataset(dataset);
  eval::EvaluateOptions how;
  how.metrics = metrics;
  how.precision = precision;
  how.batch = 64;
  how.tokenizer = &tokenizer(tokenizer_folder);
  if (!data.validation.empty())
    result.validation =
        eval::evaluate(*loaded.model, split(dataset, "validation", tokenizer_folder), how).metrics;
  if (!data.test.empty())
    result.test =
        eval::evaluate(*loaded.model, split(dataset, "test", tokenizer_folder), how).metrics;
  if (!result.validation.empty())
    log::info(result.name + "  validation: " + metrics_line(result.validation));
  if (!result.test.empty()) log::info(result.name + "  test: " + metrics_line(result.test));
}

// The teacher is scored before anything is trained: a wrong one (not fine-tuned, labels in another
// order) shows here.
void Runner::check_teacher(nn::Model& teacher, const train::TrainOptions& options,
                           nn::Precision precision, const std::filesystem::path& tokenizer_folder) {
  const nn::ModelConfig& config = teacher.config();
  bool scored =
      config.head == nn::HeadKind::classification || config.head == nn::HeadKind::regression;
  if (recipe_.dataset(options.data).validation.empty() || !scored) return;
  eval::EvaluateOptions how;
  how.precision = precision;
  how.batch = 64;
  std::string select =
      !options.teacher->metric.empty() ? options.teacher->metric : options.evaluate.select;
  how.metrics = select.empty() ? eval::default_metrics(config) : std::vector<std::string>{select};
  eval::Evaluation found =
      eval::evaluate(teacher, split(options.data, "validation", tokenizer_folder), how);
  const Metric& metric = found.metrics.front();
  log::info(compress::str("teacher ", options.teacher->from, "  validation: ", metric.name, " ",
                          fixed(metric.value, 4), "  n ", metric.n));
  if (!options.teacher->floor) return;
  bool good = higher_is_better(metric.name) ? metric.value >= *options.teacher->floor
                                            : metric.value <= *options.teacher->floor;
  if (!good)
    throw Error(ErrorKind::recipe,
                compress::str("the teacher '", options.teacher->from, "' scores ", metric.name, " ",
                              fixed(metric.value, 4), " on validation, and the recipe's floor is ",
                              shortest(*options.teacher->floor)),
                recipe_.file.string(), "train the teacher on this task first, or check its labels");
}

StageResult Runner::run_train(const StageOptions& stage, StageResult result) {
  auto begin = std::chrono::steady_clock::now();
  const train::TrainOptions& options = *stage.train;
  const data::DatasetOptions& data = recipe_.dataset(options.data);
  const std::filesystem::path source = model_folder(options.model.from);
  result.kind = "train";

  train::Job job;
  job.stage = stage.name;
  job.options = &options;
  job.seed = stage_seed(recipe_, stage);
  job.device = train::resolve_device(options.device);
  job.precision = train::resolve_precision(options.precision, job.device);
  job.tokenizer = &tokenizer(source);
  job.data = &split(options.data, "train", source);
  job.rows = job.data->rows();
  log::info(compress::str(stage.name, ": ", with_commas(job.rows), " rows, ", options.length.text(),
                          ", batch ", options.batch, ", ", nn::precision_name(job.precision),
                          " on ", job.device.str()));

  nn::ModelState state = checkpoint::load_model(source);
  prepare_state(state, options.model, data, job.data->labels);
  std::unique_ptr<nn::Model> student = nn::build(state, job.seed);
  state.tensors.clear();
  job.student = student.get();

  std::unique_ptr<teacher::Teacher> frozen;
  exports::LoadedModel teacher_model;
  if (options.teacher) {
    const std::filesystem::path from = model_folder(options.teacher->from);
    if (tokenizer(from).hash() != job.tokenizer->hash())
      throw Error(ErrorKind::recipe,
                  compress::str("the teacher '", options.teacher->from,
                                "' has another tokenizer than the student"),
                  recipe_.file.string(), "teacher and student must read the same tokens");
    teacher_model = exports::load(from);
    teacher_model.model->to(job.device);
    check_teacher(*teacher_model.model, options, job.precision, source);
    frozen = teacher::frozen(std::move(teacher_model.model), student->config(),
                             needs_logits(options), job.precision, {});
    if (can_remember(options, student->config())) {
      torch::Tensor& logits = remembered_[compress::str(
          model_identity(options.teacher->from), "/", options.data, "/",
          nn::precision_name(job.precision), "/", join(job.data->labels, ","))];
      if (!logits.defined()) {
        auto started = std::chrono::steady_clock::now();
        logits = teacher::all_logits(*frozen, *job.data);
        log::info(compress::str("teacher ", options.teacher->from, "  logits of ",
                                with_commas(job.rows), " training rows in ",
                                human_seconds(since(started))));
      }
      frozen = teacher::remembered(std::move(frozen), logits);
    }
    job.teacher = frozen.get();
  }

  const std::vector<std::string> metrics = metric_list(options.evaluate, student->config());
  const std::string select =
      options.evaluate.select.empty() ? metrics.front() : options.evaluate.select;
  if (!data.validation.empty()) {
    const data::Split* validation = &split(options.data, "validation", source);
    job.evaluate = [&, validation] {
      eval::EvaluateOptions how;
      how.metrics = metrics;
      how.batch = options.evaluate.batch;
      how.precision = job.precision;
      how.tokenizer = job.tokenizer;
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
  job.state_file = stage_folder(stage.name) / "state.safetensors";
  job.identity = result.identity;
  job.metrics = metrics_.get();
  job.events = folder_ / "events" / stage.name;
  job.stop = options_.stop;
  train::Result trained = train::run(job);

  result.steps = trained.steps;
  result.samples_per_second = trained.samples_per_second;
  result.best_step = trained.best_step;
  result.notes = trained.notes;
  result.quantized = !trained.scheme.is_null();
  result.census = nn::census(*student);
  for (const std::string& edit : student->history()) result.notes.push_back(edit);
  exports::LoadedModel finished = exports::with_scheme(std::move(student), trained.scheme);
  score(finished, options.data, metrics, job.precision, source, result);
  exports::save_stage_model(*finished.model, trained.scheme, stage_folder(stage.name) / "model",
                            source);
  result.bytes = static_cast<int64_t>(weight_bytes(stage_folder(stage.name) / "model"));
  result.seconds = trained.earlier_seconds + since(begin);
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
  result.seconds = since(begin);
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
  const std::string dataset = dataset_of(stage);
  if (!dataset.empty()) {
    const data::DatasetOptions& data = recipe_.dataset(dataset);
    const char* part = !data.test.empty()         ? "test"
                       : !data.validation.empty() ? "validation"
                                                  : "train";
    check = &split(dataset, part, folder);
  }
  for (const std::string& format : stage.exports->formats) {
    exports::Report report =
        exports::write(format, loaded, folder, stage_folder(stage.name) / format, check,
                       provenance(), stage.exports->tolerance);
    log::info(compress::str(
        stage.name, ": ", format, "  ", human_bytes(static_cast<double>(report.weight_bytes)),
        " of weights on disk, re-read: largest logit difference ", report.largest_difference,
        " on ", report.rows, " rows, ", report.ours.name, " ", fixed(report.ours.value, 4), " and ",
        fixed(report.reread.value, 4)));
    result.bytes = report.weight_bytes;
    result.exports.push_back(std::move(report));
  }
  result.seconds = since(begin);
  return result;
}

}  // namespace compress::pipeline
