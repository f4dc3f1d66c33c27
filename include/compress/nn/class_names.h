#pragma once
// Which heads have classes that are matched by name (data/classes.h).

#include "compress/nn/heads.h"

namespace compress::nn {

// Whether a head's outputs are named classes, of which one is right or any number.
inline bool names_classes(HeadKind head) {
  return has_labels(head) && prediction(head).kind != Prediction::Kind::value;
}

}  // namespace compress::nn
