#pragma once
// Where the tensors of a safetensors file lie.

#include <string>
#include <string_view>
#include <vector>

#include "safetensors/safetensors_json.h"

namespace compress::storage {

// Sorts the entries by offset and checks that they cover `size` bytes without hole or overlap, each
// with the bytes that its type and shape ask for.
void check_layout(std::vector<HeaderEntry>& entries, uint64_t size, const std::string& file);

struct Layout {
  std::string_view header, data;     // inside the file's bytes
  std::vector<HeaderEntry> entries;  // in the order of the bytes
  std::map<std::string, std::string> metadata;
};
// Of the bytes of a whole file, checked. Error{model} at `file`.
Layout layout_of(std::string_view bytes, const std::string& file);

}  // namespace compress::storage
