#pragma once
// What results will have, as stages say while they are planned, and expectations of what none will
// have.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "compress/pipeline/recipe.h"
#include "compress/pipeline/run.h"

namespace compress::pipeline {

// What a stage's result will have, by name.
struct Promise {
  std::map<std::string, std::vector<std::string>> metrics;  // by part; of those that are scored
  // Of the shape of numbers.json, whatever its values; none: known when the stage has run.
  std::optional<nn::Json> numbers;
};
using Promises = std::map<std::string, Promise>;  // by stage; one that is not there has nothing

// Error{recipe} with each expectation of a metric, a part or a number that no result will have, at
// its place.
void check_expectations(const RecipeOptions& recipe, const Promises& promises);

}  // namespace compress::pipeline
