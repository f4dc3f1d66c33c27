// Reading and writing option structs.

#include "compress/recipe/options.h"

#include <algorithm>

#include "compress/base/strings.h"
#include "internal.h"

namespace compress::recipe {

const Field* StructInfo::find(std::string_view key) const {
  for (const Field& field : fields)
    if (std::find(field.keys.begin(), field.keys.end(), key) != field.keys.end()) return &field;
  return nullptr;
}

std::vector<std::string> StructInfo::keys() const {
  std::vector<std::string> all;
  for (const Field& field : fields) all.insert(all.end(), field.keys.begin(), field.keys.end());
  return all;
}

namespace {

std::string required_hint(const Field& field) {
  return field.doc.empty() ? field.type : field.type + ": " + field.doc;
}

// Reports keys that no field has. Returns the keys that they were probably meant to be: those are
// not reported as missing, too.
std::vector<std::string> report_unknown(const StructInfo& info, const Node& map,
                                        Problems& problems) {
  std::vector<std::string> meant;
  std::vector<std::string> keys = info.keys();
  for (const Node::Entry& entry : map.entries) {
    if (info.find(entry.key) != nullptr) continue;
    std::string hint = keys.empty() ? info.name + " has no options"
                                    : internal::suggestion(entry.key, keys, "valid keys");
    problems.add(entry.mark, "unknown key " + internal::shown(entry.key) + " in " + info.name,
                 hint);
    meant.push_back(nearest(entry.key, keys));
  }
  return meant;
}

void read_map(const StructInfo& info, const Node& node, void* object, Problems& problems) {
  std::vector<std::string> meant = report_unknown(info, node, problems);
  // In the order of the fields: components given as keys apply in the order of their registration.
  for (const Field& field : info.fields) {
    bool found = false;
    for (const Node::Entry& entry : node.entries) {
      if (std::find(field.keys.begin(), field.keys.end(), entry.key) == field.keys.end()) continue;
      field.read(entry.value, object, problems);
      found = true;
    }
    bool misspelt = std::find(meant.begin(), meant.end(), field.key) != meant.end();
    if (field.required && !found && !misspelt)
      problems.add(node.mark, "missing required key '" + field.key + "' in " + info.name,
                   required_hint(field));
  }
}

}  // namespace

void read_struct(const StructInfo& info, const Node& node, void* object, Problems& problems) {
  size_t before = problems.list().size();
  if (info.set_mark) info.set_mark(object, node.mark);
  bool map = node.kind == Node::Kind::map || node.is_null();  // `adamw:` means all defaults
  if (map) {
    read_map(info, node, object, problems);
  } else if (!info.shorthand.empty()) {
    Node full = Node::map();
    full.mark = node.mark;
    full.entries.push_back({info.shorthand, node.mark, node});
    read_map(info, full, object, problems);
  } else {
    std::vector<std::string> keys = info.keys();
    problems.add(
        node.mark,
        "expected a map with the options of " + info.name + ", found " + internal::described(node),
        keys.empty() ? "it has no options" : "valid keys: " + join(keys, ", "));
  }
  if (problems.list().size() != before) return;
  for (const auto& check : info.checks) check(object, node.mark, problems);
}

void find_references(const StructInfo& info, const void* object, const std::string& path,
                     std::vector<Referred>& found) {
  for (const Field& field : info.fields)
    if (field.references)
      field.references(object, path.empty() ? field.key : path + "." + field.key, found);
}

void add_references(const Component& component, const std::string& path,
                    std::vector<Referred>& found) {
  if (component)
    find_references(component.info->options(), component.options.get(),
                    path.empty() ? component.name() : path + "." + component.name(), found);
}

std::vector<Referred> references_of(const Component& component) {
  std::vector<Referred> found;
  if (component) find_references(component.info->options(), component.options.get(), "", found);
  return found;
}

Node write_struct(const StructInfo& info, const void* object) {
  Node map = Node::map();
  for (const Field& field : info.fields) {
    Node value = field.write(object);
    if (!value.is_null()) map.add(field.key, std::move(value));
  }
  return map;
}

}  // namespace compress::recipe
