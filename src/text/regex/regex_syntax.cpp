// Ruby's regular expressions (Oniguruma) in the syntax of PCRE2.

#include <array>
#include <stdexcept>
#include <utility>

#include "compress/base/strings.h"
#include "regex/regex.h"
#include "unicode/char_table.h"

namespace compress::text {
namespace {

constexpr std::string_view any = R"(\x{0}-\x{10FFFF})";
constexpr std::string_view spaces =
    R"(\x09-\x0D\x20\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})";
// What \w has besides outside a class: numbers of Latin-1.
constexpr std::string_view latin_numbers = R"(\x{B2}\x{B3}\x{B9}\x{BC}-\x{BE})";
// Alphabetic characters that are neither letters nor marks nor numbers.
constexpr std::string_view word_class =
    R"(\x{24B6}-\x{24E9}\x{1F130}-\x{1F149}\x{1F150}-\x{1F169}\x{1F170}-\x{1F189})";
constexpr int deepest = 100;

std::string hex(char32_t c) {
  constexpr char hex_digits[] = "0123456789ABCDEF";
  std::string digits;
  do digits.insert(digits.begin(), hex_digits[c & 15]);
  while ((c >>= 4) != 0);
  return "\\x{" + digits + "}";
}

bool is_category(std::string_view name) {
  constexpr std::string_view major_categories = "CLMNPSZ";
  if (name.empty() || name.size() > 2 || major_categories.find(name[0]) == major_categories.npos)
    return false;
  return name.size() == 1 || (name[1] >= 'a' && name[1] <= 'z') || name == "L&";
}

// General categories by their long names, and classes of POSIX. Keys in lower case without
// separators; values are members of a class.
constexpr std::pair<std::string_view, std::string_view> long_names[] = {{"letter", "L"},
                                                                        {"uppercaseletter", "Lu"},
                                                                        {"lowercaseletter", "Ll"},
                                                                        {"titlecaseletter", "Lt"},
                                                                        {"modifierletter", "Lm"},
                                                                        {"otherletter", "Lo"},
                                                                        {"mark", "M"},
                                                                        {"nonspacingmark", "Mn"},
                                                                        {"spacingmark", "Mc"},
                                                                        {"enclosingmark", "Me"},
                                                                        {"number", "N"},
                                                                        {"decimalnumber", "Nd"},
                                                                        {"letternumber", "Nl"},
                                                                        {"othernumber", "No"},
                                                                        {"punctuation", "P"},
                                                                        {"symbol", "S"},
                                                                        {"mathsymbol", "Sm"},
                                                                        {"currencysymbol", "Sc"},
                                                                        {"modifiersymbol", "Sk"},
                                                                        {"othersymbol", "So"},
                                                                        {"separator", "Z"},
                                                                        {"other", "C"},
                                                                        {"control", "Cc"},
                                                                        {"format", "Cf"},
                                                                        {"digit", "Nd"},
                                                                        {"cntrl", "Cc"}};

class Translator {
 public:
  Translator(std::string_view pattern, bool exact) : in_(pattern), exact_(exact) {}

  std::string run() {
    while (at_ < in_.size()) step();
    return std::move(out_);
  }

 private:
  // Members of a set of characters, and what else matches one character of it.
  struct Operand {
    std::string members;
    std::vector<std::string> alternatives;
  };

  [[noreturn]] void fail(const std::string& what) const {
    throw std::invalid_argument(str(what, ", at ", at_));
  }
  bool next_is(std::string_view text) const { return in_.substr(at_).starts_with(text); }
  char take() {
    if (at_ >= in_.size()) fail("it ends too early");
    return in_[at_++];
  }

  void step() {
    const char c = take();
    if (c == '\\') return escape();
    if (c == '{' && quantifier()) return;
    if (c == '(') return open_group();
    if (c == ')' && !groups_.empty()) {
      atom_ = groups_.back();
      groups_.pop_back();
      out_ += c;
      return;
    }
    constexpr std::string_view operators = "*+?|^$";
    if (operators.find(c) == operators.npos && (static_cast<uint8_t>(c) & 0xC0) != 0x80)
      atom_ = out_.size();
    if (c == '[')
      out_ += char_class(0).second;
    else
      out_ += c;
  }

