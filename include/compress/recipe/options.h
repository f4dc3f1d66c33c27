#pragma once
// Typed option structs. A component keeps its options in a plain struct with defaults and describes
// them once:
//
//   struct SoftLabelsOptions {
//     double temperature = 1;
//     static const recipe::Options<SoftLabelsOptions>& options();
//   };
//   const recipe::Options<SoftLabelsOptions>& SoftLabelsOptions::options() {
//     static const auto description = recipe::Options<SoftLabelsOptions>("soft_labels")
//         .field("temperature", &SoftLabelsOptions::temperature, "softens the teacher").above(0);
//     return description;
//   }
//
// That one description feeds the reader, `compress explain`, `compress schema`, the resolved recipe
// and docs/methods.md.

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "compress/recipe/node.h"
#include "compress/recipe/problems.h"
#include "compress/recipe/values.h"

namespace compress::recipe {

using Json = nlohmann::ordered_json;

// One key of an option struct, type-erased.
struct Field {
  std::string key;
  std::string type;          // for people: "number", "duration", "one of a, b"
  std::string doc;           // one line
  std::string default_text;  // "" when required or unset by default
  bool required = false;
  std::function<Json()> schema;  // JSON schema of the value (lazy: may recurse)
  std::function<void(const Node&, void*, Problems&)> read;  // into the struct
  std::function<Node(const void*)> write;  // from the struct; null node = leave out
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

// --- value types

// Type<T> reads, writes and describes a value. Specialised below, in types.cpp and in values.cpp.
template <class T>
struct Type;

template <class T>
concept HasOptions = requires {
  T::options();
};

#define COMPRESS_RECIPE_TYPE(T)                   \
  template <>                                     \
  struct Type<T> {                                \
    static std::string name();                    \
    static Json schema();                         \
    static bool read(const Node&, T&, Problems&); \
    static Node write(const T&);                  \
  };
COMPRESS_RECIPE_TYPE(bool)
COMPRESS_RECIPE_TYPE(int64_t)  // "1000", "1_000"; no fraction
COMPRESS_RECIPE_TYPE(double)   // finite
COMPRESS_RECIPE_TYPE(std::string)
COMPRESS_RECIPE_TYPE(Duration)
COMPRESS_RECIPE_TYPE(Fraction)
COMPRESS_RECIPE_TYPE(Ramp)
#undef COMPRESS_RECIPE_TYPE

template <HasOptions T>
struct Type<T> {
  static std::string name() { return T::options().info().name; }
  static Json schema() { return struct_schema(T::options().info()); }
  static bool read(const Node& node, T& value, Problems& problems) {
    size_t before = problems.list().size();
    read_struct(T::options().info(), node, &value, problems);
    return problems.list().size() == before;
  }
  static Node write(const T& value) { return write_struct(T::options().info(), &value); }
};

template <class T>
struct Type<std::optional<T>> {
  static std::string name() { return Type<T>::name(); }
  static Json schema() { return Type<T>::schema(); }
  static bool read(const Node& node, std::optional<T>& value, Problems& problems) {
    return Type<T>::read(node, value.emplace(), problems);
  }
  static Node write(const std::optional<T>& value) {
    return value ? Type<T>::write(*value) : Node();
  }
};

// A list; a bare value is a list of one.
template <class T>
struct Type<std::vector<T>> {
  static std::string name() { return "list of " + Type<T>::name(); }
  static Json schema() {
    Json list{{"type", "array"}, {"items", Type<T>::schema()}};
    return Json{{"anyOf", Json::array({std::move(list), Type<T>::schema()})}};
  }
  static bool read(const Node& node, std::vector<T>& value, Problems& problems) {
    value.clear();
    if (node.kind != Node::Kind::list) return Type<T>::read(node, value.emplace_back(), problems);
    bool good = true;
    for (const Node& item : node.items) {
      T read{};
      good = Type<T>::read(item, read, problems) && good;
      value.push_back(std::move(read));
    }
    return good;
  }
  static Node write(const std::vector<T>& value) {
    Node list = Node::list();
    for (const T& item : value) list.items.push_back(Type<T>::write(item));
    return list;
  }
};

// Named things in file order: {reviews: {...}, news: {...}}.
template <class T>
struct Named {
  std::string name;
  Mark mark;
  T value;
};
template <class T>
struct Type<std::vector<Named<T>>> {
  static std::string name() { return "map of names to " + Type<T>::name(); }
  static Json schema() {
    return Json{{"type", "object"}, {"additionalProperties", Type<T>::schema()}};
  }
  static bool read(const Node& node, std::vector<Named<T>>& value, Problems& problems) {
    value.clear();
    if (node.kind != Node::Kind::map) {
      problems.add(node.mark, "expected a map of names");
      return false;
    }
    bool good = true;
    for (const Node::Entry& entry : node.entries) {
      value.push_back({entry.key, entry.mark, T{}});
      good = Type<T>::read(entry.value, value.back().value, problems) && good;
    }
    return good;
  }
  static Node write(const std::vector<Named<T>>& value) {
    Node map = Node::map();
    for (const auto& item : value) map.add(item.name, Type<T>::write(item.value));
    return map;
  }
};

// --- rules on fields and lists of components (used by the builder below) ---

// Wraps the field's reader so that its numbers obey low <= x <= high (low < x when `open`; `high`
// may be `unbounded`), and says so in the type text and the schema. Holds for numbers, durations
// (their value, whatever the unit), fractions, both ends of a ramp, and for lists and maps of
// these.
inline constexpr double unbounded = std::numeric_limits<double>::infinity();
void restrict_field_number(Field& field, double low, double high, bool open);
// The same for scalars (also items of a list) that must be one of `names`.
void restrict_field_names(Field& field, std::vector<std::string> names);

// A list of components; a map with several keys, or one component, is a list too.
void read_components(const Registry& registry, const Node& node, std::vector<Component>& list,
                     Problems& problems);
Node write_components(const std::vector<Component>& list);  // null when empty
Json components_schema(const Registry& registry);

// --- the builder

template <class T>
class Options {
 public:
  explicit Options(std::string name) {
    info_.name = std::move(name);
    info_.make = [] { return std::make_shared<T>(); };
  }

