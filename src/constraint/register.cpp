#include "components.h"

namespace compress::constraint {

const recipe::RegistryOf<Maker>& pruning() {
  static const PruningRegistry registry = [] {
    PruningRegistry list("pruning");
    add_magnitude(list);
    add_keep_pattern(list);
    return list;
  }();
  return registry;
}

const recipe::Registry& quantization() {
  static const PruningRegistry registry = [] {
    PruningRegistry list("quantization");
    add_quantization(list);
    return list;
  }();
  return registry;
}

std::unique_ptr<Constraint> make_pruning(const recipe::Component& component) {
  return roles::make(pruning(), component);
}

}  // namespace compress::constraint
