#pragma once
// A model under the names of another family.

#include <string>

#include "compress/nn/model.h"

namespace compress::surgery {

// The sizes of `state`, and of its tensors those that `family` has a place for, as a model of that
// family; heads beside the model's own are not among them. Error{recipe} without a place where the
// family is unknown, has no layers, or layers of it compute something else.
nn::ModelState in_family(const std::string& family, const nn::ModelState& state);

}  // namespace compress::surgery
