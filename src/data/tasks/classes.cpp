#include "compress/data/classes.h"

#include <algorithm>
#include <charconv>
#include <numeric>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "tasks/labels.h"

namespace compress::data {

namespace {

std::optional<int64_t> as_integer(std::string_view text) {
  int64_t value = 0;
  auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failed != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// For each of `ours` the place of the equal one among `theirs`; empty unless they pair off.
template <class T>
std::vector<int64_t> pair_off(std::span<const T> ours, std::span<const T> theirs) {
  if (ours.size() != theirs.size()) return {};
  std::vector<int64_t> order;
  std::vector<bool> used(theirs.size(), false);
  for (const T& one : ours) {
    const auto place =
        static_cast<size_t>(std::find(theirs.begin(), theirs.end(), one) - theirs.begin());
    if (place == theirs.size() || used[place]) return {};
    used[place] = true;
    order.push_back(static_cast<int64_t>(place));
  }
  return order;
}

std::vector<int64_t> numbers_of(std::span<const std::string> names) {
  std::vector<int64_t> numbers;
  for (const std::string& name : names) numbers.push_back(placeholder_number(name).value_or(-1));
  return numbers;
}

// Whether `name` says that a row is not of the class `other`: "not_entailment", "non-toxic".
bool negates(const std::string& name, const std::string& other) {
  for (const char* front : {"not", "non", "no", "un"}) {
    if (!starts_with(name, front)) continue;
    std::string_view rest = std::string_view(name).substr(std::string_view(front).size());
    while (!rest.empty() && (rest[0] == '_' || rest[0] == '-' || rest[0] == ' '))
      rest.remove_prefix(1);
    if (!rest.empty() && rest == other) return true;
  }
  return false;
}

}  // namespace

std::optional<int64_t> placeholder_number(std::string_view name) {
  constexpr std::string_view front = "LABEL_";
  if (name.starts_with(front)) name.remove_prefix(front.size());
  const std::optional<int64_t> number = as_integer(name);
  if (!number || *number < 0 || str(*number) != name) return std::nullopt;
  return number;
}

bool are_placeholders(std::span<const std::string> names) {
  return !names.empty() && std::all_of(names.begin(), names.end(), [](const std::string& name) {
    return placeholder_number(name).has_value();
  });
}

bool ClassMatch::in_order() const {
  return fit != ClassFit::mismatch && std::is_sorted(order.begin(), order.end());
}

ClassMatch match_classes(std::span<const std::string> ours, std::span<const std::string> theirs) {
  ClassMatch match;
  if (std::equal(ours.begin(), ours.end(), theirs.begin(), theirs.end())) {
    match.fit = ClassFit::same;
    match.order.resize(ours.size());
    std::iota(match.order.begin(), match.order.end(), 0);
    return match;
  }
  match.order = pair_off(ours, theirs);
  if (!match.order.empty()) {
    match.fit = ClassFit::reordered;
    return match;
  }
  if (!are_placeholders(ours) || !are_placeholders(theirs)) return match;
  const std::vector<int64_t> our_numbers = numbers_of(ours), their_numbers = numbers_of(theirs);
  match.order = pair_off<int64_t>(our_numbers, their_numbers);
  if (!match.order.empty()) match.fit = ClassFit::numbered;
  return match;
}

std::string class_list(std::span<const std::string> names) {
  constexpr size_t most = 10;
  std::vector<std::string> shown(names.begin(), names.begin() + std::min(names.size(), most));
  return join(shown, ", ") + (names.size() > most ? str(", ... (", names.size(), " classes)") : "");
}

std::string mismatch_hint(std::span<const std::string> ours, std::span<const std::string> theirs) {
  if (ours.size() == theirs.size() && are_placeholders(ours) != are_placeholders(theirs))
    return "LABEL_k and numbers say no more than a class's number, and are matched with each other "
           "alone: write the names into the model's config.json (id2label), or use them in the "
           "data";
  return "classes are matched by name, capitals included";
}

int64_t positive_class(const std::vector<std::string>& names, const std::string& wanted) {
  if (!wanted.empty()) return ClassIndex(names).find(wanted);
  std::vector<std::string> lower;
  for (const std::string& name : names) lower.push_back(lower_ascii(name));
  for (const char* positive : {"positive", "pos", "1", "label_1", "true", "yes"})
    if (auto it = std::find(lower.begin(), lower.end(), positive); it != lower.end())
      return it - lower.begin();
  if (names.size() == 2)
    for (size_t i : {size_t{0}, size_t{1}})
      if (negates(lower[1 - i], lower[i])) return static_cast<int64_t>(i);
  std::vector<std::string> sorted = names;
  sort_names(sorted);
  return sorted.empty() ? -1 : std::find(names.begin(), names.end(), sorted.back()) - names.begin();
}

int64_t named_class(const std::vector<std::string>& names, const std::string& positive) {
  const int64_t found = positive_class(names, positive);
  if (found >= 0) return found;
  throw Error(ErrorKind::recipe,
              str("`positive` is ", cited(positive), ", which is none of the classes"), {},
              str("the classes are ", class_list(names)));
}

void sort_names(std::vector<std::string>& names) {
  std::vector<std::pair<int64_t, std::string>> numbers;
  for (const std::string& name : names)
    if (auto value = as_integer(name)) numbers.emplace_back(*value, name);
  if (numbers.size() < names.size()) {
    std::sort(names.begin(), names.end());
    return;
  }
  std::sort(numbers.begin(), numbers.end());
  for (size_t i = 0; i < names.size(); ++i) names[i] = std::move(numbers[i].second);
}

bool is_unlabelled_mark(std::string_view label) {
  return label == "-" || label == "-1" || label == "-100";
}

std::string unlabelled_warning(const std::vector<std::string>& names) {
  std::vector<std::string> marks;
  for (const std::string& name : names)
    if (is_unlabelled_mark(name)) marks.push_back(cited(name));
  if (marks.empty() || names.size() < marks.size() + 2) return {};
  const std::string list = join(marks, ", ");
  return str(list, marks.size() > 1 ? " are classes" : " is a class",
             " of this data; if it marks rows without a class, `skip_labels: [", list,
             "]` leaves them out");
}

}  // namespace compress::data
