#pragma once
// Where a stage stands, and lengths of time with a unit.

#include <cstdint>
#include <string>
#include <string_view>

namespace compress {

// How long a training stage is.
struct Length {
  int64_t total_steps = 0;      // updates of the whole stage
  int64_t steps_per_epoch = 0;  // updates of one pass over the data
};

// The one clock of a training stage. Every schedule is a pure function of it.
struct Progress {
  int64_t step = 0;             // optimizer updates done
  int64_t total_steps = 0;      // updates of the whole stage
  int64_t steps_per_epoch = 0;  // updates of one pass over the data
  static Progress begin(const Length& length) {
    return {0, length.total_steps, length.steps_per_epoch};
  }
  Length length() const { return {total_steps, steps_per_epoch}; }
  double fraction() const {
    return total_steps > 0 ? static_cast<double>(step) / static_cast<double>(total_steps) : 0.0;
  }
  double epoch() const {
    return steps_per_epoch > 0 ? static_cast<double>(step) / static_cast<double>(steps_per_epoch)
                               : 0.0;
  }
};

// "500 steps", "3 epochs", "10%": a length or a point in a stage.
struct Duration {
  enum class Unit { steps, epochs, percent };
  double value = 0;
  Unit unit = Unit::steps;

  static Duration steps(int64_t n) { return {static_cast<double>(n), Unit::steps}; }
  static Duration epochs(double n) { return {n, Unit::epochs}; }
  static Duration percent(double n) { return {n, Unit::percent}; }

  // Parses "500 steps", "1 step", "3 epochs", "0.5 epoch", "10%", "10 %". Returns false (and leaves
  // `out`) otherwise: a number without a unit, a negative number, steps that are not whole, percent
  // over 100.
  static bool parse(std::string_view text, Duration& out);
  std::string text() const;

  // Whole updates, rounded to nearest. `total_steps` is what a percentage refers to.
  int64_t resolve(int64_t steps_per_epoch, int64_t total_steps) const;
  bool operator==(const Duration&) const = default;
};

}  // namespace compress
