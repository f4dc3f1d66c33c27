#pragma once
// Values of options: how each type is read, written and described.

#include <concepts>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "compress/recipe/component.h"
#include "compress/recipe/values.h"

namespace compress::recipe {

// Type<T> reads, writes and describes a value. Specialised below, in types.cpp and in values.cpp.
template <class T>
struct Type;

template <class T>
concept HasOptions = requires {
  T::options();
};

#define COMPRESS_RECIPE_TYPE(T)                 \
  static std::string name();                    \
  static Json schema();                         \
  static bool read(const Node&, T&, Problems&); \
  static Node write(const T&);
#define COMPRESS_RECIPE_WORD(T) \
  template <>                   \
  struct Type<T> {              \
    COMPRESS_RECIPE_TYPE(T)     \
  };
#define COMPRESS_RECIPE_NUMBER(T)                                              \
  template <>                                                                  \
  struct Type<T> {                                                             \
    COMPRESS_RECIPE_TYPE(T)                                                    \
    static void numbers(const T&, const Node& node, const VisitNumber& visit); \
  };
COMPRESS_RECIPE_WORD(bool)
COMPRESS_RECIPE_WORD(std::string)
COMPRESS_RECIPE_NUMBER(int64_t)   // "1000", "1_000"; no fraction
COMPRESS_RECIPE_NUMBER(double)    // finite
COMPRESS_RECIPE_NUMBER(Duration)  // its value, whatever the unit
COMPRESS_RECIPE_NUMBER(Fraction)
COMPRESS_RECIPE_NUMBER(Ramp)  // both ends, or the values of its table
#undef COMPRESS_RECIPE_NUMBER
#undef COMPRESS_RECIPE_WORD
#undef COMPRESS_RECIPE_TYPE

// Visits each number inside a value with the node that it was read from; of types without numbers
// none.
template <class T>
void visit_numbers(const T& value, const Node& node, const VisitNumber& visit) {
  if constexpr (requires { Type<T>::numbers(value, node, visit); })
    Type<T>::numbers(value, node, visit);
}

// Adds the references inside a value, of types that may hold some.
template <class T>
void add_references(const T& value, const std::string& path, std::vector<Referred>& found) {
  if constexpr (requires { Type<T>::references(value, path, found); })
    Type<T>::references(value, path, found);
}
void add_references(const Component& component, const std::string& path,
                    std::vector<Referred>& found);

template <std::derived_from<Reference> R>
struct Type<R> {
  static std::string name() { return Type<std::string>::name(); }
  static Json schema() { return Type<std::string>::schema(); }
  static bool read(const Node& node, R& value, Problems& problems) {
    value.mark = node.mark;
    return Type<std::string>::read(node, value.name, problems);
  }
  static Node write(const R& value) { return Node::text(value.name); }
  static void references(const R& value, const std::string& path, std::vector<Referred>& found) {
    if constexpr (requires { R::to; })
      if (!value.empty()) found.push_back({R::to, path, value});
  }
};

template <class T>
struct Type<Placed<T>> {
  static std::string name() { return Type<T>::name(); }
  static Json schema() { return Type<T>::schema(); }
  static bool read(const Node& node, Placed<T>& value, Problems& problems) {
    value.mark = node.mark;
    return Type<T>::read(node, value.value, problems);
  }
  static Node write(const Placed<T>& value) { return Type<T>::write(value.value); }
  static void numbers(const Placed<T>& value, const Node& node, const VisitNumber& visit) {
    visit_numbers(value.value, node, visit);
  }
};

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
  static void references(const T& value, const std::string& path, std::vector<Referred>& found) {
    find_references(T::options().info(), &value, path, found);
  }
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
  static void numbers(const std::optional<T>& value, const Node& node, const VisitNumber& visit) {
    if (value) visit_numbers(*value, node, visit);
  }
  static void references(const std::optional<T>& value, const std::string& path,
                         std::vector<Referred>& found) {
    if (value) add_references(*value, path, found);
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
  static void numbers(const std::vector<T>& value, const Node& node, const VisitNumber& visit) {
    for (size_t i = 0; i < value.size(); ++i)
      visit_numbers(value[i], node.kind == Node::Kind::list ? node.items[i] : node, visit);
  }
  static void references(const std::vector<T>& value, const std::string& path,
                         std::vector<Referred>& found) {
    for (const T& item : value) add_references(item, path, found);
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
  static void numbers(const std::vector<Named<T>>& value, const Node& node,
                      const VisitNumber& visit) {
    for (size_t i = 0; i < value.size(); ++i)
      visit_numbers(value[i].value, node.entries[i].value, visit);
  }
  static void references(const std::vector<Named<T>>& value, const std::string& path,
                         std::vector<Referred>& found) {
    for (const auto& item : value) add_references(item.value, path + "." + item.name, found);
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
// A map of names to one component each.
void read_named_components(const Registry& registry, const Node& node,
                           std::vector<Named<Component>>& list, Problems& problems);
Json components_schema(const Registry& registry);

}  // namespace compress::recipe
