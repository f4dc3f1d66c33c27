#pragma once
// Lines of text files, or of standard input.

#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

namespace compress::cli {

// The lines of files, one after another; of standard input without files. Error{data} for files
// that cannot be read.
class LineReader {
 public:
  explicit LineReader(std::vector<std::string> files);
  // Without the line's end. False when there is no further line.
  bool next(std::string& line);
  // File and number of the last line.
  std::string place() const;

 private:
  std::istream& input();
  std::vector<std::string> files_;
  std::ifstream file_;
  size_t at_ = 0;
  int64_t number_ = 0;
};

}  // namespace compress::cli
