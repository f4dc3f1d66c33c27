#include "lines.h"

#include <iostream>

#include "compress/base/error.h"
#include "compress/base/strings.h"

namespace compress::cli {

LineReader::LineReader(std::vector<std::string> files) : files_(std::move(files)) {
  if (files_.empty()) return;
  for (const std::string& name : files_)
    if (!std::ifstream(name)) throw Error(ErrorKind::data, "the file cannot be read", name);
  file_.open(files_[0]);
}

bool LineReader::next(std::string& line) {
  while (!std::getline(input(), line)) {
    if (input().bad()) throw Error(ErrorKind::data, "the file cannot be read", place());
    if (at_ + 1 >= files_.size()) return false;
    file_ = std::ifstream(files_[++at_]);
    number_ = 0;
  }
  ++number_;
  if (line.ends_with('\r')) line.pop_back();
  return true;
}

std::string LineReader::place() const {
  return str(files_.empty() ? "standard input" : files_[at_], ":", number_);
}

std::istream& LineReader::input() {
  if (files_.empty()) return std::cin;
  return file_;
}

}  // namespace compress::cli
