// What is wrong with a training stage before anything is read of its weights.

#include <unistd.h>

#include <filesystem>
#include <set>

#include "compress/augment/augment.h"
#include "compress/base/error.h"
#include "compress/base/place.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"
#include "compress/data/classes.h"
#include "compress/data/compose.h"
#include "compress/objective/objective.h"
#include "compress/surgery/surgery.h"
#include "materials/heads.h"
#include "materials/mixture.h"
#include "materials/workbench.h"
#include "recipe/configs.h"
#include "stages/train.h"

namespace compress::pipeline {

namespace {

// Every term finds its teacher, and every teacher is read. Terms are made here to be asked that
// alone, while the recipe is read: they are bound when shapes are known.
void check_use_of_teachers(const train::TrainOptions& options, recipe::Problems& problems) {
  const std::vector<std::string> names = train::teacher_names(options);
  std::set<std::string> used;
  bool good = true;
  for (const recipe::Component& component : options.objectives) {
    if (!component) continue;  // a problem already
    const std::unique_ptr<objective::Objective> term = objective::make(component);
    if (term->needs().teachers.empty()) continue;
    try {
      used.insert(term->choose_teacher(names));
    } catch (const Error& error) {
      good = false;
      problems.add(component.mark, error.message(), error.hint());
    }
  }
  for (const auto& named : train::teachers_of(options))
    if (good && !used.contains(named.name))
      problems.add(named.mark,
                   options.teacher ? "no objective uses the teacher"
                                   : "no objective uses the teacher '" + named.name + "'",
                   "add an objective that reads a teacher, or remove `teacher`");
}

exports::Quantised quantised_by(const train::TrainOptions& options) {
  if (!options.quantization) return {};
  const constraint::QuantizationOptions& asked = *options.quantization;
  return {asked.weights != "none", asked.activations != "none", asked.embeddings != "none",
          asked.activations == "uint8", asked.outputs != "none"};
}

// What changes the texts may need tokens that a tokenizer, or the embedding, lacks.
void check_augments(const train::TrainOptions& options, const Known& student) {
  if (options.augment.empty()) return;
  const std::unique_ptr<text::Tokenizer> tokenizer = checkpoint::load_tokenizer(student.folder);
  nn::ModelConfig config = student.config;
  if (student.resized) config.vocab_size = tokenizer->vocabulary_size();
  nn::ParamTable none;
  const roles::Scene scene{
      .student = config, .weights = none, .helpers = none, .tokenizer = tokenizer.get()};
  for (const recipe::Component& component : options.augment)
    with_place(component.mark.text(), [&] { augment::make(component)->bind(scene); });
}

// What is cut into rows, or left out, by tokens has other rows with other tokens.
void check_own_view(const data::DatasetOptions& data, const train::TeacherOptions& how) {
  const bool cut =
      data::counts_are_guesses(data) || data.split_long || data::task_of(data) == data::Task::span;
  const bool left_out = data.min_length > 0 || data.max_unknown;
  if (cut || left_out || data.compose)
    throw Error(ErrorKind::recipe,
                str("the rows of this data are ",
                    cut        ? "cut"
                    : left_out ? "left out"
                               : "made of others",
                    " by tokens, so the teacher '", how.from,
                    "' cannot read the same rows as tokens of its own"),
                how.mark.text(), "use a teacher with the student's tokenizer");
}

// What is asked of scores needs rows that are scored.
void check_scores(const train::EvaluationOptions& how, const data::DatasetOptions& data,
                  const recipe::Mark& mark, recipe::Problems& problems) {
  if (!data.validation.empty()) return;
  const char* hint = "name its `validation`, or leave it out";
  if (!how.select.empty())
    problems.add(how.select.mark, "no checkpoint is chosen without a validation part", hint);
  if (how.patience > 0) problems.add(mark, "`patience` counts scores of a validation part", hint);
  if (!how.metrics.empty() && data.test.empty())
    problems.add(how.metrics.front().mark, "the data set has no part that is scored", hint);
}

// What stands where a folder is to be made and cannot hold it; "" for nothing.
std::string in_the_way(std::filesystem::path folder) {
  std::error_code failed;
  while (!std::filesystem::exists(folder, failed) && folder.has_relative_path())
    folder = folder.parent_path();
  if (folder.empty()) folder = ".";
  if (!std::filesystem::is_directory(folder, failed))
    return str("'", folder.string(), "' is no folder");
  return ::access(folder.c_str(), W_OK) == 0 ? ""
                                             : str("'", folder.string(), "' cannot be written");
}

// What a teacher says of a row can be kept where the row is the same in every epoch.
void check_cached_rows(const train::TrainOptions& options, const RecipeOptions& recipe,
                       recipe::Problems& problems) {
  bool redrawn = false;
  for (const recipe::DataReference& source : options.data.sources())
    if (const data::DatasetOptions* data = recipe.dataset(source))
      redrawn = redrawn || data::redraws_rows(*data);
  for (const auto& [name, teacher] : model_teachers(options))
    if (redrawn && teacher->cache)
      problems.add(
          teacher->from.mark,
          "a cache needs rows that are the same in every epoch, and `compose` draws others",
          "set `fixed: true` in the data set's `compose`, or remove the cache");
  for (const auto& [name, teacher] : model_teachers(options))
    if (teacher->cache)
      if (const std::string found = in_the_way(teacher->cache->folder); !found.empty())
        problems.add(teacher->cache->mark, "the teacher's cache: " + found, "name another folder");
}

// Tokens of the tokenizer that both have.
int64_t common_tokens(const Known& teacher, const Known& student, const recipe::Reference& from) {
  const std::unique_ptr<text::Tokenizer> theirs = checkpoint::load_tokenizer(teacher.folder),
                                         ours = checkpoint::load_tokenizer(student.folder);
  require_one_tokenizer(*ours, *theirs, from, from.mark);
  return ours->vocabulary_size();
}

}  // namespace

void TrainStage::check(const RecipeOptions& recipe, recipe::Problems& problems) const {
  const train::TrainOptions& options = this->options();
  check_use_of_teachers(options, problems);
  if (options.helpers) {
    const StageOptions* before = recipe.stage(*options.helpers);
    if (before == nullptr || options_if<train::TrainOptions>(*before) == nullptr)
      problems.add(options.helpers->mark, "'" + options.helpers->name + "' is no training stage",
                   "name an earlier stage whose terms have a projection");
  }
  if (!train::is_device(options.device))
    problems.add(options.device.mark, "unknown device '" + options.device.value + "'",
                 train::device_names);
  const data::DatasetOptions* data = recipe.dataset(options.data);
  if (data == nullptr) return;
  check_scores(options.evaluate, *data, options.data.mark, problems);
  check_mixture(options.data, recipe, problems);
  check_cached_rows(options, recipe, problems);
  for (const auto& [name, teacher] : model_teachers(options))
    if (data->validation.empty() && teacher->floor)
      problems.add(teacher->floor->mark, "a floor needs a validation part to score the teacher on");
}

void TrainStage::check_models(Configs& configs) const {
  const train::TrainOptions& options = this->options();
  Known student = configs.model(options.model.from);
  nn::ModelState state;
  state.config = student.config;
  prepare_head(state, options.model, configs.recipe().dataset(options.data),
               configs.classes(options.data));
  for (const recipe::DataReference& source : options.data.sources())
    check_mixed_classes(options.data, configs.classes(options.data), source,
                        configs.classes(source));
  student.config = std::move(state.config);
  for (const recipe::Component& edit : options.model.surgery) {
    const surgery::Traits traits = surgery::traits(edit);
    student.resized = student.resized || traits.new_vocabulary;
    if (traits.new_tokenizer) student.tokenizer = stage_.name;
  }
  const nn::ModelConfig scored = with_place(options.evaluate.head.mark.text(), [&] {
    return nn::with_head(student.config, options.evaluate.head);
  });
  configs.check_scored(scored, options.data);
  configs.check_metrics(options.evaluate.metrics, scored, options.data);
  configs.check_metric(options.evaluate.select, scored, options.data);
  check_augments(options, student);
  for (const auto& [name, teacher] : model_teachers(options))
    check_teacher(configs, student, name, *teacher);
  student.quantised = quantised_by(options);
  configs.leave(stage_.name, std::move(student));
}

void TrainStage::check_teacher(Configs& configs, const Known& student, const std::string& name,
                               const train::TeacherOptions& how) const {
  const train::TrainOptions& options = this->options();
  const recipe::ModelReference& from = how.from;
  const Known& teacher = configs.model(from);
  int64_t tokens = 0;
  const bool own = how.own_tokens();
  if (own)
    for (const recipe::DataReference& source : options.data.sources())
      check_own_view(configs.recipe().dataset(source), how);
  if (!own && teacher.tokenizer != student.tokenizer) refuse_teacher(from, from.mark);
  if (!own && teacher.folder != student.folder) tokens = common_tokens(teacher, student, from);
  nn::ModelConfig taught = teacher.config;
  if (teacher.resized || student.resized)
    taught.vocab_size = student.config.vocab_size;  // it shows when the models are built
  else if (!own && tokens == 0 && taught.vocab_size != student.config.vocab_size)
    tokens = checkpoint::load_tokenizer(student.folder)->vocabulary_size();
  teacher::check_fit(student.config, taught, reads_teacher_logits(options, name), tokens, from.mark,
                     own);
  const data::DatasetOptions& data = configs.recipe().dataset(options.data);
  const bool scored = scores_teacher(teacher.config, data, configs.classes(options.data));
  if (scored) configs.check_metric(how.metric, teacher.config, options.data);
  if (!scored && how.floor)
    throw Error(
        ErrorKind::recipe,
        str("a floor needs a teacher that can be scored on the data; this one "
            "has the head '",
            nn::head_name(teacher.config.head), "'",
            teacher.config.labels.empty() ? "" : " of " + data::class_list(teacher.config.labels)),
        how.floor->mark.text(), "remove `floor`");
}

}  // namespace compress::pipeline
