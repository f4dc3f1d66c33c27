#pragma once
// The components of this role, one a file.

#include "compress/constraint/constraint.h"

namespace compress::constraint {

using PruningRegistry = recipe::RegistryOf<Maker>;

void add_magnitude(PruningRegistry& registry);
void add_keep_pattern(PruningRegistry& registry);
void add_quantization(PruningRegistry& registry);

}  // namespace compress::constraint
