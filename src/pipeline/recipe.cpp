#include "compress/pipeline/recipe.h"

#include <set>

#include "compress/augment/augment.h"
#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"
#include "compress/constraint/constraint.h"
#include "compress/eval/metrics.h"
#include "compress/objective/objective.h"
#include "compress/optim/optim.h"
#include "compress/surgery/surgery.h"
#include "compress/train/train.h"

namespace compress::pipeline {

namespace {

using recipe::Mark;
using recipe::Node;
using recipe::Problems;

// The mark of the deepest part of `path` that the file has.
Mark mark_at(const Node& root, const std::vector<std::string>& path) {
  const Node* node = &root;
  for (const std::string& key : path) {
    const Node* next = nullptr;
    if (node->kind == Node::Kind::list) {
      auto index = static_cast<size_t>(std::stoul(key));
      if (index < node->items.size()) next = &node->items[index];
    } else {
      next = node->find(key);
    }
    if (next == nullptr) break;
    node = next;
  }
  return node->mark;
}

// Checks what types alone do not say: names, references, files.
class Checker {
 public:
  Checker(const RecipeOptions& options, const Node& root, Problems& problems)
      : options_(options), root_(root), problems_(problems) {}

  void run() {
    check_data();
    for (size_t i = 0; i < options_.stages.size(); ++i) check_stage(i);
    for (size_t i = 0; i < options_.expect.size(); ++i) check_expectation(i);
  }

 private:
  void check_data() {
    for (const auto& named : options_.data) {
      for (const auto& [key, path] : {std::pair{"train", named.value.train},
                                      {"validation", named.value.validation},
                                      {"test", named.value.test}}) {
        if (path.empty() || std::filesystem::is_regular_file(path)) continue;
        problems_.add(mark_at(root_, {"data", named.name, key}),
                      "the file '" + path + "' does not exist",
                      "paths are relative to the folder that compress runs in; the README names "
                      "the fetch command");
      }
    }
  }

  void check_stage(size_t index) {
    const StageOptions& stage = options_.stages[index];
    std::string at = std::to_string(index);
    if (stage.name.empty() || stage.name.find_first_of("/\\ \t") != std::string::npos ||
        stage.name.front() == '.')
      problems_.add(mark_at(root_, {"stages", at, "name"}),
                    "'" + stage.name + "' cannot name a folder", "use letters, digits, - and _");
    if (!earlier_.insert(stage.name).second)
      problems_.add(mark_at(root_, {"stages", at, "name"}),
                    "a second stage is named '" + stage.name + "'");
    if (stage.train) {
      earlier_.erase(stage.name);
      check_train(*stage.train, at);
      earlier_.insert(stage.name);
      models_.insert(stage.name);
    } else if (stage.evaluate) {
      check_model(stage.evaluate->model, {"stages", at, "evaluate", "model"});
      check_dataset(stage.evaluate->data, {"stages", at, "evaluate", "data"});
      check_metrics(stage.evaluate->metrics, {"stages", at, "evaluate", "metrics"});
    } else if (stage.exports) {
      check_model(stage.exports->model, {"stages", at, "export", "model"});
      if (!stage.exports->data.empty())
        check_dataset(stage.exports->data, {"stages", at, "export", "data"});
    }
  }

  void check_train(const train::TrainOptions& options, const std::string& at) {
    check_model(options.model.from, {"stages", at, "train", "model", "from"});
    if (options.teacher) {
      check_model(options.teacher->from, {"stages", at, "train", "teacher", "from"});
      if (!options.teacher->metric.empty())
        check_metrics({options.teacher->metric}, {"stages", at, "train", "teacher", "metric"});
    }
    check_use_of_teacher(options, at);
    if (!train::is_device(options.device))
      problems_.add(mark_at(root_, {"stages", at, "train", "device"}),
                    "unknown device '" + options.device + "'", train::device_names);
    check_metrics(options.evaluate.metrics, {"stages", at, "train", "evaluate", "metrics"});
    if (!options.evaluate.select.empty())
      check_metrics({options.evaluate.select}, {"stages", at, "train", "evaluate", "select"});
    const data::DatasetOptions* data = check_dataset(options.data, {"stages", at, "train", "data"});
    if (data != nullptr && data->train.empty())
      problems_.add(mark_at(root_, {"stages", at, "train", "data"}),
                    "data set '" + options.data + "' has no training part");
    if (data != nullptr && data->validation.empty() && options.teacher && options.teacher->floor)
      problems_.add(mark_at(root_, {"stages", at, "train", "teacher", "floor"}),
                    "a floor needs a validation part to score the teacher on");
  }

