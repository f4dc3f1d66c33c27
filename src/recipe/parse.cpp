// YAML events -> a flat list in which aliases are already expanded (so that every bound is checked
// as it grows) -> tree.

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <sstream>
#include <unordered_map>

#include "compress/base/error.h"
#include "compress/base/lines.h"
#include "compress/base/strings.h"
#include "compress/recipe/problems.h"
#include "internal.h"

namespace compress::recipe {

namespace {

struct Event {
  enum class Type { null, scalar, list_begin, list_end, map_begin, map_end };
  Type type = Type::null;
  std::string value;
  bool quoted = false;
  int line = 0, column = 0;
  bool begins() const { return type == Type::list_begin || type == Type::map_begin; }
  bool ends() const { return type == Type::list_end || type == Type::map_end; }
};

// yaml-cpp 0.7 takes the end of the text for a missing closing quote, which would swallow the rest
// of a recipe in silence. This comment is put behind the text: a quoted scalar that holds it was
// not closed.
constexpr std::string_view end_marker = "# end of the recipe: a quote before this was not closed";

class Collector : public YAML::EventHandler {
 public:
  Collector(std::string_view text, std::string name) : text_(text), name_(std::move(name)) {}

  std::vector<Event>& events() { return events_; }

  [[noreturn]] void fail(int line, int column, const std::string& what,
                         const std::string& hint = {}) const {
    throw Error(ErrorKind::recipe, what, Mark{name_, line, column, ""}.text(), hint);
  }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ == 1) return;
    bool marked = text_.substr(std::min<size_t>(mark.pos, text_.size())).starts_with("---");
    if (marked)
      fail(mark.line + 1, mark.column + 1, "a second YAML document", "a recipe is one document");
    fail(mark.line + 1, mark.column + 1, "text after the end of the recipe",
         "check the indentation and the brackets");
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    leaf(make(Event::Type::null, mark), anchor);
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    refuse_tag(mark, tag);
    Event event = make(Event::Type::scalar, mark);
    if (value.find('\0') != std::string::npos)
      fail(event.line, event.column, "a NUL character in a text");
    event.value = value;
    event.quoted = tag == "!";
    if (event.quoted && value.find(end_marker) != std::string::npos)
      fail(event.line, event.column, "a quote that is not closed");
    leaf(std::move(event), anchor);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Event place = make(Event::Type::null, mark);
    auto found = anchors_.find(anchor);
    if (found == anchors_.end() || found->second.end == 0)
      fail(place.line, place.column, "an alias that contains itself");
    Range range = found->second;
    for (size_t i = range.begin; i < range.end; ++i) {
      Event copy = events_[i];
      if (i == range.begin) {
        copy.line = place.line;
        copy.column = place.column;
      }
      push(std::move(copy));
    }
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(Event::Type::list_begin, mark, tag, anchor);
  }
  void OnSequenceEnd() override { close(Event::Type::list_end); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(Event::Type::map_begin, mark, tag, anchor);
  }
  void OnMapEnd() override { close(Event::Type::map_end); }

 private:
  struct Range {
    size_t begin = 0, end = 0;  // of events_; end 0 = still open
  };

  static Event make(Event::Type type, const YAML::Mark& mark) {
    Event event;
    event.type = type;
    event.line = mark.line + 1;
    event.column = mark.column + 1;
    return event;
  }

  void refuse_tag(const YAML::Mark& mark, const std::string& tag, bool scalar = true) const {
    // yaml-cpp's own marks: "?" plain or a collection, "!" a quoted scalar.
    if (tag.empty() || tag == "?" || (scalar && tag == "!")) return;
    fail(mark.line + 1, mark.column + 1, "a YAML tag " + internal::shown(tag),
         "recipes cannot run code: remove the tag");
  }

  void leaf(Event event, YAML::anchor_t anchor) {
    push(std::move(event));
    if (anchor != YAML::NullAnchor) anchors_[anchor] = {events_.size() - 1, events_.size()};
  }
  void open(Event::Type type, const YAML::Mark& mark, const std::string& tag,
            YAML::anchor_t anchor) {
    refuse_tag(mark, tag, false);
    push(make(type, mark));
    open_.push_back(anchor);
    if (anchor != YAML::NullAnchor) anchors_[anchor] = {events_.size() - 1, 0};
  }
  void close(Event::Type type) {
    Event event;
    event.type = type;
    push(std::move(event));
    YAML::anchor_t anchor = open_.back();
    open_.pop_back();
    if (anchor != YAML::NullAnchor) anchors_[anchor].end = events_.size();
  }

  void push(Event event) {
    if (event.ends()) {
      --depth_;
    } else {
      bytes_ += event.value.size();
      if (++nodes_ > internal::max_nodes || bytes_ > internal::max_expanded_bytes)
        fail(event.line, event.column,
             str("the recipe grows beyond ", internal::max_nodes, " values or ",
                 human_bytes(static_cast<double>(internal::max_expanded_bytes))),
             "aliases that repeat aliases multiply; write the values out");
      if (event.begins() && ++depth_ > internal::max_depth)
        fail(event.line, event.column, str("nested deeper than ", internal::max_depth, " levels"));
    }
    events_.push_back(std::move(event));
  }

