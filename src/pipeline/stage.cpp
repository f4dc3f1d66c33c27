#include "stage.h"

#include <algorithm>

#include "compress/base/random.h"

namespace compress::pipeline {

using recipe::Referred;
using recipe::Refers;

std::vector<Referred> StageKind::inputs(const RecipeOptions&) const {
  return recipe::references_of(stage_.kind);
}

void StageKind::check(const RecipeOptions&, recipe::Problems&) const {}

void StageKind::check_models(Configs&) const {}

std::vector<std::string> StageKind::columns(Configs&) const {
  return {};
}

bool StageKind::describe_updates(recipe::Node&, const parallel::Processes*) const {
  return false;
}

const recipe::Registry& stage_kinds() {
  return stages();
}

std::unique_ptr<StageKind> kind_of(const StageOptions& stage) {
  return stages().maker(stage.kind)(stage);
}

Recipe with_rows(Recipe recipe, const std::filesystem::path& run_folder) {
  for (auto& named : recipe.options.data)
    for (data::Origin* origin : {&named.value.train, &named.value.validation, &named.value.test})
      if (!origin->stage.empty())
        origin->file = (run_folder / "stages" / origin->stage.name / rows_name).string();
  return recipe;
}

uint64_t stage_seed(const Recipe& recipe, const StageOptions& stage) {
  const int64_t seed = kind_of(stage)->seed().value_or(recipe.options.seed);
  return stream_seed(static_cast<uint64_t>(seed), "stage/" + stage.name);
}

std::vector<std::string> sources_of(const RecipeOptions& recipe, const StageOptions& stage) {
  std::vector<std::string> names;
  auto add = [&](const std::string& name) {
    if (recipe.stage(name) != nullptr && std::find(names.begin(), names.end(), name) == names.end())
      names.push_back(name);
  };
  for (const Referred& input : kind_of(stage)->inputs(recipe)) {
    if (input.to != Refers::data && input.to != Refers::metric) add(input.reference);
    if (input.to != Refers::data) continue;
    for (const auto& [part, origin] : data::parts_of(*recipe.dataset(input.reference)))
      add(origin->stage);
  }
  return names;
}

bool is_own_data(const Referred& input) {
  return input.to == Refers::data && input.path == "data";
}

std::string dataset_of(const RecipeOptions& recipe, const StageOptions& stage) {
  for (const Referred& input : kind_of(stage)->inputs(recipe))
    if (is_own_data(input)) return input.reference.name;
  return {};
}

}  // namespace compress::pipeline
