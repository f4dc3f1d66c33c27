#include "compress/base/progress.h"

#include <charconv>
#include <cmath>
#include <limits>

#include "compress/base/strings.h"

namespace compress {

namespace {

// Beyond this a double no longer holds every whole number.
constexpr double largest = 9007199254740992.0;

int64_t rounded(double steps) {
  if (!(steps < 9.2e18)) return std::numeric_limits<int64_t>::max();
  return std::llround(steps);
}

std::string number(double value) {
  bool whole = value == std::floor(value) && std::fabs(value) <= largest;
  return whole ? std::to_string(static_cast<int64_t>(value)) : shortest(value);
}

}  // namespace

bool Duration::parse(std::string_view text, Duration& out) {
  text = trim(text);
  double value = 0;
  auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  // from_chars takes "inf", "nan" and "-0", which are no lengths.
  if (status != std::errc() || !std::isfinite(value) || std::signbit(value) || value > largest)
    return false;
  std::string_view rest = text.substr(static_cast<size_t>(end - text.data()));
  std::string_view unit = trim(rest);
  if (unit == "%") {
    if (value > 100) return false;
    out = percent(value);
    return true;
  }
  if (unit.size() == rest.size()) return false;  // "500steps": a word stands apart from its number
  if (unit == "steps" || unit == "step") {
    if (value != std::floor(value)) return false;
    out = {value, Unit::steps};
    return true;
  }
  if (unit != "epochs" && unit != "epoch") return false;
  out = epochs(value);
  return true;
}

std::string Duration::text() const {
  switch (unit) {
    case Unit::steps:
      return number(value) + (value == 1 ? " step" : " steps");
    case Unit::epochs:
      return number(value) + (value == 1 ? " epoch" : " epochs");
    case Unit::percent:
      return number(value) + "%";
  }
  return {};
}

int64_t Duration::resolve(int64_t steps_per_epoch, int64_t total_steps) const {
  switch (unit) {
    case Unit::steps:
      return rounded(value);
    case Unit::epochs:
      return rounded(value * static_cast<double>(steps_per_epoch));
    case Unit::percent:
      return rounded(value * static_cast<double>(total_steps) / 100);
  }
  return 0;
}

}  // namespace compress
