#include "shared/lines.h"

#include <filesystem>
#include <iostream>

#include "compress/base/error.h"
#include "compress/base/stand_in.h"
#include "compress/base/strings.h"
#include "compress/base/utf8.h"

namespace compress::cli {

LineReader::LineReader(std::vector<std::string> files) : files_(std::move(files)) {
  if (files_.empty()) return;
  for (const std::string& name : files_) {
    std::error_code failed;
    if (std::filesystem::is_directory(name, failed))
      throw Error(ErrorKind::data, "this is a folder, not a text file", name,
                  "name the files in it");
    if (!std::ifstream(name)) throw Error(ErrorKind::data, "the file cannot be read", name);
  }
  file_.open(files_[0]);
}

bool LineReader::next(std::string& line) {
  while (!read(line)) {
    if (input().bad()) throw Error(ErrorKind::data, "the file cannot be read", name());
    if (at_ + 1 >= files_.size()) return false;
    file_ = std::ifstream(files_[++at_]);
    number_ = 0;
    lines_.reset();
  }
  ++number_;
  check(line);
  return true;
}

bool LineReader::read(std::string& line) {
  if (number_ == 0) return begin(line);
  if (lines_) {
    std::string_view next;
    if (!lines_->next(next)) return false;
    line = next;
    return true;
  }
  if (!std::getline(input(), line)) return false;
  if (line.ends_with('\r')) line.pop_back();
  return true;
}

bool LineReader::begin(std::string& line) {
  if (!std::getline(input(), whole_)) return false;
  if (const FileKind kind = foreign_kind(whole_))
    throw Error(ErrorKind::data, str("the text is ", kind.what), name(), kind.remedy);
  // Where a LF follows, what was read is one line, whatever else it holds.
  if (!input().eof()) whole_ += '\n';
  lines_.emplace(whole_);
  std::string_view first;
  const bool found = lines_->next(first);
  line = first;
  if (!input().eof()) lines_.reset();
  return found;
}

void LineReader::check(std::string_view line) const {
  if (line.find('\0') != std::string_view::npos)
    throw Error(ErrorKind::data, "a NUL byte in the text", place(),
                "the file is binary, damaged or UTF-16; texts are UTF-8");
  if (const size_t bad = invalid_utf8(line); bad != std::string_view::npos)
    throw Error(ErrorKind::data, str("not valid UTF-8 at byte ", bad + 1, " of the line"), place(),
                "convert the file to UTF-8");
}

std::string LineReader::name() const {
  return files_.empty() ? "standard input" : files_[at_];
}

std::string LineReader::place() const {
  return str(name(), ":", number_);
}

std::istream& LineReader::input() {
  if (files_.empty()) return std::cin;
  return file_;
}

}  // namespace compress::cli