  // A value. Its default is what a default-constructed T holds.
  template <class V>
  Options& field(std::string key, V T::*member, std::string doc) {
    Field field;
    field.key = key;
    field.keys = {key};
    field.type = Type<V>::name();
    field.doc = std::move(doc);
    field.schema = [] { return Type<V>::schema(); };
    field.read = [member](const Node& node, void* object, Problems& problems) {
      Type<V>::read(node, static_cast<T*>(object)->*member, problems);
    };
    Node initial = Type<V>::write(T{}.*member);
    if (initial.kind == Node::Kind::scalar) field.default_text = initial.scalar;
    // An empty list or map is left out where it is the default, and spelled out where it is not.
    bool brief = initial.items.empty() && initial.entries.empty();
    field.write = [member, brief, kind = initial.kind](const void* object) {
      Node node = Type<V>::write(static_cast<const T*>(object)->*member);
      bool empty = node.kind != Node::Kind::scalar && node.items.empty() && node.entries.empty();
      return brief && empty && node.kind == kind ? Node() : node;
    };
    info_.fields.push_back(std::move(field));
    return *this;
  }

  // One component out of `registry`: `key: name` or `key: {name: {...}}`.
  Options& component(std::string key, Component T::*member, const Registry& (*registry)(),
                     std::string doc) {
    Field field;
    field.key = key;
    field.keys = {key};
    field.type = "one " + registry().role();
    field.doc = std::move(doc);
    field.schema = [registry] { return registry().schema(); };
    field.read = [member, registry](const Node& node, void* object, Problems& problems) {
      registry().read(node, static_cast<T*>(object)->*member, problems);
    };
    field.write = [member](const void* object) {
      const Component& component = static_cast<const T*>(object)->*member;
      return component ? Registry::write(component) : Node();
    };
    info_.fields.push_back(std::move(field));
    return *this;
  }

