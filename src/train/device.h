#pragma once

#include "compress/data/torch.h"

namespace compress::train {

// Settings of the process for training on `device`: results that repeat, as far as its library has
// such kernels.
void prepare_device(torch::Device device);

}  // namespace compress::train
