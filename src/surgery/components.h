#pragma once
// The components of this role, one a file.

#include "compress/surgery/surgery.h"

namespace compress::surgery {

using EditRegistry = recipe::RegistryOf<Edit>;

void add_drop_layers(EditRegistry& registry);
void add_resize(EditRegistry& registry);
void add_resize_vocabulary(EditRegistry& registry);
void add_projection(EditRegistry& registry);

}  // namespace compress::surgery
