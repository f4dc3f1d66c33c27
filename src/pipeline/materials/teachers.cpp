// Teachers of a training stage that are models of their own: read, scored and frozen.

#include "compress/base/error.h"
#include "compress/base/log.h"
#include "compress/base/place.h"
#include "compress/base/strings.h"
#include "compress/data/task.h"
#include "compress/data/views.h"
#include "compress/eval/evaluate.h"
#include "compress/export/export.h"
#include "compress/generate/texts.h"
#include "materials/heads.h"
#include "materials/workbench.h"

namespace compress::pipeline {

namespace {

exports::LoadedModel load_teacher(const std::filesystem::path& folder,
                                  const nn::ModelConfig& student, TeacherCheck check) {
  exports::LoadedModel loaded = exports::load(folder);
  if (check == TeacherCheck::score || loaded.model->config().head != nn::HeadKind::none)
    return loaded;
  nn::ModelState state = loaded.model->state();
  nn::set_head(state, student.head, student.labels);
  exports::LoadedModel fresh;
  fresh.model = nn::build(state, 0);
  return fresh;
}

}  // namespace

void require_one_tokenizer(const text::Tokenizer& student, const text::Tokenizer& teacher,
                           const std::string& name, const recipe::Mark& mark) {
  if (student.hash() != teacher.hash()) refuse_teacher(name, mark);
}

void refuse_teacher(const std::string& name, const recipe::Mark& mark) {
  throw Error(ErrorKind::recipe,
              str("the teacher '", name, "' has another tokenizer than the student"), mark.text(),
              "teacher and student must read the same tokens, or the teacher its own: set "
              "`tokenizer: own` on it");
}

void Workbench::load_teachers(const StageOptions& stage, TeacherCheck check, Prepared& prepared) {
  const train::TrainOptions& options = stage.kind.as<train::TrainOptions>();
  train::Job& job = prepared.job;
  const nn::ModelConfig& student = prepared.student->config();
  for (const auto& [name, how] : model_teachers(options)) {
    Taught taught{.name = name, .options = how, .tokenizer = prepared.source};
    const std::filesystem::path from = folder_(how->from);
    const data::Split* rows = job.data;
    if (how->own_tokens()) {
      taught.tokenizer = from;
      rows = &training_split(options.data, from);
      with_place(how->mark.text(), [&] { data::require_same_rows(*job.data, *rows); });
      if (student.head == nn::HeadKind::token_classification)
        with_place(how->mark.text(), [&] { data::require_same_labels(*job.data, *rows); });
    } else {
      require_one_tokenizer(*job.tokenizer, tokenizer(from), how->from, how->from.mark);
    }
    exports::LoadedModel loaded = load_teacher(from, student, check);
    taught.quantization = std::move(loaded.quantization);
    taught.model = std::move(loaded.model);
    eval::check_rows(*rows, taught.model->config(), &tokenizer(taught.tokenizer));
    taught.model->to(job.device);
    taught.config = std::make_shared<const nn::ModelConfig>(taught.model->config());
    job.given.push_back(
        {name, taught.config.get(), nullptr, how->reads(), how->own_tokens() ? rows : nullptr});
    prepared.teachers.push_back(std::move(taught));
  }
}

void Workbench::freeze_teachers(const StageOptions& stage, TeacherCheck check, Prepared& prepared) {
  const train::TrainOptions& options = stage.kind.as<train::TrainOptions>();
  const train::Job& job = prepared.job;
  for (size_t i = 0; i < prepared.teachers.size(); ++i) {
    Taught& taught = prepared.teachers[i];
    const train::TeacherOptions& how = *taught.options;
    if (check == TeacherCheck::score) score_teacher(taught, stage, prepared);
    const bool logits = prepared.binding->needs().teachers.at(taught.name).logits;
    taught.teacher = teacher::frozen(std::move(taught.model), prepared.student->config(), logits,
                                     job.precision, how.from.mark, job.tokenizer->vocabulary_size(),
                                     {.dropout = how.drops(), .own_tokens = how.own_tokens()});
    taught.teacher->called(taught.name, how.mark);
    if (how.remember && !how.drops()) remember(options, prepared, taught);
    prepared.job.given[i].teacher = taught.teacher.get();
  }
}

// The teacher is scored before anything is trained: a wrong one (not fine-tuned, labels in another
// order) shows here.
void Workbench::score_teacher(const Taught& taught, const StageOptions& stage, Prepared& prepared) {
  const train::TrainOptions& options = stage.kind.as<train::TrainOptions>();
  const train::TeacherOptions& asked = *taught.options;
  const nn::ModelConfig& config = taught.model->config();
  const data::DatasetOptions& data = recipe_.dataset(options.data);
  if (!scores_teacher(config, data, prepared.job.data->labels)) return;
  eval::EvaluateOptions how;
  how.precision = prepared.job.precision;
  how.batch = 64;
  how.stop = stop_;
  how.processes = processes_;
  how.tokenizer = &tokenizer(taught.tokenizer);
  how.progress = stage.name + "  teacher";
  std::string select = !asked.metric.empty() ? asked.metric : options.evaluate.select;
  how.metrics = select.empty()
                    ? eval::default_metrics(config, data::metrics_of(data), data::task_of(data))
                    : std::vector<std::string>{select};
  if (eval::need_texts(how.metrics, config))
    how.write = generate::writer(taught.tokenizer, config, *how.tokenizer, how.precision,
                                 data.max_target_length);
  eval::Evaluation found =
      eval::evaluate(*taught.model, split(options.data, "validation", taught.tokenizer), how);
  const Metric& metric = found.metrics.front();
  prepared.teacher_scores.push_back(str("teacher '", asked.from, "' on validation: ", title(metric),
                                        " ", fixed(metric.value, 4), "  n ", metric.n));
  log::info(str(stage.name, "  ", prepared.teacher_scores.back()));
  if (!asked.floor) return;
  bool good =
      higher_is_better(metric.name) ? metric.value >= *asked.floor : metric.value <= *asked.floor;
  if (!good)
    throw Error(
        ErrorKind::recipe,
        str("the teacher '", asked.from, "' scores ", title(metric), " ", fixed(metric.value, 4),
            " on validation, and the recipe's floor is ", shortest(*asked.floor)),
        asked.floor->mark.text(), "train the teacher on this task first, or check its labels");
}

}  // namespace compress::pipeline
