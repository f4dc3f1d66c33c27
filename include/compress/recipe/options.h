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

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "compress/recipe/type.h"

namespace compress::recipe {

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
    if constexpr (requires(const V& value, const Node& node, const VisitNumber& visit) {
                    Type<V>::numbers(value, node, visit);
                  })
      field.numbers = [member](const void* object, const Node& node, const VisitNumber& visit) {
        Type<V>::numbers(static_cast<const T*>(object)->*member, node, visit);
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
    field.references = [member](const void* object, const std::string& path, auto& found) {
      add_references(static_cast<const T*>(object)->*member, path, found);
    };
    info_.fields.push_back(std::move(field));
    return *this;
  }

  // One component out of `registry`: `key: name` or `key: {name: {...}}`.
  template <std::derived_from<Registry> R>
  Options& component(std::string key, Component T::*member, const R& (*registry)(),
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
    field.references = [member](const void* object, const std::string& path, auto& found) {
      add_references(static_cast<const T*>(object)->*member, path, found);
    };
    info_.fields.push_back(std::move(field));
    return *this;
  }

  // One component by its own key (`train: {...}` beside `name:`). A second one is a problem; that
  // there is one is the struct's to check.
  template <std::derived_from<Registry> R>
  Options& component_by_key(Component T::*member, const R& (*registry)()) {
    for (const auto& entry : registry().list()) {
      const ComponentInfo* info = entry.get();
      Field field;
      field.key = info->name;
      field.keys = {info->name};
      field.type = info->options().name;
      field.doc = info->summary;
      field.schema = [info] { return struct_schema(info->options()); };
      field.read = [member, info](const Node& node, void* object, Problems& problems) {
        Component& component = static_cast<T*>(object)->*member;
        if (component)
          problems.add(node.mark, info->name + " beside " + component.name(), "remove one of them");
        Registry::read_options(*info, node, component, problems);
      };
      field.write = [member, info](const void* object) {
        const Component& component = static_cast<const T*>(object)->*member;
        if (component.info != info) return Node();
        return write_struct(info->options(), component.options.get());
      };
      info_.fields.push_back(std::move(field));
    }
    return *this;
  }

  // A list of components in recipe order. A map with several keys, or one component, is a list too.
  template <std::derived_from<Registry> R>
  Options& components(std::string key, std::vector<Component> T::*member, const R& (*registry)(),
                      std::string doc) {
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
    field.references = [member](const void* object, const std::string& path, auto& found) {
      for (const Component& component : static_cast<const T*>(object)->*member)
        add_references(component, path, found);
    };
    info_.fields.push_back(std::move(field));
    return *this;
  }

  // Components under names of the recipe's choice, in file order: `{big: {model: x}, own:
  // student}`.
  template <std::derived_from<Registry> R>
  Options& named_components(std::string key, std::vector<Named<Component>> T::*member,
                            const R& (*registry)(), std::string doc) {
    Field field;
    field.key = key;
    field.keys = {key};
    field.type = "map of names to one " + registry().role();
    field.doc = std::move(doc);
    field.schema = [registry] {
      return Json{{"type", "object"}, {"additionalProperties", registry().schema()}};
    };
    field.read = [member, registry](const Node& node, void* object, Problems& problems) {
      read_named_components(registry(), node, static_cast<T*>(object)->*member, problems);
    };
    field.write = [member](const void* object) {
      Node map = Node::map();
      for (const Named<Component>& each : static_cast<const T*>(object)->*member)
        if (each.value) map.add(each.name, Registry::write(each.value));
      return map.entries.empty() ? Node() : map;
    };
    field.references = [member](const void* object, const std::string& path, auto& found) {
      for (const Named<Component>& each : static_cast<const T*>(object)->*member)
        add_references(each.value, path + "." + each.name, found);
    };
    info_.fields.push_back(std::move(field));
    return *this;
  }

  // Components as keys of this struct itself (`drop_layers: {...}` beside `from:`), applied in
  // registration order.
  template <std::derived_from<Registry> R>
  Options& components_by_key(std::vector<Component> T::*member, const R& (*registry)()) {
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
      field.references = [member, info](const void* object, const std::string& path, auto& found) {
        for (const Component& component : static_cast<const T*>(object)->*member)
          if (component.info == info)
            find_references(info->options(), component.options.get(), path, found);
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
