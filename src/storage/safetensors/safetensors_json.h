#pragma once
// The two JSON documents of the safetensors format, read by strict event parsers: no document tree
// is built, a duplicate key is seen (a tree would keep the last silently), and nesting cannot run
// deep.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "compress/storage/tensor.h"

namespace compress::storage {

struct HeaderEntry {
  TensorInfo info;
  uint64_t begin = 0, end = 0;  // bytes relative to the end of the header
};

struct Header {
  std::vector<HeaderEntry> entries;  // in the order of the text
  std::map<std::string, std::string> metadata;
};

// A file's header. Names, offsets and shapes are not yet checked against each other or the file.
// `file` is the place named by errors (Error{model}).
Header parse_header(std::string_view json, const std::string& file);

// The "weight_map" of an index: tensor name and shard file name, each file name free of path parts
// and ending in `suffix`. Shards of torch files are listed in the same way.
std::map<std::string, std::string> parse_index(std::string_view json, const std::string& file,
                                               std::string_view suffix = ".safetensors");

}  // namespace compress::storage
