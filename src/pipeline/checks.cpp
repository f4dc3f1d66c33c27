#include "checks.h"

#include "compress/augment/augment.h"
#include "compress/base/error.h"
#include "compress/base/place.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"
#include "compress/data/classes.h"
#include "compress/eval/evaluate.h"
#include "workbench.h"

namespace compress::pipeline {

namespace {

// A model as far as its configuration tells.
struct Known {
  nn::ModelConfig config;
  std::filesystem::path folder;  // of the tokenizer that it reads with
  bool resized = false;          // its vocabulary is no longer what the configuration says
};

class ModelCheck {
 public:
  explicit ModelCheck(const Recipe& recipe) : recipe_(recipe) {}

  void run() {
    for (const StageOptions& stage : recipe_.options.stages) {
      if (stage.train) check_train(stage);
      if (stage.evaluate) check_evaluate(stage);
      if (stage.exports) check_export(stage);
    }
  }

 private:
  std::string at(const StageOptions& stage, const std::vector<std::string>& keys) const {
    return recipe_.stage_mark(stage.name, keys).text();
  }

  const Known& model(const std::string& name) {
    auto it = models_.find(name);
    if (it == models_.end())
      it = models_.emplace(name, Known{checkpoint::load_config(name), name}).first;
    return it->second;
  }

  // Class names of a data set, in order.
  const std::vector<std::string>& classes(const std::string& name) {
    auto it = classes_.find(name);
    if (it != classes_.end()) return it->second;
    const data::DatasetOptions& dataset = recipe_.dataset(name);
    std::vector<std::string> names =
        with_place(recipe_.mark({"data", name}).text(), [&] { return data::label_names(dataset); });
    if (!dataset.positive.empty())
      with_place(recipe_.mark({"data", name, "positive"}).text(),
                 [&] { return data::named_class(names, dataset.positive); });
    return classes_.emplace(name, std::move(names)).first->second;
  }

  void check_train(const StageOptions& stage) {
    const train::TrainOptions& options = *stage.train;
    Known student = model(options.model.from);
    nn::ModelState state;
    state.config = student.config;
    prepare_head(state, options.model, recipe_.dataset(options.data), classes(options.data));
    student.config = std::move(state.config);
    for (const recipe::Component& edit : options.model.surgery)
      student.resized = student.resized || edit.name() == "resize_vocabulary";
    check_scored(student.config, options.data, at(stage, {"train", "data"}));
    check_metrics(options.evaluate.metrics, student.config, options.data,
                  at(stage, {"train", "evaluate", "metrics"}));
    if (!options.evaluate.select.empty())
      check_metrics({options.evaluate.select}, student.config, options.data,
                    at(stage, {"train", "evaluate", "select"}));
    check_augments(options, student);
    if (options.teacher) check_teacher(stage, student);
    models_[stage.name] = std::move(student);
  }

