#pragma once
// Kinds of stages. A kind says what a stage of it reads and leaves, checks it, plans it and runs
// it; what is common to all (names, references, identity, reuse, results) knows no kind. One file
// each in stages/, one line each in register.cpp.

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "compress/pipeline/recipe.h"
#include "compress/pipeline/run.h"

namespace compress::pipeline {

class Configs;    // configs.h
class Planning;   // planning.h
class Workbench;  // workbench.h

// What a stage leaves in its folder for later ones to name.
struct Leaves {
  bool model = false;    // model/: a folder in Hugging Face's layout
  bool rows = false;     // rows.jsonl: a part of a data set
  bool store = false;    // store/: safetensors files
  bool numbers = false;  // numbers.json
};
inline constexpr const char* model_name = "model";
inline constexpr const char* rows_name = "rows.jsonl";
// Beside model/ where terms of a training stage trained something that no export has.
inline constexpr const char* helpers_name = "helpers.safetensors";
inline constexpr const char* store_name = "store";
inline constexpr const char* numbers_name = "numbers.json";
// What a scored model said of each row of a part ("test", "validation"); eval/kept.h.
inline std::string predictions_name(const std::string& part) {
  return "predictions-" + part + ".jsonl";
}
inline std::filesystem::path predictions_file(const std::filesystem::path& run,
                                              const std::string& stage, const std::string& part) {
  return run / "stages" / stage / predictions_name(part);
}

// What a stage runs with.
struct Bench {
  const Recipe& recipe;  // its data sets name the files that earlier stages left
  const StageOptions& stage;
  Workbench& work;
  std::filesystem::path folder;  // of the stage; it is there
  parallel::Processes* processes = nullptr;
  const std::atomic<bool>* stop = nullptr;
  nn::Json provenance;  // of what is exported
  // Of a stage that saves its state (StageKind::describe_updates).
  std::filesystem::path state_file, events;
  MetricsLog* metrics = nullptr;
  std::string state_identity, state_inputs;

  const std::string& name() const { return stage.name; }
  bool first() const { return parallel::is_first(processes); }
};

class StageKind {
 public:
  explicit StageKind(const StageOptions& stage) : stage_(stage) {}
  virtual ~StageKind() = default;

  // All that it reads and the recipe names, with keys and places: what its options refer to. They
  // are judged, hashed into its identity and told by the plan without a word of the kind's. A model
  // is called by its key ("teacher" for "teacher.from").
  virtual std::vector<recipe::Referred> inputs(const RecipeOptions& recipe) const;
  // Plain files that it reads, by the keys that name them: a part of its identity by their content.
  virtual std::vector<std::pair<std::string, std::string>> files() const { return {}; }
  virtual Leaves leaves() const { return {}; }
  // The columns of rows.jsonl, of a kind that leaves it.
  virtual std::vector<std::string> columns(Configs& configs) const;
  // Rules beyond types and references, when the recipe is read.
  virtual void check(const RecipeOptions& recipe, recipe::Problems& problems) const;
  // Rules that configurations of models and names of classes decide, before anything is written;
  // what becomes of its model is told to later stages.
  virtual void check_models(Configs& configs) const;
  // Binds everything on shapes alone, and says what the stage will do.
  virtual void plan(Planning& planning) const = 0;
  // Everything but name, kind, identity, inputs and files of the result.
  virtual StageResult run(Bench& bench) const = 0;

  // Where its random streams start from; none: the recipe's seed.
  virtual std::optional<int64_t> seed() const { return {}; }
  // Keys of its options that change no result: {"evaluate", "batch"}.
  virtual std::vector<std::vector<std::string>> indifferent() const { return {}; }
  // Makes of the description of its results the one of its updates, which a saved state must fit.
  // False: a stage of this kind saves no state.
  virtual bool describe_updates(recipe::Node& description,
                                const parallel::Processes* processes) const;

 protected:
  const StageOptions& stage_;
};

using MakeStage = std::function<std::unique_ptr<StageKind>(const StageOptions&)>;
using StageRegistry = recipe::RegistryOf<MakeStage>;
const StageRegistry& stages();
// The kind of a stage whose options were read without problems; refers to them.
std::unique_ptr<StageKind> kind_of(const StageOptions& stage);

// The options of a stage of the kind that has such options, else null.
template <recipe::HasOptions T>
const T* options_if(const StageOptions& stage) {
  if (!stage.kind || &stage.kind.info->options() != &T::options().info()) return nullptr;
  return &stage.kind.as<T>();
}

// The recipe with the files of the rows that its stages leave in a run's folder.
Recipe with_rows(Recipe recipe, const std::filesystem::path& run_folder);
// Whole number that a stage's random streams start from.
uint64_t stage_seed(const Recipe& recipe, const StageOptions& stage);
// Names of the earlier stages of which a stage reads something: models, rows, numbers, stores.
std::vector<std::string> sources_of(const RecipeOptions& recipe, const StageOptions& stage);
// Whether a reference is to the data that the stage itself works on: that of its key `data`. Edits
// of a model may name others.
bool is_own_data(const recipe::Referred& input);
// The data set that a stage itself works on, "" for none.
std::string dataset_of(const RecipeOptions& recipe, const StageOptions& stage);

}  // namespace compress::pipeline
