#pragma once
// What is wrong with a recipe that types alone do not say.

#include "compress/pipeline/recipe.h"

namespace compress::pipeline {

// Names of stages; references to models, data sets, metrics and to what earlier stages leave; files
// of data; and what each kind checks for itself.
void check_recipe(const RecipeOptions& recipe, recipe::Problems& problems);

}  // namespace compress::pipeline