  // An interval. Ruby's {,n} is {0,n}; {n,m}+ repeats the interval and is not possessive.
  bool quantifier() {
    const size_t end = in_.find('}', at_);
    if (end == in_.npos) return false;
    std::string body(in_.substr(at_, end - at_));
    if (body.empty() || body.find_first_not_of("0123456789,") != body.npos) return false;
    if (body[0] == ',') body.insert(0, "0");
    at_ = end + 1;
    out_ += "{" + body + "}";
    if (next_is("+")) {
      out_.insert(atom_, "(?:");
      out_ += ')';
    }
    return true;
  }

  void open_group() {
    if (next_is("*") || next_is("?~") || next_is("?{")) fail("this kind of group is not supported");
    groups_.push_back(out_.size());
    out_ += '(';
    if (!next_is("?")) return;
    out_ += take();
    // Ruby's option m lets the dot match line ends: PCRE2's s.
    while (at_ < in_.size() && std::string_view("imx-").find(in_[at_]) != std::string_view::npos) {
      const char option = take();
      out_ += option == 'm' ? 's' : option;
    }
  }

  // What follows a backslash outside a class.
  void escape() {
    atom_ = out_.size();
    bool negated = false;
    const size_t start = at_;
    if (std::string members = shorthand(negated); !members.empty()) {
      if (in_[start] == 'w' || in_[start] == 'W') members += latin_numbers;
      out_ += (negated ? "[^" : "[") + members + "]";
      return;
    }
    at_ = start;
    const char c = take();
    const std::string word = "[" + word_members() + std::string(latin_numbers) + "]";
    if (c == 'b')
      out_ += "(?:(?<=" + word + ")(?!" + word + ")|(?<!" + word + ")(?=" + word + "))";
    else if (c == 'B')
      out_ += "(?:(?<=" + word + ")(?=" + word + ")|(?<!" + word + ")(?!" + word + "))";
    else if (c == 'O')
      out_ += "(?s:.)";
    else
      out_ += plain_escape(c);
  }

  // An escape that means one character, or a place.
  std::string plain_escape(char c) {
    if (c == 'v') return "\\x0B";
    if (c == 'u') {
      std::string digits;
      while (digits.size() < 4) digits += take();
      if (digits.find_first_not_of("0123456789abcdefABCDEF") != digits.npos) fail("bad \\u");
      return "\\x{" + digits + "}";
    }
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    constexpr std::string_view same_escapes = "AzZGKRXNntrfaekgxo";
    if (letter && same_escapes.find(c) == same_escapes.npos) return std::string(1, c);
    return std::string("\\") + c;
  }

  // The members of \s, \p{...} and their like, "" for another escape.
  std::string shorthand(bool& negated) {
    const char c = take();
    negated = c >= 'A' && c <= 'Z';
    switch (c) {
      case 's':
      case 'S':
        return std::string(spaces);
      case 'w':
      case 'W':
        return word_members();
      case 'd':
      case 'D':
        return category("Nd");
      case 'h':
      case 'H':
        return "0-9a-fA-F";
      case 'p':
      case 'P':
        return property(negated);
      default:
        return {};
    }
  }

  std::string property(bool& negated) {
    if (take() != '{') fail("a property needs braces");
    const size_t end = in_.find('}', at_);
    if (end == in_.npos) fail("a property's brace is not closed");
    std::string_view name = in_.substr(at_, end - at_);
    at_ = end + 1;
    if (name.starts_with('^')) {
      negated = !negated;
      name.remove_prefix(1);
    }
    if (name.empty() ||
        name.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_- &") !=
            name.npos)
      fail(str("the property '", name, "' is not known"));
    if (is_category(name)) return category(name);
    return named(name);
  }

  std::string named(std::string_view name) const {
    std::string key;
    for (char c : lower_ascii(name))
      if (c != '_' && c != '-' && c != ' ') key += c;
    for (const auto& [long_name, short_name] : long_names)
      if (key == long_name) return category(short_name);
    if (key == "any") return std::string(any);
    if (key == "space" || key == "whitespace") return std::string(spaces);
    if (key == "word") return word_members();
    if (key == "alpha") return "\\p{Alphabetic}" + newer("L");
    if (key == "alnum") return "\\p{Alphabetic}" + newer("L") + category("Nd");
    if (key == "upper") return "\\p{Uppercase}" + newer("Lu");
    if (key == "lower") return "\\p{Lowercase}" + newer("Ll");
    if (key == "punct") return category("P") + category("S");
    if (key == "han") return "\\p{sc:Han}" + newer("Lo", 0x20000);
    if (key.starts_with("emoji") || key.starts_with("extended") || key == "alphabetic")
      return str("\\p{", key, "}");
    return str("\\p{sc:", key, "}");
  }

