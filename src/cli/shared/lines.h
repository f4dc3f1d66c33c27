#pragma once
// Lines of text files, or of standard input.

#include <cstdint>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "compress/base/lines.h"

namespace compress::cli {

// The lines of files, one after another; of standard input without files. What a line is says
// compress/base/lines.h; a file without LF is in memory as a whole. Error{data} for what cannot be
// read, a folder, UTF-16, and with their line a NUL byte and what is not UTF-8.
class LineReader {
 public:
  explicit LineReader(std::vector<std::string> files);
  // Without the line's end. False when there is no further line.
  bool next(std::string& line);
  // File and number of the last line.
  std::string place() const;

 private:
  std::istream& input();
  std::string name() const;       // of the file at hand
  bool read(std::string& line);   // the next line of the file at hand
  bool begin(std::string& line);  // its first line
  void check(std::string_view line) const;

  std::vector<std::string> files_;
  std::ifstream file_;
  size_t at_ = 0;
  int64_t number_ = 0;
  std::string whole_;           // a file without LF
  std::optional<Lines> lines_;  // of it
};

}  // namespace compress::cli