  // A list of components in recipe order. A map with several keys, or one component, is a list too.
  Options& components(std::string key, std::vector<Component> T::*member,
                      const Registry& (*registry)(), std::string doc) {
    Field field;
    field.key = key;
    field.keys = {key};
    field.type = "list of " + registry().role() + "s";
    field.doc = std::move(doc);
    field.schema = [registry] { return components_schema(registry()); };
    field.read = [member, registry](const Node& node, void* object, Problems& problems) {
      read_components(registry(), node, static_cast<T*>(object)->*member, problems);
    };
    field.write = [member](const void* object) {
      return write_components(static_cast<const T*>(object)->*member);
    };
    info_.fields.push_back(std::move(field));
    return *this;
  }

  // Components as keys of this struct itself (`drop_layers: {...}` beside `from:`), applied in
  // registration order.
  Options& components_by_key(std::vector<Component> T::*member, const Registry& (*registry)()) {
    for (const auto& entry : registry().list()) {
      const ComponentInfo* info = entry.get();
      Field field;
      field.key = info->name;
      field.keys = {info->name};
      field.type = info->role;
      field.doc = info->summary;
      field.schema = [info] { return struct_schema(info->options()); };
      field.read = [member, info](const Node& node, void* object, Problems& problems) {
        Component component;
        Registry::read_options(*info, node, component, problems);
        (static_cast<T*>(object)->*member).push_back(std::move(component));
      };
      field.write = [member, info](const void* object) {
        for (const Component& component : static_cast<const T*>(object)->*member)
          if (component.info == info) return write_struct(info->options(), component.options.get());
        return Node();
      };
      info_.fields.push_back(std::move(field));
    }
    return *this;
  }

  // --- rules on the field added last ---
  Options& required() {
    last().required = true;
    last().default_text.clear();
    return *this;
  }
  Options& range(double low, double high) { return bounded(low, high, false); }  // low <= x <= high
  Options& above(double low) { return bounded(low, unbounded, true); }           // x > low
  Options& at_least(double low) { return bounded(low, unbounded, false); }       // x >= low
  Options& one_of(std::vector<std::string> names) {
    restrict_field_names(last(), std::move(names));
    return *this;
  }

  // A rule across fields: check(object, mark of the struct, problems).
  Options& check(std::function<void(const T&, const Mark&, Problems&)> rule) {
    info_.checks.push_back([rule](const void* object, const Mark& mark, Problems& problems) {
      rule(*static_cast<const T*>(object), mark, problems);
    });
    return *this;
  }
  // The member that receives the place of the struct in its file, for later errors.
  Options& mark(Mark T::*member) {
    info_.set_mark = [member](void* object, const Mark& place) {
      static_cast<T*>(object)->*member = place;
    };
    return *this;
  }
  Options& shorthand(std::string key) {
    info_.shorthand = std::move(key);
    return *this;
  }
  const StructInfo& info() const { return info_; }

 private:
  Field& last() { return info_.fields.back(); }
  Options& bounded(double low, double high, bool open) {
    restrict_field_number(last(), low, high, open);
    return *this;
  }
  StructInfo info_;
};

// Makes a ComponentInfo whose options are T's.
template <HasOptions T>
ComponentInfo describe(std::string role, std::string name, std::string summary,
                       std::string equation = {}, std::string paper = {}, std::string notes = {}) {
  return {std::move(role),
          std::move(name),
          std::move(summary),
          std::move(equation),
          std::move(paper),
          std::move(notes),
          []() -> const StructInfo& { return T::options().info(); }};
}

// `compress explain`: a component for the terminal, and as a section of docs/methods.md.
std::string explain_text(const ComponentInfo& info);
std::string explain_markdown(const ComponentInfo& info);

}  // namespace compress::recipe
