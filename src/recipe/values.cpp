// Durations, fractions and ramps.

#include "compress/recipe/values.h"

#include <algorithm>
#include <cmath>

#include "compress/base/strings.h"
#include "compress/recipe/options.h"
#include "internal.h"

namespace compress::recipe {

double Ramp::at(const Progress& progress) const {
  if (constant()) return from;
  auto steps = [&](const Duration& duration) {
    return duration.resolve(progress.steps_per_epoch, progress.total_steps);
  };
  if (!table.empty()) {
    double value = table.front().second;
    for (const auto& [point, next] : table)
      if (progress.step >= steps(point)) value = next;
    return value;
  }
  const int64_t first = steps(begin), last = steps(end);
  if (progress.step >= last) return to;
  if (progress.step <= first) return from;
  const int64_t period = std::max<int64_t>(1, steps(every)),
                done = (progress.step - first) / period * period;
  const double part = static_cast<double>(done) / static_cast<double>(last - first);
  if (!whole) return from + part * (to - from);
  const double passed = std::floor(part * (std::abs(to - from) + 1));
  return to > from ? from + passed : from - passed;
}

std::string Type<Duration>::name() {
  return "duration";
}

Json Type<Duration>::schema() {
  return Json{
      {"type", "string"},
      {"pattern", R"(^([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][-+]?[0-9]+)?( +(steps?|epochs?)| *%)$)"}};
}

bool Type<Duration>::read(const Node& node, Duration& value, Problems& problems) {
  if (node.kind == Node::Kind::scalar && Duration::parse(node.scalar, value)) return true;
  const std::string forms = "'3 epochs', '500 steps' or '10%'";
  if (node.kind == Node::Kind::scalar && internal::to_number(node.scalar))
    problems.add(node.mark, "a number needs a unit, found " + internal::shown(node.scalar),
                 "write " + forms);
  else
    problems.add(node.mark,
                 "expected a duration like " + forms + ", found " + internal::described(node),
                 "not negative, whole steps, at most 100%");
  return false;
}

void Type<Duration>::numbers(const Duration& value, const Node& node, const VisitNumber& visit) {
  visit(value.value, node);
}

Node Type<Duration>::write(const Duration& value) {
  return Node::of(value.text());
}

std::string Type<Fraction>::name() {
  return "fraction";
}

Json Type<Fraction>::schema() {
  Json number{{"type", "number"}, {"minimum", 0}, {"maximum", 1}};
  Json percent{{"type", "string"}, {"pattern", "^(100([.]0*)?|[0-9]{1,2}([.][0-9]*)?) *%$"}};
  return Json{{"anyOf", Json::array({std::move(number), std::move(percent)})}};
}

bool Type<Fraction>::read(const Node& node, Fraction& value, Problems& problems) {
  bool scalar = node.kind == Node::Kind::scalar;
  bool percent = scalar && node.scalar.ends_with("%");
  std::optional<double> number;
  if (percent)
    number =
        internal::to_number(trim(std::string_view(node.scalar).substr(0, node.scalar.size() - 1)));
  else if (scalar && !node.quoted)
    number = internal::to_number(node.scalar);
  double whole = percent ? 100 : 1;
  if (number && *number >= 0 && *number <= whole) {
    value.value = *number / whole;
    return true;
  }
  std::string hint = "write 80% or 0.8";
  if (number && !percent && *number >= 2 && *number <= 100)
    hint = "did you mean " + node.scalar + "%?";
  problems.add(
      node.mark,
      "expected a part of a whole between 0 and 1 (0% to 100%), found " + internal::described(node),
      hint);
  return false;
}

void Type<Fraction>::numbers(const Fraction& value, const Node& node, const VisitNumber& visit) {
  visit(value.value, node);
}

// As a decimal: it reads back as the same number, a percentage may not.
Node Type<Fraction>::write(const Fraction& value) {
  return Node::of(shortest(value.value));
}

// The table of a ramp: values by the point from which they hold.
using Table = std::vector<std::pair<Duration, double>>;

template <>
struct Type<Table> {
  static std::string name() { return "map of durations to number"; }
  static Json schema() {
    return Json{{"type", "object"},
                {"propertyNames", Type<Duration>::schema()},
                {"additionalProperties", Type<double>::schema()}};
  }
  static bool read(const Node& node, Table& table, Problems& problems) {
    table.clear();
    if (node.kind != Node::Kind::map || node.entries.empty()) {
      problems.add(node.mark,
                   "expected a map of points to numbers, found " + internal::described(node),
                   "write {0 steps: 10, 3 epochs: 8}");
      return false;
    }
    const size_t before = problems.list().size();
    for (const Node::Entry& entry : node.entries) {
      Node key = Node::of(entry.key);
      key.mark = entry.mark;
      auto& [point, value] = table.emplace_back();
      Type<Duration>::read(key, point, problems);
      Type<double>::read(entry.value, value, problems);
    }
    return problems.list().size() == before;
  }
  static Node write(const Table& table) {
    Node map = Node::map();
    for (const auto& [point, value] : table) map.add(point.text(), Type<double>::write(value));
    return map;
  }
};

namespace {

void check_ramp(const Ramp& ramp, const Mark& mark, Problems& problems) {
  if (ramp.begin.unit == ramp.end.unit && ramp.begin.value > ramp.end.value)
    problems.add(
        mark, "the ramp begins at " + ramp.begin.text() + ", after its end at " + ramp.end.text());
  if (ramp.whole && (ramp.from != std::floor(ramp.from) || ramp.to != std::floor(ramp.to)))
    problems.add(mark, "a ramp in whole numbers goes from one to another, not from " +
                           shortest(ramp.from) + " to " + shortest(ramp.to));
}

const StructInfo& ramp_info() {
  static const auto description =
      Options<Ramp>("ramp")
          .field("from", &Ramp::from, "value up to `begin`")
          .required()
          .field("to", &Ramp::to, "value from `end` on")
          .required()
          .field("begin", &Ramp::begin, "where it starts to move")
          .field("end", &Ramp::end, "where it has arrived")
          .field("every", &Ramp::every, "it moves at whole multiples of this alone")
          .above(0)
          .field("whole", &Ramp::whole, "it takes whole numbers, each for as long")
          .check(check_ramp);
  return description.info();
}

struct TableOnly {
  Table table;
};

const StructInfo& table_info() {
  static const auto description =
      Options<TableOnly>("ramp")
          .field("table", &TableOnly::table, "values, each from its point on")
          .required()
          .check([](const TableOnly& read, const Mark& mark, Problems& problems) {
            for (size_t i = 1; i < read.table.size(); ++i) {
              const Duration &last = read.table[i - 1].first, &next = read.table[i].first;
              if (last.unit == next.unit && last.value >= next.value)
                problems.add(mark, "the points of a table rise, but " + next.text() +
                                       " comes after " + last.text());
            }
          });
  return description.info();
}

}  // namespace

std::string Type<Ramp>::name() {
  return "number or ramp";
}

Json Type<Ramp>::schema() {
  Json number = Type<double>::schema(), duration = Type<Duration>::schema();
  Json properties{{"from", number},  {"to", number},      {"begin", duration},
                  {"end", duration}, {"every", duration}, {"whole", Type<bool>::schema()}};
  Json line{{"type", "object"},
            {"properties", std::move(properties)},
            {"required", Json::array({"from", "to"})},
            {"additionalProperties", false}};
  Json steps{{"type", "object"},
             {"properties", Json{{"table", Type<Table>::schema()}}},
             {"required", Json::array({"table"})},
             {"additionalProperties", false}};
  return Json{{"anyOf", Json::array({number, std::move(line), std::move(steps)})}};
}

bool Type<Ramp>::read(const Node& node, Ramp& value, Problems& problems) {
  if (node.kind == Node::Kind::map) {
    Ramp read;
    size_t before = problems.list().size();
    if (node.find("table") != nullptr) {
      TableOnly steps;
      read_struct(table_info(), node, &steps, problems);
      read.table = std::move(steps.table);
    } else {
      read_struct(ramp_info(), node, &read, problems);
    }
    if (problems.list().size() != before) return false;
    value = std::move(read);
    return true;
  }
  double constant = 0;
  if (!Type<double>::read(node, constant, problems)) return false;
  value = Ramp(constant);
  return true;
}

void Type<Ramp>::numbers(const Ramp& value, const Node& node, const VisitNumber& visit) {
  if (node.kind != Node::Kind::map) return visit(value.from, node);
  if (const Node* table = node.find("table")) {
    for (size_t i = 0; i < value.table.size(); ++i)
      visit(value.table[i].second, table->entries[i].value);
    return;
  }
  visit(value.from, *node.find("from"));
  visit(value.to, *node.find("to"));
}

Node Type<Ramp>::write(const Ramp& value) {
  if (value.constant()) return Type<double>::write(value.from);
  const TableOnly steps{value.table};
  return value.table.empty() ? write_struct(ramp_info(), &value)
                             : write_struct(table_info(), &steps);
}

}  // namespace compress::recipe