  std::string category(std::string_view name) const {
    return str("\\p{", name, "}", newer(name == "L&" ? "L" : name));
  }

  std::string word_members() const {
    return category("L") + category("M") + category("Nd") + category("Nl") + category("Pc") +
           std::string(word_class);
  }

  // Ranges of a category that PCRE2 does not know.
  std::string newer(std::string_view name, char32_t from = 0) const {
    std::string out;
    if (!exact_) return out;
    for (const NewerRange& r : newer_ranges())
      if (r.first >= from && std::string_view(r.category).starts_with(name))
        out += hex(r.first) + "-" + hex(r.last);
    return out;
  }

  static std::string one_of(const Operand& operand) {
    std::string out = operand.members.empty() ? "" : "[" + operand.members + "]";
    for (const std::string& alternative : operand.alternatives)
      out += (out.empty() ? "" : "|") + alternative;
    return out.empty() ? "(?!)" : "(?:" + out + ")";
  }

  // A class whose opening bracket was read, as an operand of the class around it and as a pattern
  // of its own.
  std::pair<Operand, std::string> char_class(int depth) {
    if (depth > deepest) fail("classes are nested too deep");
    const bool negated = next_is("^");
    if (negated) ++at_;
    std::vector<Operand> operands(1);
    if (next_is("]")) operands[0].members += "\\" + std::string(1, take());
    while (!next_is("]")) {
      if (next_is("&&")) {
        at_ += 2;
        operands.emplace_back();
      } else {
        class_item(operands.back(), depth);
      }
    }
    ++at_;
    if (operands.size() == 1 && operands[0].alternatives.empty()) {
      const std::string& members = operands[0].members;
      const std::string pattern = members.empty() ? (negated ? str("[", any, "]") : "(?!)")
                                                  : str(negated ? "[^" : "[", members, "]");
      if (negated) return {Operand{"", {pattern}}, pattern};
      return {operands[0], pattern};
    }
    std::string pattern;
    for (size_t i = 0; i < operands.size(); ++i)
      pattern += i + 1 < operands.size() ? "(?=" + one_of(operands[i]) + ")" : one_of(operands[i]);
    pattern = negated ? str("(?:(?!", pattern, ")[", any, "])") : "(?:" + pattern + ")";
    return {Operand{"", {pattern}}, pattern};
  }

  void class_item(Operand& operand, int depth) {
    const char c = take();
    if (c == '[' && next_is(":")) {
      const size_t end = in_.find(":]", at_);
      if (end == in_.npos) fail("a class is not closed");
      std::string_view name = in_.substr(at_ + 1, end - at_ - 1);
      at_ = end + 2;
      const bool without = name.starts_with('^');
      if (without) name.remove_prefix(1);
      add_set(operand, name == "xdigit" ? "0-9a-fA-F" : named(name), without);
    } else if (c == '[') {
      Operand inner = char_class(depth + 1).first;
      operand.members += inner.members;
      for (std::string& alternative : inner.alternatives)
        operand.alternatives.push_back(std::move(alternative));
    } else if (c == '\\') {
      bool negated = false;
      const size_t start = at_;
      if (std::string members = shorthand(negated); !members.empty())
        return add_set(operand, members, negated);
      at_ = start;
      const char escaped = take();
      operand.members += escaped == 'b' ? "\\x08" : plain_escape(escaped);
    } else {
      operand.members += c;
    }
  }

  void add_set(Operand& operand, const std::string& members, bool negated) {
    if (negated)
      operand.alternatives.push_back("[^" + members + "]");
    else
      operand.members += members;
    if (next_is("-") && at_ + 1 < in_.size() && in_[at_ + 1] != ']') {
      ++at_;  // no range starts with a set
      operand.members += "\\-";
    }
  }

  std::string_view in_;
  bool exact_;
  size_t at_ = 0;
  size_t atom_ = 0;  // where the last atom starts in out_
  std::vector<size_t> groups_;
  std::string out_;
};

}  // namespace

std::string to_pcre(std::string_view pattern, bool exact) {
  return Translator(pattern, exact).run();
}

}  // namespace compress::text
