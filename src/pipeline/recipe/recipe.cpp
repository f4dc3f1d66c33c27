#include "compress/pipeline/recipe.h"

#include <algorithm>

#include "compress/base/error.h"
#include "recipe/check.h"

namespace compress::pipeline {

const data::DatasetOptions* RecipeOptions::dataset(const std::string& wanted) const {
  const auto found =
      std::find_if(data.begin(), data.end(), [&](const auto& set) { return set.name == wanted; });
  return found == data.end() ? nullptr : &found->value;
}

const StageOptions* RecipeOptions::stage(const std::string& wanted) const {
  const auto found = std::find_if(stages.begin(), stages.end(),
                                  [&](const auto& stage) { return stage.name == wanted; });
  return found == stages.end() ? nullptr : &*found;
}

const data::DatasetOptions& Recipe::dataset(const std::string& name) const {
  if (const data::DatasetOptions* found = options.dataset(name)) return *found;
  throw Error(ErrorKind::recipe, "there is no data set '" + name + "'", file.string());
}

RecipeOptions read_options(const std::filesystem::path& file) {
  RecipeOptions options;
  recipe::Problems problems;
  recipe::read_struct(RecipeOptions::options().info(), recipe::parse_file(file), &options,
                      problems);
  problems.raise();
  return options;
}

Recipe load_recipe(const std::filesystem::path& file, const std::vector<std::string>& overrides) {
  Recipe result;
  result.file = file;
  recipe::Node root = recipe::parse_file(file);
  for (const std::string& assignment : overrides) recipe::apply_override(root, assignment);
  recipe::Problems problems;
  recipe::read_struct(RecipeOptions::options().info(), root, &result.options, problems);
  check_recipe(result.options, problems);
  problems.raise();
  result.resolved =
      recipe::to_yaml(recipe::write_struct(RecipeOptions::options().info(), &result.options));
  return result;
}

}  // namespace compress::pipeline
