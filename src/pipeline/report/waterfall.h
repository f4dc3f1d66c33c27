#pragma once
// Where the bytes went, from the model that a run began with to the smallest export.

#include "compress/base/strings.h"
#include "compress/pipeline/run.h"

namespace compress::pipeline {

ModelSize size_of(const nn::ModelState& state);
ModelSize size_of(const nn::Model& model);
// One line a step: its change and what is left. No rows where the run exported nothing, or kept no
// sizes of what it began with.
Table waterfall(const std::vector<StageResult>& stages);

}  // namespace compress::pipeline
