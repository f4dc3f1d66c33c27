#pragma once
// Descriptions without types: the keys of an option struct, and components with their registries.

#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "compress/recipe/node.h"
#include "compress/recipe/problems.h"
#include "compress/recipe/reference.h"

namespace compress::recipe {

using Json = nlohmann::ordered_json;

// One key of an option struct, type-erased.
// Told a number and the node that it was read from.
using VisitNumber = std::function<void(double, const Node&)>;

struct Field {
  std::string key;
  std::string type;          // for people: "number", "duration", "one of a, b"
  std::string doc;           // one line
  std::string default_text;  // "" when required or unset by default
  bool required = false;
  std::function<Json()> schema;  // JSON schema of the value (lazy: may recurse)
  std::function<void(const Node&, void*, Problems&)> read;  // into the struct
  std::function<Node(const void*)> write;  // from the struct; null node = leave out
  // Visits the numbers of the field of an object that was read from a node; empty where its type
  // has none.
  std::function<void(const void*, const Node&, const VisitNumber&)> numbers;
  // Adds the references inside; may be empty where there are none.
  std::function<void(const void*, const std::string& path, std::vector<Referred>&)> references;
  std::vector<std::string>
      keys;  // more than one only for a group of component keys (see Options::components_by_key)
};

// The description of an option struct, type-erased.
struct StructInfo {
  std::string name;
  std::vector<Field> fields;
  std::string shorthand;  // key that a bare scalar or list stands for, "" when there is none
  std::function<std::shared_ptr<void>()> make;
  std::vector<std::function<void(const void*, const Mark&, Problems&)>>
      checks;                                        // across fields, after reading
  std::function<void(void*, const Mark&)> set_mark;  // keeps the struct's place; may be empty

  const Field* find(std::string_view key) const;
  std::vector<std::string> keys() const;
};

// Reads a map (or the shorthand) into `object`: unknown keys with the nearest valid one, missing
// required keys, wrong types and ranges all land in `problems` with their marks; nothing is thrown.
void read_struct(const StructInfo& info, const Node& node, void* object, Problems& problems);
Node write_struct(const StructInfo& info, const void* object);
// JSON schema (draft 2020-12) of the map. Nested structs become `$defs` of the outermost schema
// that is being made.
Json struct_schema(const StructInfo& info);
// A whole schema document for editors: struct_schema with `$schema` and a title.
Json document_schema(const StructInfo& root, const std::string& title);

// What a role offers: one named component with its options and its story.
struct ComponentInfo {
  std::string role;      // "objective"
  std::string name;      // "soft_labels"
  std::string summary;   // one line
  std::string equation;  // plain text, may have several lines
  std::string paper;     // authors, year, arXiv number, equation; "" when there is none
  std::string notes;     // needs, order and conflicts, in sentences
  std::function<const StructInfo&()> options;
};

// A component chosen by a recipe: `adamw`, or `{adamw: {lr: 1e-4}}`.
struct Component {
  const ComponentInfo* info = nullptr;
  std::shared_ptr<void> options;
  Mark mark;
  explicit operator bool() const { return info != nullptr; }
  const std::string& name() const { return info->name; }
  template <class T>
  const T& as() const {
    return *static_cast<const T*>(options.get());
  }
};

// The components of one role (or of one recipe key), in the order of registration.
class Registry {
 public:
  explicit Registry(std::string role) : role_(std::move(role)) {}
  const std::string& role() const { return role_; }
  const std::vector<std::unique_ptr<ComponentInfo>>& list() const { return list_; }
  const ComponentInfo* find(std::string_view name) const;
  std::vector<std::string> names() const;
  // Reads a bare name or a map with one key; problems name the nearest component.
  void read(const Node& node, Component& component, Problems& problems) const;
  // Reads the options `node` of component `info`.
  static void read_options(const ComponentInfo& info, const Node& node, Component& component,
                           Problems& problems);
  static Node write(const Component& component);
  Json schema() const;
  // A component with default options (required ones left at the struct's initial values).
  Component defaults(std::string_view name) const;

 protected:
  ComponentInfo& add_info(ComponentInfo info);

 private:
  std::string role_;
  std::vector<std::unique_ptr<ComponentInfo>> list_;
};

// A registry whose entries also carry how to make the component (a std::function type of the role's
// choice).
template <class Make>
class RegistryOf : public Registry {
 public:
  using Registry::Registry;
  void add(ComponentInfo info, Make make) {
    const ComponentInfo& kept = add_info(std::move(info));
    makers_[&kept] = std::move(make);
  }
  const Make& maker(const Component& component) const { return makers_.at(component.info); }

 private:
  std::map<const ComponentInfo*, Make> makers_;
};

}  // namespace compress::recipe
