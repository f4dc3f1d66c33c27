#pragma once
// The components of this role, one a file.

#include "compress/surgery/surgery.h"

namespace compress::surgery {

using EditRegistry = recipe::RegistryOf<Edit>;

void add_drop_layers(EditRegistry& registry);

}  // namespace compress::surgery
