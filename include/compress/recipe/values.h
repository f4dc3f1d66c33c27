#pragma once
// Value types that recipes use beside numbers and text.

#include <string>

#include "compress/base/progress.h"

namespace compress::recipe {

// A part of a whole in [0, 1]: written "80%" or 0.8.
struct Fraction {
  double value = 0;
  bool operator==(const Fraction&) const = default;
};

// A number that may move during a stage: `0.5`, or `{from: 1, to: 0, begin: 10%, end: 60%}` (linear
// between the two points, constant outside). A pure function of progress.
struct Ramp {
  double from = 1;
  double to = 1;
  Duration begin = Duration::percent(0);
  Duration end = Duration::percent(100);
  Ramp() = default;
  Ramp(double constant) : from(constant), to(constant) {}  // NOLINT: a plain number is a ramp
  double at(const Progress& progress) const;
  bool constant() const { return from == to; }
};

}  // namespace compress::recipe
