#include "compress/base/stand_in.h"

#include <algorithm>
#include <cctype>

namespace compress {

namespace {

// In any case of letters, behind white space.
bool begins(std::string_view text, std::string_view lower) {
  const size_t at = text.find_first_not_of(" \t\r\n");
  if (at == text.npos || text.size() - at < lower.size()) return false;
  return std::equal(lower.begin(), lower.end(), text.begin() + static_cast<std::ptrdiff_t>(at),
                    [](char a, char b) {
                      return a == static_cast<char>(std::tolower(static_cast<unsigned char>(b)));
                    });
}

}  // namespace

std::string stand_in(std::string_view start) {
  if (start.starts_with("version https://git-lfs.github.com/spec/"))
    return "a pointer of Git LFS, not the file that it stands for";
  if (begins(start, "<!doctype html") || begins(start, "<html")) return "a web page";
  return {};
}

}  // namespace compress
