// Durations, fractions and ramps.

#include "compress/recipe/values.h"

#include "compress/base/strings.h"
#include "compress/recipe/options.h"
#include "internal.h"

namespace compress::recipe {

double Ramp::at(const Progress& progress) const {
  if (constant()) return from;
  int64_t first = begin.resolve(progress.steps_per_epoch, progress.total_steps);
  int64_t last = end.resolve(progress.steps_per_epoch, progress.total_steps);
  if (progress.step >= last) return to;
  if (progress.step <= first) return from;
  double part = static_cast<double>(progress.step - first) / static_cast<double>(last - first);
  return from + part * (to - from);
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

// As a decimal: it reads back as the same number, a percentage may not.
Node Type<Fraction>::write(const Fraction& value) {
  return Node::of(shortest(value.value));
}

namespace {

const StructInfo& ramp_info() {
  static const auto description =
      Options<Ramp>("ramp")
          .field("from", &Ramp::from, "value up to `begin`")
          .required()
          .field("to", &Ramp::to, "value from `end` on")
          .required()
          .field("begin", &Ramp::begin, "where it starts to move")
          .field("end", &Ramp::end, "where it has arrived")
          .check([](const Ramp& ramp, const Mark& mark, Problems& problems) {
            if (ramp.begin.unit == ramp.end.unit && ramp.begin.value > ramp.end.value)
              problems.add(mark, "the ramp begins at " + ramp.begin.text() + ", after its end at " +
                                     ramp.end.text());
          });
  return description.info();
}

}  // namespace

std::string Type<Ramp>::name() {
  return "number or ramp";
}

Json Type<Ramp>::schema() {
  Json number = Type<double>::schema(), duration = Type<Duration>::schema();
  Json properties{{"from", number}, {"to", number}, {"begin", duration}, {"end", duration}};
  Json map{{"type", "object"},
           {"properties", std::move(properties)},
           {"required", Json::array({"from", "to"})},
           {"additionalProperties", false}};
  return Json{{"anyOf", Json::array({number, std::move(map)})}};
}

bool Type<Ramp>::read(const Node& node, Ramp& value, Problems& problems) {
  if (node.kind == Node::Kind::map) {
    Ramp read;
    size_t before = problems.list().size();
    read_struct(ramp_info(), node, &read, problems);
    if (problems.list().size() != before) return false;
    value = read;
    return true;
  }
  double constant = 0;
  if (!Type<double>::read(node, constant, problems)) return false;
  value = Ramp(constant);
  return true;
}

Node Type<Ramp>::write(const Ramp& value) {
  return value.constant() ? Type<double>::write(value.from) : write_struct(ramp_info(), &value);
}

}  // namespace compress::recipe
