#pragma once
// Descriptions of what results depend on: YAML trees whose keys kinds of stages take out or put in.

#include <string>
#include <vector>

#include "compress/recipe/node.h"

namespace compress::pipeline {

using KeyPath = std::vector<std::string>;

// Removes a key, where it is there.
void erase_key(recipe::Node& root, const KeyPath& path);
// Sets a text below keys that are there.
void set_key(recipe::Node& root, const KeyPath& path, const std::string& value);
// What tells two descriptions apart, key by key: "train.batch: 4 -> 2". One that cannot be read
// differs in itself.
std::vector<std::string> differences(const std::string& before, const std::string& after);

// The key below which a description tells how data is read, a part of the hashes of the data.
inline constexpr const char* reading_key = "reading";

}  // namespace compress::pipeline
