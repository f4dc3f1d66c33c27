#pragma once
// Value types that recipes use beside numbers and text.

#include <string>
#include <utility>
#include <vector>

#include "compress/base/progress.h"

namespace compress::recipe {

// A part of a whole in [0, 1]: written "80%" or 0.8.
struct Fraction {
  double value = 0;
  bool operator==(const Fraction&) const = default;
};

// A number that may move during a stage, a pure function of progress:
//   0.5
//   {from: 1, to: 0, begin: 10%, end: 60%}   linear between the two points, constant outside
//   {from: 1, to: 0, every: 1 epoch}         the same line, which is looked at once an epoch
//   {from: 10, to: 1, whole: true}           10, 9, ..., 1, each for as long
//   {table: {0 steps: 10, 3 epochs: 8}}      each value from its point on; the first also before
struct Ramp {
  double from = 1;
  double to = 1;
  Duration begin = Duration::percent(0);
  Duration end = Duration::percent(100);
  Duration every = Duration::steps(1);  // counted from `begin`
  bool whole = false;
  std::vector<std::pair<Duration, double>> table;  // instead of all others; rising
  Ramp() = default;
  Ramp(double constant) : from(constant), to(constant) {}  // NOLINT: a plain number is a ramp
  double at(const Progress& progress) const;
  bool constant() const { return table.empty() && from == to; }
};

}  // namespace compress::recipe
