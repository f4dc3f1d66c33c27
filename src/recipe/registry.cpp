// Components by name.

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/recipe/options.h"
#include "internal.h"

namespace compress::recipe {

ComponentInfo& Registry::add_info(ComponentInfo info) {
  if (find(info.name) != nullptr)
    throw Error(ErrorKind::internal,
                "two components of role " + role_ + " are called " + info.name);
  list_.push_back(std::make_unique<ComponentInfo>(std::move(info)));
  return *list_.back();
}

const ComponentInfo* Registry::find(std::string_view name) const {
  for (const auto& info : list_)
    if (info->name == name) return info.get();
  return nullptr;
}

std::vector<std::string> Registry::names() const {
  std::vector<std::string> names;
  for (const auto& info : list_) names.push_back(info->name);
  return names;
}

void Registry::read(const Node& node, Component& component, Problems& problems) const {
  bool named = node.kind == Node::Kind::scalar;
  if (!named && (node.kind != Node::Kind::map || node.entries.size() != 1)) {
    std::string found = node.kind == Node::Kind::map
                            ? str("a map with ", node.entries.size(), " keys")
                            : internal::described(node);
    problems.add(node.mark,
                 "expected one " + role_ + " (a name, or name: {options}), found " + found,
                 "known: " + join(names(), ", "));
    return;
  }
  const std::string& name = named ? node.scalar : node.entries[0].key;
  const Mark& mark = named ? node.mark : node.entries[0].mark;
  const ComponentInfo* info = find(name);
  if (info == nullptr) {
    problems.add(mark, "unknown " + role_ + " " + internal::shown(name),
                 internal::suggestion(name, names(), "known"));
    return;
  }
  Node defaults;
  defaults.mark = mark;
  read_options(*info, named ? defaults : node.entries[0].value, component, problems);
  component.mark = mark;
}

void Registry::read_options(const ComponentInfo& info, const Node& node, Component& component,
                            Problems& problems) {
  const StructInfo& description = info.options();
  component.info = &info;
  component.options = description.make();
  component.mark = node.mark;
  read_struct(description, node, component.options.get(), problems);
}

Node Registry::write(const Component& component) {
  Node options = write_struct(component.info->options(), component.options.get());
  if (options.entries.empty()) return Node::text(component.name());
  Node node = Node::map();
  node.add(component.name(), std::move(options));
  return node;
}

Component Registry::defaults(std::string_view name) const {
  const ComponentInfo* info = find(name);
  if (info == nullptr)
    throw Error(ErrorKind::recipe, "unknown " + role_ + " " + internal::shown(name), "",
                internal::suggestion(name, names(), "known"));
  return {info, info->options().make(), {}};
}

void read_components(const Registry& registry, const Node& node, std::vector<Component>& list,
                     Problems& problems) {
  list.clear();
  auto one = [&](const Node& item) {
    Component component;
    registry.read(item, component, problems);
    if (component) list.push_back(std::move(component));
  };
  if (node.kind == Node::Kind::list) {
    for (const Node& item : node.items) one(item);
  } else if (node.kind == Node::Kind::map) {
    for (const Node::Entry& entry : node.entries) {
      Node single = Node::map();
      single.mark = entry.mark;
      single.entries.push_back(entry);
      one(single);
    }
  } else {
    one(node);
  }
}

void read_named_components(const Registry& registry, const Node& node,
                           std::vector<Named<Component>>& list, Problems& problems) {
  list.clear();
  if (node.kind != Node::Kind::map) {
    problems.add(node.mark, "expected a map of names to one " + registry.role() + " each");
    return;
  }
  for (const Node::Entry& entry : node.entries) {
    Named<Component> named{entry.key, entry.mark, {}};
    registry.read(entry.value, named.value, problems);
    if (named.value) list.push_back(std::move(named));
  }
}

Node write_components(const std::vector<Component>& list) {
  if (list.empty()) return {};
  Node node = Node::list();
  for (const Component& component : list) node.items.push_back(Registry::write(component));
  return node;
}

}  // namespace compress::recipe
