#pragma once
// A whole recipe, typed.

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "compress/data/dataset.h"
#include "compress/recipe/options.h"
#include "compress/train/options.h"

namespace compress::pipeline {

// Writes a finished model in formats of the ecosystem.
struct ExportOptions {
  std::string model;  // an earlier stage, or a folder
  std::vector<std::string> formats = {"huggingface"};
  std::string data;         // compared on; default: the data of the stage that made the model
  int64_t rows = 256;       // rows compared
  double tolerance = 1e-4;  // of the logits, relative to the largest
  static const recipe::Options<ExportOptions>& options();
};

// Scores a model without training it.
struct EvaluateStageOptions {
  std::string model;
  std::string data;
  std::vector<std::string> metrics;
  static const recipe::Options<EvaluateStageOptions>& options();
};

// One stage: a name and exactly one kind.
struct StageOptions {
  std::string name;
  std::optional<train::TrainOptions> train;
  std::optional<EvaluateStageOptions> evaluate;
  std::optional<ExportOptions> exports;  // key `export`
  static const recipe::Options<StageOptions>& options();
};

// A number that the run is expected to reach. `of` makes it relative to the same metric of another
// stage.
struct ExpectOptions {
  std::string stage;
  std::string metric;
  std::string split = "test";  // test | validation
  std::optional<double> at_least, at_most;
  std::string of;                       // another stage
  std::optional<double> drop_at_most;   // with `of`: value >= other - drop_at_most
  std::optional<double> gain_at_least;  // with `of`: value >= other + gain_at_least
  static const recipe::Options<ExpectOptions>& options();
};

struct RecipeOptions {
  std::string name;
  std::string description;
  std::string paper;
  int64_t seed = 13;
  std::vector<recipe::Named<data::DatasetOptions>> data;
  std::vector<StageOptions> stages;
  std::vector<ExpectOptions> expect;
  static const recipe::Options<RecipeOptions>& options();
};

struct Recipe {
  std::filesystem::path file;
  recipe::Node tree;  // as it was read, overrides included
  RecipeOptions options;
  std::string resolved;  // YAML with every default spelled out

  const data::DatasetOptions& dataset(const std::string& name) const;
  const StageOptions* stage(const std::string& name) const;  // null when there is none
  // The place of a key, or of the deepest part of the path that is there: {"data", "reviews"}.
  recipe::Mark mark(const std::vector<std::string>& path) const;
  // The same inside a stage: {"train", "teacher", "from"}.
  recipe::Mark stage_mark(const std::string& stage, std::vector<std::string> keys) const;
};

// Reads, overrides and checks a recipe: types and ranges, names, references to earlier stages and
// data sets, files that must exist, metrics. All problems are reported in one Error{recipe}.
Recipe load_recipe(const std::filesystem::path& file,
                   const std::vector<std::string>& overrides = {});

// The JSON schema of recipes, for editors.
recipe::Json recipe_schema();
// Every component of every role, in the order of docs/methods.md.
std::vector<const recipe::ComponentInfo*> all_components();
// docs/methods.md.
std::string methods_document();
// The recipe's own sections (data, train, teacher, ...) in the form of components, and
// docs/recipe.md.
const std::vector<recipe::ComponentInfo>& recipe_sections();
std::string recipe_document();

}  // namespace compress::pipeline
