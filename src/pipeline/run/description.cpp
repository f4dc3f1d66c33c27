#include "run/description.h"

#include <algorithm>
#include <iterator>
#include <map>

#include "compress/base/error.h"
#include "compress/base/strings.h"

namespace compress::pipeline {

using recipe::Node;

namespace {

Node* child(Node* node, const std::string& key) {
  if (node == nullptr) return nullptr;
  auto entry = std::find_if(node->entries.begin(), node->entries.end(),
                            [&](const Node::Entry& e) { return e.key == key; });
  return entry == node->entries.end() ? nullptr : &entry->value;
}

Node* parent_of(Node& root, const KeyPath& path) {
  Node* node = &root;
  for (size_t i = 0; i + 1 < path.size(); ++i) node = child(node, path[i]);
  return node;
}

void flatten(const Node& node, const std::string& key, std::map<std::string, std::string>& values) {
  if (node.kind == Node::Kind::scalar) values[key] = node.scalar.empty() ? "(empty)" : node.scalar;
  for (size_t i = 0; i < node.items.size(); ++i)
    flatten(node.items[i], str(key, "[", i, "]"), values);
  for (const Node::Entry& entry : node.entries) {
    const std::string below = key.empty() ? entry.key : key + "." + entry.key;
    // A component without options is just a name.
    if (entry.value.kind != Node::Kind::scalar && entry.value.items.empty() &&
        entry.value.entries.empty())
      values[below] = "(defaults)";
    flatten(entry.value, below, values);
  }
}

bool is_hash(const std::string& value) {
  return value.size() == 64 && value.find_first_not_of("0123456789abcdef") == std::string::npos;
}

std::string shown(const std::map<std::string, std::string>& values, const std::string& key) {
  const auto found = values.find(key);
  return found == values.end() ? "(none)" : found->second;
}

}  // namespace

void erase_key(Node& root, const KeyPath& path) {
  if (Node* parent = parent_of(root, path))
    std::erase_if(parent->entries, [&](const Node::Entry& e) { return e.key == path.back(); });
}

void set_key(Node& root, const KeyPath& path, const std::string& value) {
  erase_key(root, path);
  if (Node* parent = parent_of(root, path)) parent->add(path.back(), Node::text(value));
}

std::vector<std::string> differences(const std::string& before, const std::string& after) {
  std::map<std::string, std::string> old_values, new_values;
  try {
    flatten(recipe::parse_text(before, "<before>"), "", old_values);
    flatten(recipe::parse_text(after, "<after>"), "", new_values);
  } catch (const Error&) {
    return {"the record of the options cannot be read"};
  }
  std::map<std::string, std::string> keys = old_values;
  keys.insert(new_values.begin(), new_values.end());
  std::vector<std::string> options, how_read, contents;
  for (const auto& [key, unused] : keys) {
    const std::string was = shown(old_values, key), is = shown(new_values, key);
    if (was == is) continue;
    if (starts_with(key, std::string(reading_key) + "."))
      how_read.push_back("data." + key.substr(std::string(reading_key).size() + 1) + ": " + was +
                         " -> " + is);
    else if (is_hash(was) || is_hash(is))
      contents.push_back(key + ": " +
                         (was == "(none)"  ? "added"
                          : is == "(none)" ? "removed"
                                           : "other content"));
    else
      options.push_back(key + ": " + was + " -> " + is);
  }
  // How data is read matters where the data is other for it.
  const bool other_data = std::any_of(contents.begin(), contents.end(),
                                      [](const auto& line) { return starts_with(line, "data."); });
  if (other_data) std::copy(how_read.begin(), how_read.end(), std::back_inserter(options));
  std::copy(contents.begin(), contents.end(), std::back_inserter(options));
  return options;
}

}  // namespace compress::pipeline
