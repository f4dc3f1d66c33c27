#include "recipe/check.h"

#include <algorithm>
#include <set>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"
#include "compress/eval/metric.h"
#include "compress/storage/tensor.h"
#include "stage.h"

namespace compress::pipeline {

namespace {

using recipe::Mark;
using recipe::Problems;
using recipe::Reference;
using recipe::Referred;
using recipe::Refers;

// What a reference to a stage's artefact needs of it, and how it is said.
struct Artefact {
  Refers to;
  bool Leaves::*left;
  const char* lack;
};
constexpr Artefact artefacts[] = {
    {Refers::model, &Leaves::model, "makes no model"},
    {Refers::rows, &Leaves::rows, "leaves no rows"},
    {Refers::numbers, &Leaves::numbers, "leaves no numbers"},
    {Refers::store, &Leaves::store, "leaves no store"},
};

// What a shell or a table would read as something else is no part of a stage's name.
bool can_name_a_stage(const std::string& name) {
  return can_name_a_folder(name) && name.front() != '-' &&
         name.find_first_of(" *?\"'`<>|:;&$~!#(){}[]") == name.npos;
}

// Whether a path is one that a shell would have to put another in place of.
bool is_shells(const std::string& path) {
  return path.starts_with('~') || path.find('$') != std::string::npos;
}
constexpr const char* shells_hint = "~ and $NAME are taken as they stand: write the path out";

// The one that is missing of files that are read one after the other or beside each other, where
// "=text" is no file.
std::string missing_of(const std::string& files) {
  for (const char* between : {" + ", " | "}) {
    if (files.find(between) == files.npos) continue;
    for (size_t begin = 0; begin < files.size();) {
      const size_t end = std::min(files.find(between, begin), files.size());
      const std::string one(trim(std::string_view(files).substr(begin, end - begin)));
      const bool is_text = one.starts_with('=') && one.find(" | ") == one.npos;
      if (!is_text && !data::can_be_read(one)) return missing_of(one);
      begin = end + 3;
    }
  }
  return files;
}

class Checker {
 public:
  Checker(const RecipeOptions& options, Problems& problems)
      : options_(options), problems_(problems) {}

  void run() {
    for (const auto& named : options_.data) check_data(named.value);
    for (const StageOptions& stage : options_.stages) check_stage(stage);
    for (const ExpectOptions& expect : options_.expect) check_expectation(expect);
  }

 private:
  void check_data(const data::DatasetOptions& data) {
    for (const recipe::MetricReference& metric : data.metrics) check_metric(metric);
    for (const auto& [part, origin] : data::parts_of(data)) {
      if (!origin->stage.empty() && options_.stage(origin->stage) == nullptr)
        unknown_stage(origin->stage);
      if (origin->file.empty() || data::can_be_read(origin->file)) continue;
      if (std::filesystem::is_directory(origin->file)) {
        problems_.add(origin->mark, "'" + origin->file + "' is a folder, not a file",
                      "name its files, or all of them: " + origin->file + "/*.tsv");
        continue;
      }
      problems_.add(origin->mark, "the file '" + missing_of(origin->file) + "' does not exist",
                    is_shells(origin->file)
                        ? shells_hint
                        : "paths are relative to the folder that compress runs in; the README "
                          "names the fetch command");
    }
  }

  void check_stage(const StageOptions& stage) {
    if (!can_name_a_stage(stage.name))
      problems_.add(stage.mark, storage::shown_name(stage.name) + " cannot name a folder",
                    "use at most 200 letters, digits, - and _");
    if (earlier_.contains(stage.name))
      problems_.add(stage.mark, "a second stage is named '" + stage.name + "'");
    if (!stage.kind) return;  // a problem already
    const std::unique_ptr<StageKind> kind = kind_of(stage);
    for (const Referred& input : kind->inputs(options_)) check_reference(input);
    kind->check(options_, problems_);
    earlier_.insert(stage.name);
    left_[stage.name] = kind->leaves();
  }

  void check_reference(const Referred& input) {
    const Reference& name = input.reference;
    switch (input.to) {
      case Refers::model:
        return check_model(name);
      case Refers::data:
        return check_dataset(name);
      case Refers::metric:
        return check_metric(name);
      case Refers::stage:
        return check_name(name);
      default:
        return check_left(input.to, name);
    }
  }

