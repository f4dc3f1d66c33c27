#pragma once
// YAML as a small immutable tree in which every node knows its place in the file. Recipes are
// hostile input: size, depth and alias expansion are bounded, tabs used as indentation, duplicate
// keys and several documents are errors.

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace compress::recipe {

// A place: file, 1-based line and column (0 = not from a file, e.g. a default or an override) and
// the path of the key
// ("stages.student.train.batch"; list items by their `name` where they have one, else by index
// "objectives[1]"). Columns count bytes.
struct Mark {
  std::string file;
  int line = 0;
  int column = 0;
  std::string path;
  // "configs/a.yaml:12:5 (stages.student.train.batch)"; "--set (stages.student.train.batch)".
  std::string text() const;
};

class Node {
 public:
  enum class Kind { null, scalar, list, map };
  struct Entry;

  Kind kind = Kind::null;
  std::string scalar;     // text of a scalar, unquoted
  bool quoted = false;    // the scalar was quoted: it is a string whatever it looks like
  bool from_set = false;  // came from an override, not from the file
  std::vector<Node> items;
  std::vector<Entry> entries;  // in file order
  Mark mark;

  static Node of(std::string scalar_text);  // an unquoted scalar
  static Node text(
      std::string value);  // a scalar that is a string: quoted on output where YAML needs it
  static Node list();
  static Node list(std::vector<Node> items);
  static Node map();
  Node& add(std::string key, Node value);  // appends to a map, returns *this

  const Node* find(std::string_view key) const;  // nullptr when absent or not a map
  bool is_null() const { return kind == Kind::null; }
};

struct Node::Entry {
  std::string key;
  Mark mark;  // of the key
  Node value;
};

// Errors: Error{recipe} naming file, line and column. Bounds: 4 MB, 64 levels, 200,000 nodes once
// aliases are expanded, 200 bytes a key. Refused: tags, merge keys, control characters (NUL as an
// escape too), a recipe that is only null.
Node parse_file(const std::filesystem::path& file);
Node parse_text(std::string_view text, const std::string& name = "<text>");

// Applies "stages.student.train.batch=64" (value parsed as YAML) to a tree. List items are
// addressed by their `name` or by index. Naming a parent that does not exist is an error; the leaf
// may be new (the typed reader judges it).
void apply_override(Node& root, const std::string& assignment);

// Block-style YAML that parse_text reads back to the same tree.
std::string to_yaml(const Node& node);

}  // namespace compress::recipe
