#pragma once
// The families that this build knows; each in its own file.

#include "compress/nn/model.h"

namespace compress::nn {

Family bert_family();

}  // namespace compress::nn
