#include "components.h"

namespace compress::surgery {

const EditRegistry& edits() {
  static const EditRegistry registry = [] {
    EditRegistry list("surgery");
    add_drop_layers(list);
    add_resize(list);
    add_resize_vocabulary(list);
    add_projection(list);
    return list;
  }();
  return registry;
}

const recipe::Registry& registry() {
  return edits();
}

void apply(const std::vector<recipe::Component>& components, nn::ModelState& state) {
  for (const recipe::Component& component : components) edits().maker(component)(component, state);
}

}  // namespace compress::surgery
