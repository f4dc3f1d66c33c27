#pragma once
// Shared by the bodies of this module: bounds on hostile input and the wording of messages.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "compress/recipe/node.h"

namespace compress::recipe::internal {

inline constexpr size_t max_bytes = 4'000'000;  // of a file
inline constexpr size_t max_expanded_bytes =
    16'000'000;                               // of all scalars once aliases are expanded
inline constexpr size_t max_nodes = 200'000;  // once aliases are expanded
inline constexpr int max_depth = 64;
inline constexpr size_t max_key_bytes = 200;

// Refuses what must not reach the YAML parser: invalid UTF-8, control characters, tabs as
// indentation, more brackets than a recipe may have nodes. Throws Error{recipe} with line and
// column.
void check_text(std::string_view text, const std::string& name);

// Like parse_text, but an empty text is a null node.
Node parse_value(std::string_view text, const std::string& name);

// The path of a key or an index below `parent`.
std::string key_path(const std::string& parent, const std::string& key);
std::string item_path(const std::string& parent, const Node& item, size_t index);

// Text in quotes for a message: shortened, control characters replaced.
std::string shown(std::string_view text);
// What stands where something else was expected: "'abc'", "a list", "a map", "nothing".
std::string described(const Node& node);
// "did you mean 'x'?" when a candidate is near, else "`label`: a, b, c" ("" when there are no
// candidates).
std::string suggestion(std::string_view name, const std::vector<std::string>& candidates,
                       const std::string& label);

// The whole text as a finite decimal number ("5e-5", ".5", "+1").
std::optional<double> to_number(std::string_view text);
// Whether plain text could be read as null, a boolean or a number by this program or by a YAML 1.1
// reader.
bool looks_typed(std::string_view text);

}  // namespace compress::recipe::internal
