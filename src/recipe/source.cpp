// What a recipe's bytes must be before a YAML parser sees them.

#include "compress/base/error.h"
#include "compress/base/lines.h"
#include "compress/base/stand_in.h"
#include "compress/base/strings.h"
#include "compress/base/utf8.h"
#include "internal.h"

namespace compress::recipe::internal {

namespace {

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
      const size_t length = utf8_length(text_.substr(i));
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
  if (const std::string_view encoding = wide_encoding(text); !encoding.empty())
    throw Error(ErrorKind::recipe, str("the recipe is ", encoding), name, "save the file as UTF-8");
  if (const FileKind kind = foreign_kind(text))
    throw Error(ErrorKind::recipe, str("the recipe is ", kind.what), name, kind.remedy);
  Checker(text, name).run();
}

}  // namespace compress::recipe::internal
