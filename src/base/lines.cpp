#include "compress/base/lines.h"

#include <algorithm>

namespace compress {

std::string_view without_mark(std::string_view text) {
  constexpr std::string_view mark = "\xEF\xBB\xBF";
  if (text.starts_with(mark)) text.remove_prefix(mark.size());
  return text;
}

std::string_view wide_encoding(std::string_view bytes) {
  using namespace std::literals;
  if (bytes.starts_with("\xFF\xFE\0\0"sv) || bytes.starts_with("\0\0\xFE\xFF"sv)) return "UTF-32";
  if (bytes.starts_with("\xFF\xFE") || bytes.starts_with("\xFE\xFF")) return "UTF-16";
  return {};
}

char line_end(std::string_view text) {
  constexpr auto none = std::string_view::npos;
  return text.find('\n') == none && text.find('\r') != none ? '\r' : '\n';
}

std::string_view take_line(std::string_view& left, char end) {
  const size_t size = std::min(left.find(end), left.size());
  std::string_view line = left.substr(0, size);
  left.remove_prefix(std::min(size + 1, left.size()));
  if (end == '\n' && line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

bool Lines::next(std::string_view& line) {
  if (left_.empty()) return false;
  line = take_line(left_, end_);
  ++number_;
  return true;
}

}  // namespace compress
