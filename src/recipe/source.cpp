// What a recipe's bytes must be before a YAML parser sees them.

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "internal.h"

namespace compress::recipe::internal {

namespace {

// Bytes of the well-formed UTF-8 sequence at text[i], 0 when there is none (overlong, surrogate,
// beyond U+10FFFF).
size_t sequence_length(std::string_view text, size_t i) {
  auto at = [&](size_t k) {
    return i + k < text.size() ? static_cast<unsigned char>(text[i + k]) : 0u;
  };
  unsigned lead = at(0), second = at(1);
  size_t length = lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
  for (size_t k = 1; k < length; ++k)
    if ((at(k) & 0xC0) != 0x80) return 0;
  if (lead == 0xE0 && second < 0xA0) return 0;
  if (lead == 0xED && second > 0x9F) return 0;
  if (lead == 0xF0 && second < 0x90) return 0;
  if (lead == 0xF4 && second > 0x8F) return 0;
  return length;
}

class Checker {
 public:
  Checker(std::string_view text, const std::string& name) : text_(text), name_(name) {}

  void run() {
    for (size_t i = 0; i < text_.size();) {
      char c = text_[i];
      if (c == '\n') {
        next_line(i++);
      } else if (c == ' ' || c == '\t') {
        if (c == '\t' && indenting_ && tab_ == none) tab_ = i;
        ++i;
      } else if (c == '\r' && i + 1 < text_.size() && text_[i + 1] == '\n') {
        ++i;
      } else {
        i += content(i);
      }
    }
  }

 private:
  static constexpr size_t none = std::string_view::npos;

  void next_line(size_t end) {
    ++line_;
    start_ = end + 1;
    indenting_ = true;
    tab_ = none;
  }

  // Checks the character at `i` and returns its length.
  size_t content(size_t i) {
    if (indenting_ && tab_ != none)
      fail(tab_, "a tab in the indentation", "use spaces: YAML does not allow tabs there");
    indenting_ = false;
    auto c = static_cast<unsigned char>(text_[i]);
    if (c == 0) fail(i, "a NUL byte: this is not a text file", "");
    if (c < 0x20 || c == 0x7F) fail(i, str("control character ", static_cast<int>(c)), "remove it");
    if (c >= 0x80) {
      size_t length = sequence_length(text_, i);
      if (length == 0) fail(i, "invalid UTF-8", "save the file as UTF-8");
      return length;
    }
    // The scanner reads ahead to the end of an outer bracket: unbounded brackets would cost it
    // memory.
    if ((c == '[' || c == '{' || c == ',') && ++brackets_ > 2 * max_nodes)
      fail(i, str("more than ", 2 * max_nodes, " brackets and commas"), "a recipe is far smaller");
    return 1;
  }

  [[noreturn]] void fail(size_t i, const std::string& what, const std::string& hint) const {
    Mark mark{name_, line_, static_cast<int>(i - start_) + 1, ""};
    throw Error(ErrorKind::recipe, what, mark.text(), hint);
  }

  std::string_view text_;
  const std::string& name_;
  int line_ = 1;
  size_t start_ = 0, tab_ = none, brackets_ = 0;
  bool indenting_ = true;
};

}  // namespace

void check_text(std::string_view text, const std::string& name) {
  if (text.size() > max_bytes)
    throw Error(ErrorKind::recipe,
                str("the recipe has ", human_bytes(static_cast<double>(text.size())),
                    ", the limit is ", human_bytes(static_cast<double>(max_bytes))),
                name, "is this really a recipe?");
  Checker(text, name).run();
}

}  // namespace compress::recipe::internal
