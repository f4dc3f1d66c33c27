#pragma once
// Clipping of one gradient.

#include "compress/optim/optim.h"

namespace compress::optim {

// Scales the parameter's gradient, which is there, so that its norm is at most `limit`; of an
// embedding's only the touched rows are read and written. Without a wait for a device.
void clip_gradient(const nn::Parameter& parameter, double limit);

}  // namespace compress::optim
