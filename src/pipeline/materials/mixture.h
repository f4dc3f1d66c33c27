#pragma once
// Several data sets as the rows of one training stage.

#include <string>
#include <vector>

#include "compress/data/mixture.h"
#include "compress/pipeline/recipe.h"
#include "compress/train/binding.h"
#include "compress/train/options.h"

namespace compress::pipeline {

data::MixtureShares shares_of(const train::MixOptions& options);
// Each source (one, without a mixture) has a training part, and all have the task of the data set
// that is scored.
void check_mixture(const train::TrainingData& data, const RecipeOptions& recipe,
                   recipe::Problems& problems);
// Error{data} at the place of `name` unless its classes are those of the data set that is scored,
// in whatever order.
void check_mixed_classes(const train::TrainingData& data,
                         const std::vector<std::string>& scored_classes,
                         const recipe::DataReference& name,
                         const std::vector<std::string>& classes);
// Error{recipe} at its place for an objective over marked tokens that no data set of the stage has.
void check_marks(const train::TrainingData& data, const Recipe& recipe,
                 const train::Binding& binding);
// "an epoch has 66,667 of mnli (392,702 rows), 33,333 of qnli (104,743 rows)"
std::string mixture_text(const std::vector<std::string>& names, const std::vector<int64_t>& counts,
                         const std::vector<int64_t>& sizes);
std::string mixture_text(const data::Split& split);

}  // namespace compress::pipeline
