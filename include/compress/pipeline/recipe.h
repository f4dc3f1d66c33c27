#pragma once
// A whole recipe, typed.

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "compress/data/dataset.h"
#include "compress/recipe/options.h"

namespace compress::pipeline {

// The kinds of stages (src/pipeline/stage.h): train, evaluate, export, ...
const recipe::Registry& stage_kinds();

// One stage: a name and exactly one kind, under its own key.
struct StageOptions {
  std::string name;
  recipe::Component kind;
  recipe::Mark mark;
  static const recipe::Options<StageOptions>& options();
};

// A number as a paper prints it.
struct PublishedNumber {
  std::string what;
  double value = 0;
  static const recipe::Options<PublishedNumber>& options();
};

// What a recipe reproduces, told by plans and results.
struct PaperOptions {
  std::string title, arxiv, table;  // table: where the numbers stand
  std::vector<PublishedNumber> numbers;
  std::vector<std::string> unverified;  // choices that the paper could not be asked about
  // "Title (arXiv 2212.05956, Table 3)", "" without a title.
  std::string text() const;
  static const recipe::Options<PaperOptions>& options();
};

// A number that the run is expected to reach. `of` makes it relative to the same number of another
// stage.
struct ExpectOptions {
  recipe::StageReference stage;
  recipe::MetricReference metric;
  std::optional<std::string>
      number;                  // instead of a metric: in the stage's numbers.json, "layers.0"
  std::string split = "test";  // test | validation
  std::optional<double> at_least, at_most;
  recipe::StageReference of;            // another stage
  std::optional<double> drop_at_most;   // with `of`: value >= other - drop_at_most
  std::optional<double> gain_at_least;  // with `of`: value >= other + gain_at_least
  // Tested at level p (eval/paired.h): better than the stage `above`, or than `of` minus `within`.
  recipe::StageReference above;
  std::optional<double> within, p;
  std::string claim;                // what holds where it is reached, in words
  std::optional<double> published;  // with `above` or `within`: the difference in the paper
  recipe::Mark mark;
  static const recipe::Options<ExpectOptions>& options();
};

struct RecipeOptions {
  std::string name;
  std::string description;
  PaperOptions paper;
  int64_t seed = 13;
  std::vector<recipe::Named<data::DatasetOptions>> data;
  std::vector<StageOptions> stages;
  std::vector<ExpectOptions> expect;
  // Null when there is none.
  const data::DatasetOptions* dataset(const std::string& name) const;
  const StageOptions* stage(const std::string& name) const;
  static const recipe::Options<RecipeOptions>& options();
};

struct Recipe {
  std::filesystem::path file;
  RecipeOptions options;
  std::string resolved;  // YAML with every default spelled out

  const data::DatasetOptions& dataset(const std::string& name) const;  // Error{recipe} for none
  const StageOptions* stage(const std::string& name) const { return options.stage(name); }
};

// Reads, overrides and checks a recipe: types and ranges, names, references to earlier stages and
// data sets, files that must exist, metrics. All problems are reported in one Error{recipe}.
Recipe load_recipe(const std::filesystem::path& file,
                   const std::vector<std::string>& overrides = {});

// What a recipe's file says, checked by types and ranges alone: nothing that it names need be
// there.
RecipeOptions read_options(const std::filesystem::path& file);

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
