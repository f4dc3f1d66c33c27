#pragma once
// Helpers that a stage goes on with.

#include "compress/train/train.h"

namespace compress::train {

// Gives those that the job's file has, if it has one, their values; what the file lacks stays as it
// was drawn. Errors: as check_helpers(), and checkpoint::load_state.
void take_helpers(const Job& job, nn::ParamTable& helpers);

}  // namespace compress::train