  // What changes the texts may need tokens that a tokenizer, or the embedding, lacks.
  static void check_augments(const train::TrainOptions& options, const Known& student) {
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

  void check_teacher(const StageOptions& stage, const Known& student) {
    const train::TrainOptions& options = *stage.train;
    const Known& teacher = model(options.teacher->from);
    const recipe::Mark from = recipe_.stage_mark(stage.name, {"train", "teacher", "from"});
    int64_t tokens = 0;
    if (teacher.folder != student.folder)
      tokens = check_tokenizers(teacher, student, options, from);
    nn::ModelConfig taught = teacher.config;
    if (teacher.resized || student.resized)
      taught.vocab_size = student.config.vocab_size;  // it shows when the models are built
    else if (tokens == 0 && taught.vocab_size != student.config.vocab_size)
      tokens = checkpoint::load_tokenizer(student.folder)->vocabulary_size();
    teacher::check_fit(student.config, taught, reads_teacher_logits(options), tokens, from);
    const data::DatasetOptions& data = recipe_.dataset(options.data);
    const bool scored = scores_teacher(teacher.config, data, classes(options.data));
    if (scored && !options.teacher->metric.empty())
      check_metrics({options.teacher->metric}, teacher.config, options.data,
                    at(stage, {"train", "teacher", "metric"}));
    if (!scored && options.teacher->floor)
      throw Error(ErrorKind::recipe,
                  compress::str("a floor needs a teacher that can be scored on the data; this one "
                                "has the head '",
                                nn::head_name(teacher.config.head), "'",
                                teacher.config.labels.empty()
                                    ? ""
                                    : " of " + data::class_list(teacher.config.labels)),
                  at(stage, {"train", "teacher", "floor"}), "remove `floor`");
  }

  // Tokens of the tokenizer that both have.
  int64_t check_tokenizers(const Known& teacher, const Known& student,
                           const train::TrainOptions& options, const recipe::Mark& mark) const {
    const std::unique_ptr<text::Tokenizer> theirs = checkpoint::load_tokenizer(teacher.folder),
                                           ours = checkpoint::load_tokenizer(student.folder);
    require_one_tokenizer(*ours, *theirs, options.teacher->from, mark);
    return ours->vocabulary_size();
  }

  void check_evaluate(const StageOptions& stage) {
    const EvaluateStageOptions& options = *stage.evaluate;
    const nn::ModelConfig& config = model(options.model).config;
    check_scored(config, options.data, at(stage, {"evaluate", "data"}));
    check_classes(config, options.data, at(stage, {"evaluate", "data"}));
    check_metrics(options.metrics, config, options.data, at(stage, {"evaluate", "metrics"}));
  }

  void check_export(const StageOptions& stage) {
    const ExportOptions& options = *stage.exports;
    const nn::ModelConfig& config = model(options.model).config;
    const StageOptions* source = recipe_.stage(options.model);
    const std::string dataset = !options.data.empty()                ? options.data
                                : source != nullptr && source->train ? source->train->data
                                                                     : "";
    if (dataset.empty() || config.head != nn::HeadKind::classification) return;
    if (recipe_.dataset(dataset).task == "classification")
      check_classes(config, dataset,
                    at(stage, {"export", options.data.empty() ? "model" : "data"}));
  }

  bool has_scored_part(const std::string& dataset) const {
    const data::DatasetOptions& data = recipe_.dataset(dataset);
    return !data.validation.empty() || !data.test.empty();
  }

  void check_scored(const nn::ModelConfig& config, const std::string& dataset,
                    const std::string& where) const {
    const data::Task task = data::task_of(recipe_.dataset(dataset));
    if (!has_scored_part(dataset) || eval::can_score(config.head, task)) return;
    throw Error(ErrorKind::recipe,
                compress::str("a model with the head '", nn::head_name(config.head),
                              "' cannot be scored on data set '", dataset, "'"),
                where,
                "the data set's `task` and the model's `head` must agree, or the data set have no "
                "validation and test part");
  }

  void check_classes(const nn::ModelConfig& config, const std::string& dataset,
                     const std::string& where) {
    const bool named = config.head == nn::HeadKind::classification ||
                       config.head == nn::HeadKind::token_classification;
    if (!named || !has_scored_part(dataset)) return;
    const std::vector<std::string>& names = classes(dataset);
    if (data::match_classes(names, config.labels)) return;
    throw Error(ErrorKind::data, eval::labels_differ(names, config.labels), where,
                data::mismatch_hint(names, config.labels));
  }

  void check_metrics(const std::vector<std::string>& names, const nn::ModelConfig& config,
                     const std::string& dataset, const std::string& where) const {
    if (!has_scored_part(dataset)) return;
    with_place(where, [&] {
      eval::check_metrics(names, config, !recipe_.dataset(dataset).positive.empty());
    });
  }

  const Recipe& recipe_;
  std::map<std::string, Known> models_;
  std::map<std::string, std::vector<std::string>> classes_;
};

}  // namespace

void check_models(const Recipe& recipe) {
  ModelCheck(recipe).run();
}

}  // namespace compress::pipeline
