#pragma once
// Small text helpers shared by messages, tables and reports.

#include <cstdint>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace compress {

// Concatenates its arguments through an ostream: str("step ", 3, " of ", n).
template <class... Args>
std::string str(const Args&... args) {
  std::ostringstream out;
  (out << ... << args);
  return out.str();
}

// `value` with `digits` decimals, independent of the locale. Non-finite values print as nan, inf,
// -inf.
std::string fixed(double value, int digits);
// The shortest decimal that reads back as the same double.
std::string shortest(double value);
// 1234567 -> "1,234,567".
std::string with_commas(int64_t value);
// 22700000 -> "22.7M"; 900 -> "900".
std::string short_count(double value);
// Bytes in powers of 1000: "83.4 MB".
std::string human_bytes(double bytes);
// Seconds as "41 s", "3 min 20 s", "2 h 5 min".
std::string human_seconds(double seconds);

std::vector<std::string> split(std::string_view text, char separator);
std::string_view trim(std::string_view text);
// Up to the first line break, without it.
std::string_view first_line(std::string_view text);
std::string join(const std::vector<std::string>& parts, std::string_view separator);
std::string lower_ascii(std::string_view text);
bool starts_with(std::string_view text, std::string_view prefix);
bool ends_with(std::string_view text, std::string_view suffix);
// Glob on whole names: `*` any run (dots included), `?` one character.
bool glob_match(std::string_view pattern, std::string_view name);

// Optimal string alignment distance (insert, delete, substitute, transpose neighbours).
int edit_distance(std::string_view a, std::string_view b);
// The candidate nearest to `name`, or "" when none is near enough to be a likely slip.
std::string nearest(std::string_view name, const std::vector<std::string>& candidates);
// "did you mean 'x'?" of the nearest candidate, or `otherwise` when none is near.
std::string did_you_mean(std::string_view name, const std::vector<std::string>& candidates,
                         std::string otherwise = {});

// Left-aligned text columns (numbers right-aligned), as printed by plan, inspect and the run's
// result.
class Table {
 public:
  explicit Table(std::vector<std::string> header);
  void row(std::vector<std::string> cells);
  std::string text() const;      // for terminals
  std::string markdown() const;  // for result.md and docs
  bool empty() const { return rows_.empty(); }

 private:
  std::vector<std::string> header_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace compress
