#pragma once
// The components of this role, one a file.

#include <memory>

#include "compress/augment/augment.h"

namespace compress::augment {

recipe::ComponentInfo hidden_noise_info();
std::unique_ptr<Augment> make_hidden_noise(const recipe::Component& component);

}  // namespace compress::augment
