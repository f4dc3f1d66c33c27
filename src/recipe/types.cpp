// Booleans, numbers and text.

#include <charconv>
#include <cmath>

#include "compress/base/strings.h"
#include "compress/recipe/options.h"
#include "internal.h"

namespace compress::recipe {

namespace {

std::string_view without_plus(std::string_view text) {
  bool plus = text.size() > 1 && text[0] == '+' && text[1] != '-' && text[1] != '+';
  return plus ? text.substr(1) : text;
}

// "1_000" -> "1000"; underscores elsewhere than between digits stay and make the number invalid.
std::string without_underscores(std::string_view text) {
  auto digit = [&](size_t i) { return i < text.size() && text[i] >= '0' && text[i] <= '9'; };
  std::string out;
  for (size_t i = 0; i < text.size(); ++i)
    if (text[i] != '_' || i == 0 || !digit(i - 1) || !digit(i + 1)) out += text[i];
  return out;
}

bool refuse(const Node& node, const std::string& expected, Problems& problems,
            std::string hint = {}) {
  if (node.kind == Node::Kind::scalar && node.quoted && hint.empty()) hint = "remove the quotes";
  problems.add(node.mark, "expected " + expected + ", found " + internal::described(node),
               std::move(hint));
  return false;
}

}  // namespace

std::optional<double> internal::to_number(std::string_view text) {
  text = without_plus(text);
  double value = 0;
  auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc() || end != text.data() + text.size() || !std::isfinite(value))
    return {};
  return value;
}

std::string Type<bool>::name() {
  return "true or false";
}
Json Type<bool>::schema() {
  return Json{{"type", "boolean"}};
}

bool Type<bool>::read(const Node& node, bool& value, Problems& problems) {
  bool plain = node.kind == Node::Kind::scalar && !node.quoted;
  if (plain && (node.scalar == "true" || node.scalar == "false")) {
    value = node.scalar == "true";
    return true;
  }
  std::string hint, lower = lower_ascii(node.scalar);
  for (const char* word : {"true", "yes", "on", "y", "1"})
    if (plain && lower == word) hint = "write true";
  for (const char* word : {"false", "no", "off", "n", "0"})
    if (plain && lower == word) hint = "write false";
  return refuse(node, "true or false", problems, hint);
}

Node Type<bool>::write(const bool& value) {
  return Node::of(value ? "true" : "false");
}

std::string Type<int64_t>::name() {
  return "whole number";
}
Json Type<int64_t>::schema() {
  return Json{{"type", "integer"}};
}

bool Type<int64_t>::read(const Node& node, int64_t& value, Problems& problems) {
  if (node.kind != Node::Kind::scalar || node.quoted)
    return refuse(node, "a whole number", problems);
  std::string digits = without_underscores(without_plus(node.scalar));
  int64_t number = 0;
  auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  bool whole = end == digits.data() + digits.size();
  if (failure == std::errc::result_out_of_range && whole) {
    problems.add(node.mark, internal::shown(node.scalar) + " does not fit a 64-bit whole number");
    return false;
  }
  if (failure == std::errc() && whole) {
    value = number;
    return true;
  }
  std::string hint;
  std::optional<double> real = internal::to_number(node.scalar);
  if (real && std::fabs(*real) < 1e15 && std::floor(*real) == *real)
    hint = str("write ", static_cast<int64_t>(*real));
  return refuse(node, "a whole number", problems, hint);
}

void Type<int64_t>::numbers(const int64_t& value, const Node& node, const VisitNumber& visit) {
  visit(static_cast<double>(value), node);
}

Node Type<int64_t>::write(const int64_t& value) {
  return Node::of(std::to_string(value));
}

std::string Type<double>::name() {
  return "number";
}
Json Type<double>::schema() {
  return Json{{"type", "number"}};
}

bool Type<double>::read(const Node& node, double& value, Problems& problems) {
  if (node.kind != Node::Kind::scalar || node.quoted) return refuse(node, "a number", problems);
  std::optional<double> number = internal::to_number(node.scalar);
  if (number) {
    value = *number;
    return true;
  }
  std::string lower = lower_ascii(node.scalar), hint;
  if (lower.ends_with("inf") || lower.ends_with("nan"))
    hint = "the number must be finite";
  else if (lower.ends_with("%"))
    hint = "a part of a whole is written as a decimal here";
  return refuse(node, "a number", problems, hint);
}

// A number that is not finite cannot be read: it is left out, so that the default stands for it.
void Type<double>::numbers(const double& value, const Node& node, const VisitNumber& visit) {
  visit(value, node);
}

Node Type<double>::write(const double& value) {
  return std::isfinite(value) ? Node::of(shortest(value)) : Node();
}

std::string Type<std::string>::name() {
  return "text";
}

// A plain number or boolean is text, too.
Json Type<std::string>::schema() {
  return Json{{"type", Json::array({"string", "number", "boolean"})}};
}

bool Type<std::string>::read(const Node& node, std::string& value, Problems& problems) {
  if (node.kind != Node::Kind::scalar)
    return refuse(node, "text", problems, node.is_null() ? "write \"\" for an empty text" : "");
  value = node.scalar;
  return true;
}

Node Type<std::string>::write(const std::string& value) {
  return Node::text(value);
}

}  // namespace compress::recipe
