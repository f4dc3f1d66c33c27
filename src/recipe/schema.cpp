// JSON schema (draft 2020-12) of structs and components. The outermost call collects every struct
// below it in `$defs`, which also ends recursion.

#include "compress/recipe/options.h"
#include "internal.h"

namespace compress::recipe {

namespace {

struct Definitions {
  std::map<const StructInfo*, std::string> names;
  Json schemas = Json::object();
};

// The definitions of the schema that this thread is making; nullptr outside.
thread_local Definitions* collecting = nullptr;

template <class Make>
Json with_definitions(const Make& make) {
  struct Scope {
    explicit Scope(Definitions* definitions) { collecting = definitions; }
    ~Scope() { collecting = nullptr; }
  };
  Definitions definitions;
  Scope scope(&definitions);
  Json schema = make();
  if (!definitions.schemas.empty()) schema["$defs"] = std::move(definitions.schemas);
  return schema;
}

// A value as JSON, for `default`. Unquoted scalars are numbers or booleans where they look like it.
Json to_json(const Node& node) {
  if (node.kind == Node::Kind::list) {
    Json list = Json::array();
    for (const Node& item : node.items) list.push_back(to_json(item));
    return list;
  }
  if (node.kind == Node::Kind::map) {
    Json map = Json::object();
    for (const Node::Entry& entry : node.entries) map[entry.key] = to_json(entry.value);
    return map;
  }
  if (node.is_null()) return nullptr;
  if (node.quoted) return node.scalar;
  if (node.scalar == "true" || node.scalar == "false") return node.scalar == "true";
  if (!internal::to_number(node.scalar)) return node.scalar;
  return Json::parse(node.scalar);  // written by to_chars: valid JSON, whole numbers stay whole
}

Json inline_schema(const StructInfo& info) {
  std::shared_ptr<void> defaults = info.make();
  Json properties = Json::object(), required = Json::array(), shorthand;
  for (const Field& field : info.fields) {
    Json property = field.schema();
    if (field.key == info.shorthand) shorthand = property;
    if (!field.doc.empty()) property["description"] = field.doc;
    Node initial = field.required ? Node() : field.write(defaults.get());
    if (!initial.is_null() && initial.kind != Node::Kind::map)
      property["default"] = to_json(initial);
    if (field.required) required.push_back(field.key);
    properties[field.key] = std::move(property);
  }
  Json map{{"type", "object"}, {"properties", std::move(properties)}};
  if (!required.empty()) map["required"] = std::move(required);
  map["additionalProperties"] = false;
  if (shorthand.is_null()) return map;
  return Json{{"anyOf", Json::array({std::move(map), std::move(shorthand)})}};
}

std::string definition_name(const StructInfo& info, const Definitions& definitions) {
  std::string base;
  for (char c : info.name) {
    bool plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
    base += plain ? c : '_';
  }
  auto taken = [&](const std::string& name) {
    for (const auto& [other, used] : definitions.names)
      if (used == name) return true;
    return false;
  };
  std::string name = base;
  for (int n = 2; taken(name); ++n) name = base + "_" + std::to_string(n);
  return name;
}

Json reference(const StructInfo& info) {
  Definitions& definitions = *collecting;
  auto known = definitions.names.find(&info);
  if (known == definitions.names.end()) {
    known = definitions.names.emplace(&info, definition_name(info, definitions)).first;
    Json schema = inline_schema(info);  // may refer to itself: the name is already taken
    definitions.schemas[known->second] = std::move(schema);
  }
  return Json{{"$ref", "#/$defs/" + known->second}};
}

Json nullable(Json schema) {
  return Json{{"anyOf", Json::array({std::move(schema), Json{{"type", "null"}}})}};
}

bool needs_options(const ComponentInfo& info) {
  for (const Field& field : info.options().fields)
    if (field.required) return true;
  return false;
}

// `name`, or a map of names to options with one key (any number of keys when `many`).
Json one_component(const Registry& registry, bool many) {
  Json names = Json::array(), properties = Json::object();
  for (const auto& info : registry.list()) {
    if (!needs_options(*info)) names.push_back(info->name);
    Json options = nullable(struct_schema(info->options()));
    if (!info->summary.empty()) options["description"] = info->summary;
    properties[info->name] = std::move(options);
  }
  Json map{{"type", "object"},
           {"properties", std::move(properties)},
           {"additionalProperties", false},
           {"minProperties", 1}};
  if (!many) map["maxProperties"] = 1;
  Json options = Json::array();
  if (!names.empty()) options.push_back(Json{{"enum", std::move(names)}});
  options.push_back(std::move(map));
  return Json{{"anyOf", std::move(options)}};
}

}  // namespace

Json struct_schema(const StructInfo& info) {
  if (collecting != nullptr) return reference(info);
  return with_definitions([&] { return inline_schema(info); });
}

Json document_schema(const StructInfo& root, const std::string& title) {
  Json document{{"$schema", "https://json-schema.org/draft/2020-12/schema"}, {"title", title}};
  document.update(struct_schema(root));
  return document;
}

Json Registry::schema() const {
  if (collecting != nullptr) return one_component(*this, false);
  return with_definitions([&] { return one_component(*this, false); });
}

Json components_schema(const Registry& registry) {
  auto make = [&] {
    Json list{{"type", "array"}, {"items", one_component(registry, false)}};
    return Json{{"anyOf", Json::array({std::move(list), one_component(registry, true)})}};
  };
  return collecting != nullptr ? make() : with_definitions(make);
}

}  // namespace compress::recipe
