#include "compress/recipe/node.h"

#include "compress/base/strings.h"
#include "internal.h"

namespace compress::recipe {

std::string Mark::text() const {
  if (file.empty()) return path;
  std::string place = line > 0 ? str(file, ":", line, ":", column) : file;
  return path.empty() ? place : place + " (" + path + ")";
}

Node Node::of(std::string scalar_text) {
  Node node;
  node.kind = Kind::scalar;
  node.scalar = std::move(scalar_text);
  return node;
}

Node Node::text(std::string value) {
  Node node = of(std::move(value));
  node.quoted = true;
  return node;
}

Node Node::list() {
  return list(std::vector<Node>());
}

Node Node::list(std::vector<Node> items) {
  Node node;
  node.kind = Kind::list;
  node.items = std::move(items);
  return node;
}

Node Node::map() {
  Node node;
  node.kind = Kind::map;
  return node;
}

Node& Node::add(std::string key, Node value) {
  entries.push_back({std::move(key), {}, std::move(value)});
  return *this;
}

const Node* Node::find(std::string_view key) const {
  if (kind != Kind::map) return nullptr;
  for (const Entry& entry : entries)
    if (entry.key == key) return &entry.value;
  return nullptr;
}

namespace internal {

namespace {

// A path is for people: beyond this length its head is dropped, which also bounds the memory of
// hostile trees.
constexpr size_t max_path_bytes = 400;

std::string bounded(std::string path) {
  if (path.size() <= max_path_bytes) return path;
  return "..." + path.substr(path.size() - max_path_bytes + 3);
}

bool plain_name(const std::string& name) {
  if (name.empty() || name.size() > 60) return false;
  for (char c : name) {
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!letter && c != '_' && c != '-' && c != '.' && c != '+') return false;
  }
  return true;
}

}  // namespace

std::string key_path(const std::string& parent, const std::string& key) {
  return bounded(parent.empty() ? key : parent + "." + key);
}

std::string item_path(const std::string& parent, const Node& item, size_t index) {
  const Node* name = item.find("name");
  if (name != nullptr && plain_name(name->scalar)) return key_path(parent, name->scalar);
  return bounded(str(parent, "[", index, "]"));
}

std::string shown(std::string_view text) {
  constexpr size_t limit = 60;
  std::string out = "'";
  for (size_t i = 0; i < text.size(); ++i) {
    // Never cut inside a UTF-8 sequence.
    if (i >= limit && (text[i] & 0xC0) != 0x80) return out + "...'";
    auto c = static_cast<unsigned char>(text[i]);
    if (c == '\n')
      out += "\\n";
    else if (c == '\t')
      out += "\\t";
    else if (c < 0x20 || c == 0x7F)
      out += '?';
    else
      out += text[i];
  }
  return out + "'";
}

std::string described(const Node& node) {
  switch (node.kind) {
    case Node::Kind::null:
      return "nothing";
    case Node::Kind::scalar:
      return (node.quoted ? "the text " : "") + shown(node.scalar);
    case Node::Kind::list:
      return "a list";
    case Node::Kind::map:
      return "a map";
  }
  return "nothing";
}

std::string suggestion(std::string_view name, const std::vector<std::string>& candidates,
                       const std::string& label) {
  if (candidates.empty()) return {};
  return did_you_mean(name, candidates, label + ": " + join(candidates, ", "));
}

}  // namespace internal
}  // namespace compress::recipe
