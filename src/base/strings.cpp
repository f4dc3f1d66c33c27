#include "compress/base/strings.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace compress {

namespace {

std::string nonfinite(double value) {
  return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
}

bool looks_numeric(const std::string& cell) {
  return !cell.empty() && (std::isdigit(static_cast<unsigned char>(cell[0])) != 0 ||
                           ((cell[0] == '-' || cell[0] == '+') && cell.size() > 1 &&
                            std::isdigit(static_cast<unsigned char>(cell[1])) != 0));
}

// Display width: code points, which is right for the Latin text that tables hold.
size_t width(const std::string& text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

}  // namespace

std::string fixed(double value, int digits) {
  if (!std::isfinite(value)) return nonfinite(value);
  char buffer[400];
  auto result =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed, digits);
  return std::string(buffer, result.ptr);
}

std::string shortest(double value) {
  if (!std::isfinite(value)) return nonfinite(value);
  char buffer[64];
  auto result = std::to_chars(buffer, buffer + sizeof buffer, value);
  return std::string(buffer, result.ptr);
}

std::string with_commas(int64_t value) {
  // The magnitude of the smallest number has no place in its own type.
  const auto size = static_cast<uint64_t>(value);
  std::string digits = std::to_string(value < 0 ? 0 - size : size);
  for (int at = static_cast<int>(digits.size()) - 3; at > 0; at -= 3) digits.insert(at, ",");
  return value < 0 ? "-" + digits : digits;
}

std::string short_count(double value) {
  const char* units[] = {"", "k", "M", "G", "T"};
  int unit = 0;
  while (std::fabs(value) >= 1000 && unit < 4) {
    value /= 1000;
    ++unit;
  }
  return unit == 0 ? fixed(value, 0) : fixed(value, value < 100 ? 1 : 0) + units[unit];
}

std::string human_bytes(double bytes) {
  const char* units[] = {"B", "kB", "MB", "GB", "TB"};
  int unit = 0;
  while (std::fabs(bytes) >= 1000 && unit < 4) {
    bytes /= 1000;
    ++unit;
  }
  return fixed(bytes, unit == 0 ? 0 : 1) + " " + units[unit];
}

std::string human_seconds(double seconds) {
  if (seconds < 10) return fixed(seconds, 1) + " s";
  auto total = static_cast<int64_t>(std::llround(seconds));
  if (total < 60) return str(total, " s");
  if (total < 3600) return str(total / 60, " min ", total % 60, " s");
  return str(total / 3600, " h ", total % 3600 / 60, " min");
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  size_t begin = 0;
  while (true) {
    size_t end = text.find(separator, begin);
    parts.emplace_back(text.substr(begin, end - begin));
    if (end == std::string_view::npos) return parts;
    begin = end + 1;
  }
}

std::string_view first_line(std::string_view text) {
  return text.substr(0, text.find('\n'));
}

std::string_view trim(std::string_view text) {
  const char* space = " \t\r\n\v\f";
  size_t begin = text.find_first_not_of(space);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(space) - begin + 1);
}

std::string join(const std::vector<std::string>& parts, std::string_view separator) {
  std::string text;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) text += separator;
    text += parts[i];
  }
  return text;
}

std::string lower_ascii(std::string_view text) {
  std::string lower(text);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return lower;
}

bool starts_with(std::string_view text, std::string_view prefix) {
  return text.starts_with(prefix);
}
bool ends_with(std::string_view text, std::string_view suffix) {
  return text.ends_with(suffix);
}

bool glob_match(std::string_view pattern, std::string_view name) {
  size_t p = 0, n = 0, star = std::string_view::npos, resume = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = n;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
      ++p;
      ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

int edit_distance(std::string_view a, std::string_view b) {
  size_t columns = b.size() + 1;
  std::vector<int> before(columns), previous(columns), current(columns);
  for (size_t j = 0; j < columns; ++j) previous[j] = static_cast<int>(j);
  for (size_t i = 1; i <= a.size(); ++i) {
    current[0] = static_cast<int>(i);
    for (size_t j = 1; j < columns; ++j) {
      int cost = a[i - 1] == b[j - 1] ? 0 : 1;
      current[j] = std::min({previous[j] + 1, current[j - 1] + 1, previous[j - 1] + cost});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        current[j] = std::min(current[j], before[j - 2] + 1);
    }
    std::swap(before, previous);
    std::swap(previous, current);
  }
  return previous[b.size()];
}

std::string nearest(std::string_view name, const std::vector<std::string>& candidates) {
  std::string wanted = lower_ascii(name.substr(0, 200)), best;
  int best_distance = static_cast<int>(std::max<size_t>(wanted.size() / 3, 1)) + 1;
  for (const std::string& candidate : candidates) {
    int distance = edit_distance(wanted, lower_ascii(candidate));
    bool prefix = wanted.size() >= 3 && candidate.size() >= 3 &&
                  (candidate.starts_with(wanted) || wanted.starts_with(candidate));
    if (prefix) distance = std::min(distance, 1);
    if (distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

std::string did_you_mean(std::string_view name, const std::vector<std::string>& candidates,
                         std::string otherwise) {
  const std::string near = nearest(name, candidates);
  return near.empty() ? std::move(otherwise) : "did you mean '" + near + "'?";
}

Table::Table(std::vector<std::string> header) : header_(std::move(header)) {}

void Table::row(std::vector<std::string> cells) {
  cells.resize(header_.size());
  rows_.push_back(std::move(cells));
}

std::string Table::text() const {
  std::vector<size_t> widths;
  for (const std::string& cell : header_) widths.push_back(width(cell));
  for (const auto& cells : rows_)
    for (size_t i = 0; i < cells.size(); ++i) widths[i] = std::max(widths[i], width(cells[i]));
  std::string out;
  auto line = [&](const std::vector<std::string>& cells, bool numbers) {
    std::string text;
    for (size_t i = 0; i < cells.size(); ++i) {
      std::string space(widths[i] - width(cells[i]), ' ');
      text += i > 0 ? "  " : "";
      text += numbers && i > 0 && looks_numeric(cells[i]) ? space + cells[i] : cells[i] + space;
    }
    while (!text.empty() && text.back() == ' ') text.pop_back();
    out += text + "\n";
  };
  line(header_, false);
  size_t total = header_.empty() ? 0 : 2 * (header_.size() - 1);
  for (size_t w : widths) total += w;
  out += std::string(total, '-') + "\n";
  for (const auto& cells : rows_) line(cells, true);
  return out;
}

std::string Table::markdown() const {
  std::string out = "| " + join(header_, " | ") + " |\n|";
  for (size_t i = 0; i < header_.size(); ++i) out += " --- |";
  out += "\n";
  for (const auto& cells : rows_) out += "| " + join(cells, " | ") + " |\n";
  return out;
}

}  // namespace compress
