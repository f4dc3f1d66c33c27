// Rules on one field: ranges of numbers and lists of names. A rule looks at what the field wrote
// back after reading (so that it sees numbers whatever their notation) and reports at the place
// that was read.

#include <algorithm>
#include <charconv>

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
    if (high == unbounded) return (open ? "above " : "at least ") + shortest(low);
    return "between " + shortest(low) + " and " + shortest(high);
  }
};

// Calls visit(written scalar, source node) for each scalar of a written value. A ramp has its two
// ends and the values of its table.
template <class Visit>
void each_scalar(const Node& written, const Node& source, bool ramp, const Visit& visit) {
  if (written.kind == Node::Kind::scalar) {
    const Node* end = ramp ? source.find("from") : nullptr;
    visit(written, end != nullptr ? *end : source);
  }
  bool paired = source.kind == Node::Kind::list && source.items.size() == written.items.size();
  for (size_t i = 0; i < written.items.size(); ++i)
    each_scalar(written.items[i], paired ? source.items[i] : source, ramp, visit);
  for (const Node::Entry& entry : written.entries) {
    const Node* value = source.find(entry.key);
    bool skip = ramp && (entry.key == "begin" || entry.key == "end" || entry.key == "every" ||
                         entry.key == "whole");
    if (!skip) each_scalar(entry.value, value != nullptr ? *value : source, ramp, visit);
  }
}

// The number in front of a possible unit: "3 epochs" -> 3.
double leading_number(const std::string& text) {
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
      values.push_back(json_number(leading_number(name)));
    else
      values.push_back(name);
  }
  scalar = Json{{"enum", std::move(values)}};
}

// Runs `rule` on each scalar once the field was read without problems.
template <class Rule>
void add_rule(Field& field, const Rule& rule) {
  bool ramp = field.type.find(Type<Ramp>::name()) != std::string::npos;
  field.read = [read = field.read, write = field.write, ramp, rule](const Node& node, void* object,
                                                                    Problems& problems) {
    size_t before = problems.list().size();
    read(node, object, problems);
    if (problems.list().size() != before) return;
    each_scalar(write(object), node, ramp,
                [&](const Node& written, const Node& source) { rule(written, source, problems); });
  };
}

}  // namespace

void restrict_field_number(Field& field, double low, double high, bool open) {
  Bounds bounds{low, high, open};
  add_rule(field, [bounds, key = field.key](const Node& written, const Node& source,
                                            Problems& problems) {
    if (bounds.allows(leading_number(written.scalar))) return;
    const std::string& found = source.kind == Node::Kind::scalar ? source.scalar : written.scalar;
    problems.add(source.mark,
                 "'" + key + "' must be " + bounds.text() + ", found " + internal::shown(found));
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
  add_rule(field, [names, may_be_empty, key = field.key](const Node& written, const Node& source,
                                                         Problems& problems) {
    if (std::find(names.begin(), names.end(), written.scalar) != names.end()) return;
    if (may_be_empty && written.scalar.empty()) return;
    std::string near = nearest(written.scalar, names);
    problems.add(source.mark,
                 "'" + key + "' must be one of " + join(names, ", ") + ", found " +
                     internal::shown(written.scalar),
                 near.empty() ? "" : "did you mean '" + near + "'?");
  });
  field.type = (field.type.starts_with("list of ") ? "list of: " : "one of ") + join(names, ", ");
  field.schema = [schema = field.schema, names = std::move(names)] {
    Json whole = schema();
    each_scalar_schema(whole, [&](Json& scalar) { enumerate_schema(scalar, names); });
    return whole;
  };
}

}  // namespace compress::recipe
