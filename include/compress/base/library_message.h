#pragma once
// What exceptions of libraries say, in messages of this program.

#include <string>
#include <string_view>

namespace compress {

// "[json.exception.type_error.302] type must be string" without the library's own prefix.
inline std::string library_message(std::string_view what) {
  const size_t end = what.starts_with('[') ? what.find("] ") : what.npos;
  return std::string(end == what.npos ? what : what.substr(end + 2));
}

}  // namespace compress
