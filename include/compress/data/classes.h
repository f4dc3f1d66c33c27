#pragma once
// Which class is which. The one place where class names of data, models, teachers and heads are
// matched.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace compress::data {

// The number that a placeholder stands for: k of "LABEL_k" and of "k" (0, 1, 2, ... without leading
// zeros); nothing for a name that says more, nor for a negative number.
std::optional<int64_t> placeholder_number(std::string_view name);
bool are_placeholders(std::span<const std::string> names);

enum class ClassFit {
  same,       // the same names in the same order
  reordered,  // the same names in another order
  numbered,   // placeholders on both sides, with the same numbers: "1" is LABEL_1
  mismatch,
};
struct ClassMatch {
  ClassFit fit = ClassFit::mismatch;
  std::vector<int64_t> order;  // for each of `ours` its place among `theirs`; empty: mismatch
  explicit operator bool() const { return fit != ClassFit::mismatch; }
  bool in_order() const;  // each class has the same place on both sides
};
// Names are matched by name, placeholders by number. A placeholder matches no name: a number in the
// data does not say which order its author had in mind.
ClassMatch match_classes(std::span<const std::string> ours, std::span<const std::string> theirs);

// "negative, positive"; of many names the first ten and how many there are.
std::string class_list(std::span<const std::string> names);
// What to do about a mismatch.
std::string mismatch_hint(std::span<const std::string> ours, std::span<const std::string> theirs);

// The class that a metric of one class (`f1`) is about, whatever the order of `names`: `wanted`
// (found as a label of the data is) unless it is empty; else the first of positive, pos, 1,
// LABEL_1, true, yes that is a class, whatever its capitals; of two classes the one that the other
// negates (not_x, not x, non-x, no_x, unx); else the last name when sorted. -1 where `wanted` is no
// class or there are no names.
int64_t positive_class(const std::vector<std::string>& names, const std::string& wanted);

// The class that a data set calls `positive`; Error{recipe} where it is none.
int64_t named_class(const std::vector<std::string>& names, const std::string& positive);

// By value where all names are integers ("2" before "10"), else by bytes.
void sort_names(std::vector<std::string>& names);

// Whether a label usually marks a row without a class: "-", "-1", "-100".
bool is_unlabelled_mark(std::string_view label);
// A warning where class names that were found in a file hold such marks beside two other classes or
// more; "" otherwise.
std::string unlabelled_warning(const std::vector<std::string>& names);

}  // namespace compress::data