  void check_use_of_teacher(const train::TrainOptions& options, const std::string& at) {
    bool used = false;
    for (const recipe::Component& component : options.objectives) {
      if (!component) continue;  // a problem already
      const bool needs = objective::make(component)->needs().teacher.has_value();
      used = used || needs;
      if (needs && !options.teacher)
        problems_.add(component.mark, "objective '" + component.name() + "' needs a teacher",
                      "add `teacher:` to the stage");
    }
    if (options.teacher && !used)
      problems_.add(mark_at(root_, {"stages", at, "train", "teacher"}),
                    "no objective uses the teacher",
                    "add soft_labels, logits_mse or hidden_states to `objectives`, or remove "
                    "`teacher`");
  }

  // A name of an earlier stage that makes a model, a folder with a config.json, or a GGUF file.
  void check_model(const std::string& name, const std::vector<std::string>& path) {
    if (models_.contains(name)) return;
    Mark mark = mark_at(root_, path);
    for (const StageOptions& stage : options_.stages)
      if (stage.name == name) {
        problems_.add(mark,
                      earlier_.contains(name)
                          ? "stage '" + name + "' makes no model"
                          : "stage '" + name + "' comes later: a stage may only use earlier ones",
                      "move it up, or name another stage");
        return;
      }
    if (std::filesystem::is_regular_file(std::filesystem::path(name) / "config.json")) return;
    if (!checkpoint::gguf_file(name).empty()) return;
    std::vector<std::string> known(models_.begin(), models_.end());
    std::string near = nearest(name, known);
    problems_.add(mark,
                  "'" + name +
                      "' is neither an earlier stage nor a folder with a config.json "
                      "or a GGUF file",
                  !near.empty() ? "did you mean '" + near + "'?"
                  : known.empty()
                      ? "no earlier stage makes a model; give a folder in Hugging Face's layout"
                      : "earlier stages: " + join(known, ", "));
  }

  const data::DatasetOptions* check_dataset(const std::string& name,
                                            const std::vector<std::string>& path) {
    std::vector<std::string> known;
    for (const auto& named : options_.data) {
      if (named.name == name) return &named.value;
      known.push_back(named.name);
    }
    std::string near = nearest(name, known);
    problems_.add(mark_at(root_, path), "there is no data set '" + name + "'",
                  !near.empty() ? "did you mean '" + near + "'?"
                                : "data sets: " + (known.empty() ? "none" : join(known, ", ")));
    return nullptr;
  }

  void check_metrics(const std::vector<std::string>& names, const std::vector<std::string>& path) {
    std::vector<std::string> known = metric_names();
    for (const std::string& name : names) {
      if (std::find(known.begin(), known.end(), name) != known.end()) continue;
      std::string near = nearest(name, known);
      problems_.add(
          mark_at(root_, path), "unknown metric '" + name + "'",
          near.empty() ? "metrics: " + join(known, ", ") : "did you mean '" + near + "'?");
    }
  }

  void check_expectation(size_t index) {
    const ExpectOptions& expect = options_.expect[index];
    std::string at = std::to_string(index);
    check_metrics({expect.metric}, {"expect", at, "metric"});
    for (const auto& [key, name] : {std::pair{"stage", expect.stage}, {"of", expect.of}}) {
      if (name.empty() || earlier_.contains(name)) continue;
      std::vector<std::string> known(earlier_.begin(), earlier_.end());
      std::string near = nearest(name, known);
      problems_.add(mark_at(root_, {"expect", at, key}), "there is no stage '" + name + "'",
                    near.empty() ? "stages: " + join(known, ", ") : "did you mean '" + near + "'?");
    }
  }

