#pragma once
// What a line of a text file is, wherever one is read.
//
// Text files are UTF-8. A byte order mark at the beginning is no part of the text. Lines end with
// LF or CRLF; in a text that has no LF at all, with CR. The last line may lack its end. Whatever
// else is a character of its line: a CR between others, a form feed, U+0085, U+2028.

#include <cstdint>
#include <string_view>

namespace compress {

// `text` without a byte order mark at its beginning.
std::string_view without_mark(std::string_view text);
// "UTF-16" or "UTF-32" where the bytes begin with its byte order mark; else "".
std::string_view wide_encoding(std::string_view bytes);
// What to do about it.
inline constexpr const char* as_utf8 = "convert it to UTF-8";
// The character that ends the lines of `text`: LF, or CR.
char line_end(std::string_view text);
// Cuts the first line and its end off `left`, which is not empty and whose lines end with `end`.
std::string_view take_line(std::string_view& left, char end);

// The lines of a text in memory, without their ends.
class Lines {
 public:
  explicit Lines(std::string_view text) : left_(without_mark(text)), end_(line_end(left_)) {}
  // False when there is no further line.
  bool next(std::string_view& line);
  int64_t number() const { return number_; }  // of the last line, from 1

 private:
  std::string_view left_;
  char end_;
  int64_t number_ = 0;
};

}  // namespace compress
