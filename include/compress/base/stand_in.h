#pragma once
// Files that are not what their name says: because fetching them went wrong, or because they are of
// a kind that is not read here.

#include <string>
#include <string_view>

namespace compress {

// What stands in a file's place, by its first bytes (256 are enough): "a pointer of Git LFS, not
// the file that it stands for", "a web page"; "" for anything else.
std::string stand_in(std::string_view start);
// What to do about it.
inline constexpr const char* fetch_again = "fetch it again; of Git LFS: git lfs pull";

// What a file is that is no text, and what makes one of it.
struct FileKind {
  const char* what = nullptr;  // "a bzip2 file"; null: the bytes are of no kind that is known
  const char* remedy = nullptr;
  explicit operator bool() const { return what != nullptr; }
};

// By the first bytes (512 are looked at): archives, compressed files, tables, pickles and the like.
// Text in UTF-8 is of none of these kinds.
FileKind binary_kind(std::string_view bytes);
// The same, and text in UTF-16 or UTF-32: where text in UTF-8 is due.
FileKind not_text(std::string_view bytes);
// The same, and pointers of Git LFS.
FileKind foreign_kind(std::string_view bytes);

}  // namespace compress