  // Whether an earlier stage leaves such a thing; `name` is a stage's.
  bool leaves(Refers to, const std::string& name) const {
    const auto found = left_.find(name);
    if (found == left_.end()) return false;
    for (const Artefact& artefact : artefacts)
      if (artefact.to == to) return found->second.*artefact.left;
    return true;
  }

  // A stage of the recipe that does not leave it, or comes too late. False for another name.
  bool refuse_stage(Refers to, const Reference& name) {
    if (options_.stage(name) == nullptr) return false;
    std::string what = "stage '" + name.name + "' comes later: a stage may only use earlier ones";
    if (earlier_.contains(name))
      for (const Artefact& artefact : artefacts)
        if (artefact.to == to) what = "stage '" + name.name + "' " + artefact.lack;
    problems_.add(name.mark, what, "move it up, or name another stage");
    return true;
  }

  std::vector<std::string> stages_that_leave(Refers to) const {
    std::vector<std::string> names;
    for (const auto& [name, unused] : left_)
      if (leaves(to, name)) names.push_back(name);
    return names;
  }

  // A name of an earlier stage that makes a model, a folder with a config.json, or a GGUF file.
  void check_model(const Reference& name) {
    if (leaves(Refers::model, name) || refuse_stage(Refers::model, name)) return;
    const std::filesystem::path folder = name.name;
    if (std::filesystem::is_regular_file(folder / "config.json")) return;
    if (!checkpoint::gguf_file(folder).empty()) return;
    const std::vector<std::string> known = stages_that_leave(Refers::model);
    problems_.add(
        name.mark,
        "'" + name.name +
            "' is neither an earlier stage nor a folder with a config.json "
            "or a GGUF file",
        is_shells(name.name)
            ? shells_hint
            : did_you_mean(name.name, known,
                           known.empty() ? "no earlier stage makes a model; give a folder in "
                                           "Hugging Face's layout (models of its hub are not "
                                           "fetched)"
                                         : "earlier stages: " + join(known, ", ")));
  }

  void check_left(Refers to, const Reference& name) {
    if (leaves(to, name) || refuse_stage(to, name)) return;
    unknown_stage(name);
  }

  void check_name(const Reference& name) {
    if (!earlier_.contains(name)) unknown_stage(name);
  }

  void unknown_stage(const Reference& name) {
    std::vector<std::string> known;
    for (const StageOptions& stage : options_.stages) known.push_back(stage.name);
    problems_.add(name.mark, "there is no stage '" + name.name + "'",
                  did_you_mean(name.name, known, "stages: " + join(known, ", ")));
  }

  void check_dataset(const Reference& name) {
    if (const data::DatasetOptions* data = options_.dataset(name)) {
      for (const auto& [part, origin] : data::parts_of(*data))
        if (!origin->stage.empty() && options_.stage(origin->stage) != nullptr)
          check_left(Refers::rows, origin->stage);
      return;
    }
    std::vector<std::string> known;
    for (const auto& named : options_.data) known.push_back(named.name);
    problems_.add(name.mark, "there is no data set '" + name.name + "'",
                  did_you_mean(name.name, known,
                               "data sets: " + (known.empty() ? "none" : join(known, ", "))));
  }

  void check_metric(const Reference& name) {
    try {
      eval::metric_of(name.name);
    } catch (const Error& error) {
      problems_.add(name.mark, "unknown metric '" + name.name + "'", error.hint());
    }
  }

  void check_expectation(const ExpectOptions& expect) {
    if (!expect.metric.empty()) check_metric(expect.metric);
    for (const recipe::StageReference* name : {&expect.stage, &expect.of, &expect.above}) {
      if (name->empty()) continue;
      if (expect.number)
        check_left(Refers::numbers, *name);
      else
        check_name(*name);
    }
  }

  const RecipeOptions& options_;
  Problems& problems_;
  std::set<std::string> earlier_;
  std::map<std::string, Leaves> left_;  // of the earlier stages
};

}  // namespace

void check_recipe(const RecipeOptions& recipe, Problems& problems) {
  Checker(recipe, problems).run();
}

}  // namespace compress::pipeline
