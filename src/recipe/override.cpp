// `--set stages.student.train.batch=64`: a path into the tree and a YAML value.

#include <charconv>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "internal.h"

namespace compress::recipe {

namespace {

struct Segment {
  std::string key;
  bool is_index = false;
  size_t index = 0;
};

class Override {
 public:
  explicit Override(const std::string& assignment) : assignment_(assignment) {
    size_t equals = assignment.find('=');
    if (equals == std::string::npos)
      fail("expected key=value", "for example stages.student.train.batch=64");
    parse_path(trim(std::string_view(assignment).substr(0, equals)));
    value_ = read_value(std::string_view(assignment).substr(equals + 1));
  }

  void apply(Node& root) {
    Node* node = &root;
    std::string path;
    while (next_ < segments_.size()) node = &step(*node, path);
    mark(value_, path);
    *node = std::move(value_);
  }

 private:
  [[noreturn]] void fail(const std::string& what, const std::string& hint = {}) const {
    throw Error(ErrorKind::recipe, what, "--set " + assignment_.substr(0, 200), hint);
  }

  void parse_path(std::string_view text) {
    for (std::string& part : split(text, '.')) {
      size_t bracket = part.find('[');
      std::string key = part.substr(0, bracket);
      if (key.empty() && (bracket == std::string::npos || !segments_.empty()))
        fail("an empty key in the path", "for example stages.student.train.batch=64");
      if (!key.empty()) segments_.push_back({key});
      while (bracket != std::string::npos && bracket < part.size())
        bracket = parse_index(part, bracket);
    }
  }

  // Reads "[n]" at `begin` and returns where it ends.
  size_t parse_index(const std::string& part, size_t begin) {
    size_t index = 0;
    const char* end = part.data() + part.size();
    auto [stop, failure] = std::from_chars(part.data() + begin + 1, end, index);
    if (part[begin] != '[' || failure != std::errc() || stop == end || *stop != ']')
      fail("expected an index like [0] in " + internal::shown(part));
    segments_.push_back({"", true, index});
    return static_cast<size_t>(stop - part.data()) + 1;
  }

  Node read_value(std::string_view text) const {
    try {
      return internal::parse_value(text, "value");
    } catch (const Error& error) {
      fail("the value is not valid YAML: " + error.message(), error.hint());
    }
  }

  // The node that the next segment names below `node`; `path` grows along.
  Node& step(Node& node, std::string& path) {
    const Segment& segment = segments_[next_];
    if (segment.is_index) return step_index(node, path);
    // `adamw` stands for {adamw: {}}: going below a bare name or an empty value makes the map
    // explicit.
    bool last = next_ + 1 == segments_.size();
    if (node.is_null()) node.kind = Node::Kind::map;
    if (node.kind == Node::Kind::scalar && node.scalar == segment.key && !last) expand(node);
    if (node.kind == Node::Kind::scalar)
      fail(place(path) + " is " + internal::described(node) + ", it has no keys",
           "set the whole of it: --set " + path + "='{" + segment.key + ": ...}'");
    return node.kind == Node::Kind::list ? step_list(node, path) : step_map(node, path);
  }

  Node& step_index(Node& node, std::string& path) {
    size_t index = segments_[next_].index;
    if (node.kind != Node::Kind::list) fail(place(path) + " is not a list");
    if (index >= node.items.size())
      fail(str("there is no [", index, "] in ", place(path)),
           str("it has ", node.items.size(), " items, counted from 0"));
    ++next_;
    path = internal::item_path(path, node.items[index], index);
    return node.items[index];
  }

  Node& step_map(Node& node, std::string& path) {
    // A key may hold dots itself, so it may take several segments.
    std::string key;
    for (size_t end = next_; end < segments_.size() && !segments_[end].is_index; ++end) {
      key += (end > next_ ? "." : "") + segments_[end].key;
      for (Node::Entry& entry : node.entries) {
        if (entry.key != key) continue;
        next_ = end + 1;
        path = internal::key_path(path, key);
        return entry.value;
      }
    }
    const std::string& wanted = segments_[next_].key;
    std::vector<std::string> keys;
    for (const Node::Entry& entry : node.entries) keys.push_back(entry.key);
    if (next_ + 1 < segments_.size())
      fail("there is no " + internal::shown(wanted) + " in " + place(path),
           internal::suggestion(wanted, keys, "its keys"));
    ++next_;
    path = internal::key_path(path, wanted);
    node.entries.push_back({wanted, mark_of(path), Node()});
    return node.entries.back().value;
  }

  // By `name`, else by the name of a component (`soft_labels` or `{soft_labels: {...}}`).
  Node& step_list(Node& list, std::string& path) {
    const std::string& wanted = segments_[next_].key;
    std::vector<std::string> names;
    size_t matches = 0, match = 0;
    for (size_t i = 0; i < list.items.size(); ++i) {
      std::string name = name_of(list.items[i]);
      if (name.empty()) continue;
      if (name == wanted && ++matches == 1) match = i;
      names.push_back(std::move(name));
    }
    if (matches == 0)
      fail("there is no " + internal::shown(wanted) + " in the list " + place(path),
           internal::suggestion(wanted, names, "its items"));
    if (matches > 1)
      fail(str(matches, " items of ", place(path), " are called ", internal::shown(wanted)),
           "use an index, for example [0]");
    Node& item = list.items[match];
    path = internal::item_path(path, item, match);
    if (item.find("name") == nullptr) {
      if (item.kind == Node::Kind::scalar) expand(item);
      ++next_;
      path = internal::key_path(path, wanted);
      return item.entries[0].value;
    }
    ++next_;
    return item;
  }

  static std::string name_of(const Node& item) {
    if (const Node* name = item.find("name")) return name->scalar;
    if (item.entries.size() == 1) return item.entries[0].key;
    return item.scalar;
  }

  static void expand(Node& scalar) {
    Node map = Node::map();
    map.mark = scalar.mark;
    Node options = Node::map();
    options.mark = scalar.mark;
    map.entries.push_back({scalar.scalar, scalar.mark, std::move(options)});
    scalar = std::move(map);
  }

  static std::string place(const std::string& path) { return path.empty() ? "the recipe" : path; }
  static Mark mark_of(const std::string& path) { return {"--set", 0, 0, path}; }

  static void mark(Node& node, const std::string& path) {
    node.from_set = true;
    node.mark = mark_of(path);
    for (size_t i = 0; i < node.items.size(); ++i)
      mark(node.items[i], internal::item_path(path, node.items[i], i));
    for (Node::Entry& entry : node.entries) {
      entry.mark = mark_of(internal::key_path(path, entry.key));
      mark(entry.value, entry.mark.path);
    }
  }

  const std::string& assignment_;
  std::vector<Segment> segments_;
  size_t next_ = 0;  // the segment to follow next
  Node value_;
};

}  // namespace

void apply_override(Node& root, const std::string& assignment) {
  Override(assignment).apply(root);
}

}  // namespace compress::recipe
