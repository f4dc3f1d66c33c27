#pragma once
// Heads of the models of training stages: which one a task asks for, and whether a teacher has it.

#include <string>
#include <vector>

#include "compress/data/dataset.h"
#include "compress/nn/model.h"
#include "compress/train/options.h"

namespace compress::pipeline {

// Gives the model that a stage trains, after its edits, the head that the task asks for. Returns
// what became of the head, as nn::set_head(). A configuration without tensors will do.
std::vector<std::string> prepare_head(nn::ModelState& state, const train::ModelOptions& options,
                                      const data::DatasetOptions& data,
                                      const std::vector<std::string>& labels);

// Whether a teacher is scored on the validation part before it teaches: where its head is the
// task's, and its classes are the data's (`labels`).
bool scores_teacher(const nn::ModelConfig& teacher, const data::DatasetOptions& data,
                    const std::vector<std::string>& labels);

}  // namespace compress::pipeline
