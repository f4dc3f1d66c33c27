#pragma once
// An augment as a recipe writes it.

#include <memory>
#include <string>

#include "compress/augment/augment.h"

namespace compress::augment {

inline std::unique_ptr<Augment> made(const std::string& text) {
  recipe::Component component;
  recipe::Problems problems;
  augments().read(recipe::parse_text(text, "recipe.yaml"), component, problems);
  problems.raise();
  return make(component);
}

}  // namespace compress::augment
