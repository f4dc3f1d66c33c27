#pragma once
// What reading and writing config.json share.

#include "compress/nn/architecture.h"

namespace compress::nn {

// Error{model}: config.json is wrong in `what`.
[[noreturn]] void refuse_config(const std::string& what);
// A key that is there and not null; null for another.
const Json* present(const Json& json, const char* key);

}  // namespace compress::nn
