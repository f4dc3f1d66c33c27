#include "components.h"

namespace compress::surgery {

namespace {

const EditRegistry& all() {
  static const EditRegistry registry = [] {
    EditRegistry list("surgery");
    add_initialise(list);
    add_drop_layers(list);
    add_resize(list);
    add_trim_vocabulary(list);
    add_resize_vocabulary(list);
    add_projection(list);
    return list;
  }();
  return registry;
}

}  // namespace

const recipe::RegistryOf<Edit>& edits() {
  return all();
}

Traits traits(const recipe::Component& component) {
  return all().traits(component);
}

void apply(const std::vector<recipe::Component>& components, nn::ModelState& state,
           Workshop& workshop) {
  for (const recipe::Component& component : components)
    edits().maker(component)(component, state, workshop);
}

}  // namespace compress::surgery
