#pragma once
// Checks of numbers on the command line.

#include <CLI/CLI.hpp>
#include <string>

#include "compress/base/strings.h"

namespace compress::cli {

// A number from `low` to `high`. CLI::Range lets NaN through, beside which no comparison fails.
inline CLI::Validator number_between(double low, double high) {
  return CLI::Validator(
      [low, high](std::string& text) {
        double value = 0;
        if (CLI::detail::lexical_cast(text, value) && value >= low && value <= high)
          return std::string();
        return str("Value ", text, " not in range ", shortest(low), " to ", shortest(high));
      },
      str("FLOAT in [", shortest(low), " - ", shortest(high), "]"));
}

}  // namespace compress::cli
