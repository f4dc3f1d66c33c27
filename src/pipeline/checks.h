#pragma once
// What is refused before anything runs.

#include "compress/pipeline/recipe.h"

namespace compress::pipeline {

// Follows the models through the stages by their configurations alone, before anything is trained
// or written: heads against tasks, metrics and teachers; classes of data, models and teachers, by
// the one rule of data/classes.h; tokenizers and vocabularies of students and teachers. Reads
// config.json files, the labels of training files, and tokenizers where two must agree. Error
// {recipe} with the place of the key, Error{data} where the data's classes are not the model's.
void check_models(const Recipe& recipe);

}  // namespace compress::pipeline
