// Rules on one field: ranges of numbers and lists of names. A rule looks at what was read, and
// reports at its place.

#include <algorithm>
#include <charconv>
#include <cmath>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/recipe/options.h"
#include "internal.h"

namespace compress::recipe {

namespace {

struct Bounds {
  double low, high;
  bool open;

  bool allows(double x) const { return (open ? x > low : x >= low) && x <= high; }
  // "above 0", "at least 1", "between 0 and 1"
  std::string text() const {
    if (high == unbounded) return (open ? "above " : "at least ") + told(low);
    return "between " + told(low) + " and " + told(high);
  }

 private:
  // A whole number without an exponent.
  static std::string told(double x) {
    const bool whole = std::abs(x) < 1e15 && x == std::trunc(x);
    return whole ? str(static_cast<int64_t>(x)) : shortest(x);
  }
};

double number_of(const std::string& text) {
  double value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

// Calls edit(schema of a scalar) for each scalar type within `schema`.
template <class Edit>
void each_scalar_schema(Json& schema, const Edit& edit) {
  if (schema.contains("anyOf"))
    for (Json& option : schema["anyOf"]) each_scalar_schema(option, edit);
  if (!schema.contains("type")) return;
  if (schema["type"] == "array") return each_scalar_schema(schema["items"], edit);
  if (schema["type"] != "object") return edit(schema);
  // Every value of a map of names; the ends of a ramp, or the values of its table.
  if (schema.contains("additionalProperties") && schema["additionalProperties"].is_object())
    each_scalar_schema(schema["additionalProperties"], edit);
  if (!schema.contains("properties")) return;
  for (const char* end : {"from", "to", "table"})
    if (schema["properties"].contains(end)) each_scalar_schema(schema["properties"][end], edit);
}

// A whole number is written without a decimal point.
Json json_number(double value) {
  bool whole = value == static_cast<double>(static_cast<int64_t>(value));
  return whole ? Json(static_cast<int64_t>(value)) : Json(value);
}

void bound_schema(Json& scalar, const Bounds& bounds) {
  if (scalar["type"] != "number" && scalar["type"] != "integer") return;
  scalar.erase("minimum");
  scalar[bounds.open ? "exclusiveMinimum" : "minimum"] = json_number(bounds.low);
  if (bounds.high != unbounded) scalar["maximum"] = json_number(bounds.high);
}

void enumerate_schema(Json& scalar, const std::vector<std::string>& names) {
  Json values = Json::array();
  for (const std::string& name : names) {
    if (scalar["type"] == "integer" || scalar["type"] == "number")
      values.push_back(json_number(number_of(name)));
    else
      values.push_back(name);
  }
  scalar = Json{{"enum", std::move(values)}};
}

// Runs rule(object, node, problems) once the field was read without problems.
template <class Rule>
void add_rule(Field& field, Rule rule) {
  field.read = [read = field.read, rule = std::move(rule)](const Node& node, void* object,
                                                           Problems& problems) {
    const size_t before = problems.list().size();
    read(node, object, problems);
    if (problems.list().size() == before) rule(object, node, problems);
  };
}

}  // namespace

void restrict_field_number(Field& field, double low, double high, bool open) {
  if (!field.numbers)
    throw Error(ErrorKind::internal, "the numbers of '" + field.key + "' cannot be bounded");
  Bounds bounds{low, high, open};
  add_rule(field, [bounds, key = field.key, numbers = field.numbers](
                      const void* object, const Node& node, Problems& problems) {
    numbers(object, node, [&](double x, const Node& source) {
      if (bounds.allows(x)) return;
      const bool scalar = source.kind == Node::Kind::scalar;
      problems.add(source.mark, "'" + key + "' must be " + bounds.text() + ", found " +
                                    internal::shown(scalar ? source.scalar : shortest(x)));
    });
  });
  field.type += ", " + bounds.text();
  field.schema = [schema = field.schema, bounds] {
    Json whole = schema();
    each_scalar_schema(whole, [&](Json& scalar) { bound_schema(scalar, bounds); });
    return whole;
  };
}

void restrict_field_names(Field& field, std::vector<std::string> names) {
  // A resolved recipe spells out that nothing was chosen, and is a recipe again.
  const bool may_be_empty =
      !field.required && field.default_text.empty() && field.type == Type<std::string>::name();
  add_rule(field, [names, may_be_empty, key = field.key, write = field.write](
                      const void* object, const Node& node, Problems& problems) {
    auto check = [&](const Node& written, const Node& source) {
      if (std::find(names.begin(), names.end(), written.scalar) != names.end()) return;
      if (may_be_empty && written.scalar.empty()) return;
      problems.add(source.mark,
                   "'" + key + "' must be one of " + join(names, ", ") + ", found " +
                       internal::shown(written.scalar),
                   did_you_mean(written.scalar, names));
    };
    const Node written = write(object);
    if (written.kind == Node::Kind::scalar) check(written, node);
    for (size_t i = 0; i < written.items.size(); ++i)
      check(written.items[i], node.kind == Node::Kind::list ? node.items[i] : node);
  });
  field.type = (field.type.starts_with("list of ") ? "list of: " : "one of ") + join(names, ", ");
  field.schema = [schema = field.schema, names = std::move(names)] {
    Json whole = schema();
    each_scalar_schema(whole, [&](Json& scalar) { enumerate_schema(scalar, names); });
    return whole;
  };
}

}  // namespace compress::recipe
