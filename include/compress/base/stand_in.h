#pragma once
// Files that are not what their name says because fetching them went wrong.

#include <string>
#include <string_view>

namespace compress {

// What stands in a file's place, by its first bytes (256 are enough): "a pointer of Git LFS, not
// the file that it stands for", "a web page"; "" for anything else.
std::string stand_in(std::string_view start);
// What to do about it.
inline constexpr const char* fetch_again = "fetch it again; of Git LFS: git lfs pull";

}  // namespace compress
