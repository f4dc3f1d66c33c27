#pragma once
// What reading and writing config.json share.

#include "compress/nn/architecture.h"

namespace compress::nn {

// A key that is there and not null; null for another.
const Json* present(const Json& json, const char* key);

}  // namespace compress::nn