  std::string_view text_;
  std::string name_;
  std::vector<Event> events_;
  std::unordered_map<YAML::anchor_t, Range> anchors_;
  std::vector<YAML::anchor_t> open_;
  size_t nodes_ = 0, bytes_ = 0;
  int depth_ = 0, documents_ = 0;
};

class TreeBuilder {
 public:
  explicit TreeBuilder(Collector& collector, const std::string& name)
      : collector_(collector), events_(collector.events()), name_(name) {}

  Node build() {
    Event& event = events_[next_++];
    Node node;
    node.mark = {name_, event.line, event.column, ""};
    if (event.type == Event::Type::scalar) {
      node.kind = Node::Kind::scalar;
      node.scalar = std::move(event.value);
      node.quoted = event.quoted;
    } else if (event.type == Event::Type::list_begin) {
      node.kind = Node::Kind::list;
      while (events_[next_].type != Event::Type::list_end) node.items.push_back(build());
      ++next_;
    } else if (event.type == Event::Type::map_begin) {
      node.kind = Node::Kind::map;
      while (events_[next_].type != Event::Type::map_end) add_entry(node);
      ++next_;
    }
    return node;
  }

 private:
  void add_entry(Node& map) {
    const Event& event = events_[next_];
    check_key(event);
    Node key = build();
    Node value = build();
    map.entries.push_back({std::move(key.scalar), std::move(key.mark), std::move(value)});
  }

  void check_key(const Event& key) const {
    auto fail = [&](const std::string& what, const std::string& hint) {
      collector_.fail(key.line, key.column, what, hint);
    };
    if (key.type != Event::Type::scalar)
      fail("a key must be a word", "quote it if it is meant as text");
    if (key.value == "<<" && !key.quoted)
      fail("merge keys (<<) are not supported",
           "write the keys out, or use an alias for a whole value");
    if (key.value.size() > internal::max_key_bytes)
      fail(str("a key longer than ", internal::max_key_bytes, " bytes"), "");
    for (char c : key.value)
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F)
        fail("a control character in a key", "");
  }

  Collector& collector_;
  std::vector<Event>& events_;
  std::string name_;
  size_t next_ = 0;
};

// Gives every node and key its path and finds keys that a map has twice.
void finish(Node& node, const std::string& path, Problems& problems) {
  node.mark.path = path;
  for (size_t i = 0; i < node.items.size(); ++i)
    finish(node.items[i], internal::item_path(path, node.items[i], i), problems);
  std::unordered_map<std::string_view, int> lines;
  for (Node::Entry& entry : node.entries) {
    entry.mark.path = internal::key_path(path, entry.key);
    auto [first, fresh] = lines.emplace(entry.key, entry.mark.line);
    if (!fresh)
      problems.add(entry.mark, str("duplicate key ", internal::shown(entry.key), " on line ",
                                   entry.mark.line, ", first on line ", first->second));
    finish(entry.value, entry.mark.path, problems);
  }
}

// yaml-cpp's terse message in the words of this program, with a hint.
std::pair<std::string, std::string> explain(const std::string& message) {
  namespace msg = YAML::ErrorMsg;
  if (message == msg::END_OF_SEQ_FLOW) return {"a '[' that is not closed", ""};
  if (message == msg::END_OF_MAP_FLOW) return {"a '{' that is not closed", ""};
  if (message == msg::EOF_IN_SCALAR) return {"a quote that is not closed", ""};
  if (message == msg::TAB_IN_INDENTATION) return {"a tab in the indentation", "use spaces"};
  if (message == msg::FLOW_END) return {"a bracket that closes nothing", ""};
  if (message == msg::UNKNOWN_ANCHOR)
    return {"an alias to an anchor that is not defined before it", ""};
  if (message == msg::MAP_VALUE || message == msg::END_OF_MAP || message == msg::END_OF_SEQ ||
      message == msg::BLOCK_ENTRY || message == msg::MAP_KEY)
    return {"not valid YAML: " + message, "check the indentation, and quote text that holds ': '"};
  return {"not valid YAML: " + message, ""};
}

}  // namespace

Node internal::parse_value(std::string_view text, const std::string& name) {
  text = without_mark(text);
  check_text(text, name);
  Collector collector(text, name);
  try {
    std::istringstream stream(str(text, "\n", end_marker, "\n"));
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(collector)) {
    }
  } catch (const YAML::Exception& error) {
    auto [what, hint] = explain(error.msg);
    collector.fail(error.mark.line + 1, error.mark.column + 1, what, hint);
  }
  if (collector.events().empty()) return {};
  Node root = TreeBuilder(collector, name).build();
  Problems problems;
  finish(root, "", problems);
  problems.raise();
  return root;
}

Node parse_text(std::string_view text, const std::string& name) {
  std::string lines(text);
  if (line_end(text) == '\r') std::replace(lines.begin(), lines.end(), '\r', '\n');
  Node root = internal::parse_value(lines, name);
  if (root.is_null())
    throw Error(ErrorKind::recipe, "the recipe is empty", name,
                "see configs/ for recipes to start from");
  return root;
}

}  // namespace compress::recipe
