#pragma once
// Reading little-endian values from mapped bytes, with every bound checked.

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "compress/base/error.h"
#include "compress/base/stand_in.h"
#include "compress/base/strings.h"

namespace compress::storage {

inline constexpr const char* damaged_hint = "the file is damaged or incomplete; fetch it again";

// Error{model} for a container that is a pointer of Git LFS or a web page.
inline void refuse_stand_in(std::string_view bytes, const std::string& file) {
  if (const std::string what = stand_in(bytes.substr(0, 256)); !what.empty())
    throw Error(ErrorKind::model, "is " + what, file, fetch_again);
}

// The same, and for archives, pickles and other kinds of files.
inline void refuse_foreign(std::string_view bytes, const std::string& file) {
  refuse_stand_in(bytes, file);
  if (const FileKind kind = binary_kind(bytes))
    throw Error(ErrorKind::model, str("is ", kind.what), file, kind.remedy);
}

// Walks over bytes; what would pass their end throws Error{model} with `file` as its place.
class ByteReader {
 public:
  ByteReader(std::string_view bytes, const std::string& file, uint64_t at = 0)
      : bytes_(bytes), file_(file), at_(at) {
    if (at > bytes.size()) take(0);
  }

  uint64_t at() const { return at_; }
  uint64_t left() const { return bytes_.size() - at_; }

  std::string_view take(uint64_t count) {
    if (at_ > bytes_.size() || count > left())
      throw Error(ErrorKind::model,
                  str("ends at byte ", bytes_.size(), ", inside what starts at byte ", at_), file_,
                  damaged_hint);
    std::string_view taken = bytes_.substr(at_, count);
    at_ += count;
    return taken;
  }
  template <class T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
    return value;
  }
  // The text up to `end`, which is taken too.
  std::string_view until(char end) {
    size_t found = bytes_.find(end, at_);
    if (found == bytes_.npos) take(left() + 1);
    std::string_view text = take(found - at_);
    take(1);
    return text;
  }

 private:
  std::string_view bytes_;
  const std::string& file_;
  uint64_t at_;
};

// Whether a name can be kept in JSON (strict UTF-8: no overlong forms, no surrogates).
bool is_utf8(std::string_view text);

}  // namespace compress::storage
