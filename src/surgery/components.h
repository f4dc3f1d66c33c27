#pragma once
// The components of this role, one a file.

#include <map>
#include <string>

#include "compress/base/error.h"
#include "compress/surgery/surgery.h"

namespace compress::surgery {

// Error{recipe} without a place: the edit that fails is given its own.
[[noreturn]] inline void refuse(const std::string& what, const std::string& hint = {}) {
  throw Error(ErrorKind::recipe, what, {}, hint);
}

// The edits, and what each of them means for others.
class EditRegistry : public recipe::RegistryOf<Edit> {
 public:
  using RegistryOf<Edit>::RegistryOf;
  using RegistryOf<Edit>::add;
  void add(recipe::ComponentInfo info, Edit edit, Traits traits) {
    traits_[info.name] = traits;
    add(std::move(info), std::move(edit));
  }
  Traits traits(const recipe::Component& component) const {
    const auto found = traits_.find(component.name());
    return found == traits_.end() ? Traits{} : found->second;
  }

 private:
  std::map<std::string, Traits> traits_;
};

void add_initialise(EditRegistry& registry);
void add_drop_layers(EditRegistry& registry);
void add_resize(EditRegistry& registry);
void add_trim_vocabulary(EditRegistry& registry);
void add_resize_vocabulary(EditRegistry& registry);
void add_projection(EditRegistry& registry);
void add_merge(EditRegistry& registry);
void add_adapter(EditRegistry& registry);
void add_lora(EditRegistry& registry);
void add_prefix(EditRegistry& registry);
void add_phm_adapter(EditRegistry& registry);

}  // namespace compress::surgery