  const RecipeOptions& options_;
  const Node& root_;
  Problems& problems_;
  std::set<std::string> earlier_, models_;
};

}  // namespace

const data::DatasetOptions& Recipe::dataset(const std::string& name) const {
  for (const auto& named : options.data)
    if (named.name == name) return named.value;
  throw Error(ErrorKind::recipe, "there is no data set '" + name + "'", file.string());
}

recipe::Mark Recipe::mark(const std::vector<std::string>& path) const {
  return mark_at(tree, path);
}

recipe::Mark Recipe::stage_mark(const std::string& name, std::vector<std::string> keys) const {
  size_t index = 0;
  while (index < options.stages.size() && options.stages[index].name != name) ++index;
  keys.insert(keys.begin(), {"stages", std::to_string(index)});
  return mark(keys);
}

const StageOptions* Recipe::stage(const std::string& name) const {
  for (const StageOptions& stage : options.stages)
    if (stage.name == name) return &stage;
  return nullptr;
}

Recipe load_recipe(const std::filesystem::path& file, const std::vector<std::string>& overrides) {
  Recipe result;
  result.file = file;
  Node root = recipe::parse_file(file);
  for (const std::string& assignment : overrides) recipe::apply_override(root, assignment);
  Problems problems;
  recipe::read_struct(RecipeOptions::options().info(), root, &result.options, problems);
  Checker(result.options, root, problems).run();
  problems.raise();
  result.tree = std::move(root);
  result.resolved =
      recipe::to_yaml(recipe::write_struct(RecipeOptions::options().info(), &result.options));
  return result;
}

std::vector<const recipe::ComponentInfo*> all_components() {
  std::vector<const recipe::ComponentInfo*> list;
  for (const recipe::Registry* registry :
       {&surgery::registry(), &augment::registry(), &objective::registry(),
        &constraint::pruning_registry(), &constraint::quantization_registry(),
        &optim::optimizer_registry(), &optim::schedule_registry(), &optim::mover_registry(),
        &optim::averaging_registry()})
    for (const auto& info : registry->list()) list.push_back(info.get());
  return list;
}

recipe::Json recipe_schema() {
  return recipe::document_schema(RecipeOptions::options().info(), "A recipe of compress");
}

// The recipe's own keys, told like components. "section" is no role: nothing can be put in its
// place.
const std::vector<recipe::ComponentInfo>& recipe_sections() {
  using recipe::describe;
  static const std::vector<recipe::ComponentInfo> sections = {
      describe<RecipeOptions>("section", "recipe", "the top of a recipe file"),
      describe<data::DatasetOptions>(
          "section", "data", "a data set: an entry of `data:`, under a name of your choice", "", "",
          "Files are read relative to the current folder. The test part is only ever scored. "
          "A cache holds tokenised rows in files named after a hash of the data file's content, "
          "the options that decide what is read, the class names and the tokenizer; a training "
          "maps them, so that its memory does not grow with the data. The cache folder is "
          "$COMPRESS_CACHE, else $XDG_CACHE_HOME/compress, else ~/.cache/compress. Anything in "
          "`tokenised/` may be deleted: what is missing or damaged is made again. An unchanged "
          "data file (size, inode, times of modification and change) is not read again to know "
          "its hash. Where auto cannot write, rows stay in memory."),
      describe<StageOptions>("section", "stage",
                             "an entry of `stages:`: exactly one of train, evaluate, export"),
      describe<train::TrainOptions>(
          "section", "train", "trains a model, with or without a teacher", "", "",
          "Durations carry a unit: `500 steps`, `3 epochs`, `10%` (of the stage)."),
      describe<train::ModelOptions>("section", "model", "`model:` of a training stage", "", "",
                                    "`model: teacher` is short for `model: {from: teacher}`."),
      describe<train::TeacherOptions>(
          "section", "teacher", "`teacher:` of a training stage: a frozen model to imitate", "", "",
          "`teacher: big` is short for `teacher: {from: big}`. It is scored on the validation part "
          "before anything is trained; its classes are matched to the student's by name, "
          "placeholders "
          "(LABEL_1, 1) by number. Where the tables of embeddings are padded to different sizes, "
          "logits over a vocabulary are compared on the tokens that both have."),
      describe<train::CacheOptions>(
          "section", "cache", "`cache:` of a teacher: its answers on disk, computed once", "", "",
          "`cache: answers/` is short for `cache: {folder: answers/}`. Kept is what the stage's "
          "objectives read: logits (float32), pooled and hidden states (float16), of logits over a "
          "vocabulary the most probable tokens (float16 log-probabilities) and the others' mass, "
          "each in a safetensors file that is read by rows, never as a whole. They lie in a folder "
          "named after a hash of the teacher's files, the data and how it is read, the tokenizer, "
          "the masking and the precision; a file with another key is refused, an entry that holds "
          "less than is asked is extended. Jobs that want the same answers at once wait for the "
          "first. Masking needs `fixed: true`. Entries that are no longer wanted are deleted by "
          "hand."),
      describe<train::EvaluationOptions>("section", "evaluation",
                                         "`evaluate:` of a training stage: scoring while training"),
      describe<train::CheckpointOptions>("section", "checkpoint",
                                         "`checkpoint:` of a training stage: saving for a resume"),
      describe<EvaluateStageOptions>("section", "evaluate", "a stage that scores a model"),
      describe<ExportOptions>("section", "export", "a stage that writes a model"),
      describe<ExpectOptions>("section", "expect", "an entry of `expect:`", "", "",
                              "Judged at the end of the run, with several seeds on the means."),
  };
  return sections;
}

std::string recipe_document() {
  std::string text =
      "# Recipe keys\n\n"
      "The keys of a recipe itself; the components that fill `objectives:`, `pruning:` and the "
      "like "
      "are in\n[methods.md](methods.md). Generated by `compress explain --markdown-recipe`; a test "
      "checks that this file is current.\n";
  for (const recipe::ComponentInfo& info : recipe_sections())
    text += "\n" + recipe::explain_markdown(info);
  return text;
}

std::string methods_document() {
  std::string text =
      "# Components\n\n"
      "Every component that a recipe can name, by role. Generated by `compress explain "
      "--markdown-all`; a test checks that\n"
      "this file is current.\n";
  std::string role;
  for (const recipe::ComponentInfo* info : all_components()) {
    if (info->role != role) text += "\n## Role: " + info->role + "\n";
    role = info->role;
    text += "\n" + recipe::explain_markdown(*info);
  }
  return text;
}

}  // namespace compress::pipeline
