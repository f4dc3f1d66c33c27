#include "components.h"
#include "compress/nn/architecture.h"

namespace compress::surgery {

namespace {

const EditRegistry& all() {
  static const EditRegistry registry = [] {
    EditRegistry list("surgery");
    add_merge(list);  // before what changes the shapes that attachments fit
    add_initialise(list);
    add_drop_layers(list);
    add_resize(list);
    add_trim_vocabulary(list);
    add_resize_vocabulary(list);
    add_projection(list);
    add_adapter(list);
    add_lora(list);
    add_prefix(list);
    add_phm_adapter(list);
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
  for (const recipe::Component& component : components) {
    if (!state.config.attachments.empty() && traits(component).new_layers)
      throw Error(ErrorKind::recipe,
                  "what is attached to the model does not fit its layers after " + component.name(),
                  component.mark.text(), "merge it first, or attach it in a later stage");
    const nn::Family& family = nn::family(state.config.family);
    if (!family.has_layers() && !traits(component).without_layers)
      throw Error(
          ErrorKind::recipe,
          component.name() + " edits layers, and a " + family.model_type + " model has none",
          component.mark.text(), "remove it");
    edits().maker(component)(component, state, workshop);
  }
}

}  // namespace compress::surgery
