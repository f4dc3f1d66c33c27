#pragma once
// What is wrong with a recipe that types alone do not say.

#include "compress/pipeline/recipe.h"

namespace compress::pipeline {

// At most 200 bytes without slashes or control characters that do not begin with a point.
bool can_name_a_folder(const std::string& name);

// Names of stages; references to models, data sets, metrics and to what earlier stages leave; files
// of data; and what each kind checks for itself.
void check_recipe(const RecipeOptions& recipe, recipe::Problems& problems);

}  // namespace compress::pipeline
