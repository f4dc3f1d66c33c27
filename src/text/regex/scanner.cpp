#include "regex/scanner.h"

#include <array>

#include "unicode/char_table.h"
#include "unicode/unicode.h"

namespace compress::text {
namespace {

enum Kind : uint8_t { symbol, letter, number, space };

Kind kind_of(char32_t c) {
  const uint8_t bits = CharTable::get()[c];
  if (bits & CharProperty::letter) return letter;
  if (bits & CharProperty::number) return number;
  return is_white_space(c) ? space : symbol;
}

std::array<Kind, 128> ascii_kinds() {
  std::array<Kind, 128> kinds{};
  for (char32_t c = 0; c < 128; ++c) kinds[c] = kind_of(c);
  return kinds;
}

class Scanner {
 public:
  explicit Scanner(std::string_view text)
      : text_(text), size_(static_cast<uint32_t>(text.size())) {}

  uint32_t gpt2(uint32_t at) const {
    if (text_[at] == '\'')
      if (uint32_t end = contraction(at, false)) return end;
    Place here = look(at);
    if (text_[at] == ' ' && at + 1 < size_) {
      const Place next = look(at + 1);
      if (next.kind != space) here = next;
    }
    if (here.kind != space) return run(here.end, here.kind);
    return blank(at, run(at, space));
  }

  uint32_t llama3(uint32_t at, int digits) const {
    if (text_[at] == '\'')
      if (uint32_t end = contraction(at, true)) return end;
    const Place here = look(at);
    if (here.kind == letter) return run(here.end, letter);
    const Place next = here.end < size_ ? look(here.end) : Place{space, size_};
    const bool line_end = is_line_end(at);
    if (here.kind != number && !line_end && next.kind == letter && here.end < size_)
      return run(next.end, letter);
    if (here.kind == number) return numbers(at, digits);
    if (here.kind == symbol) return line_ends(run(here.end, symbol));
    if (text_[at] == ' ' && here.end < size_ && next.kind == symbol)
      return line_ends(run(next.end, symbol));
    const uint32_t end = run(at, space);
    for (uint32_t last = end; last > at; --last)
      if (is_line_end(last - 1)) return last;
    return blank(at, end);
  }

 private:
  struct Place {
    Kind kind;
    uint32_t end;
  };

  Place look(uint32_t at) const {
    static const std::array<Kind, 128> ascii = ascii_kinds();
    const uint8_t byte = static_cast<uint8_t>(text_[at]);
    if (byte < 0x80) return {ascii[byte], at + 1};
    const Decoded d = decode_utf8(text_.substr(at));
    return {kind_of(d.code_point), at + d.length};
  }

  bool is_line_end(uint32_t at) const { return text_[at] == '\n' || text_[at] == '\r'; }

  uint32_t run(uint32_t at, Kind kind) const {
    while (at < size_) {
      const Place here = look(at);
      if (here.kind != kind) break;
      at = here.end;
    }
    return at;
  }

  uint32_t numbers(uint32_t at, int most) const {
    for (; most > 0 && at < size_; --most) {
      const Place here = look(at);
      if (here.kind != number) break;
      at = here.end;
    }
    return at;
  }

  uint32_t line_ends(uint32_t at) const {
    while (at < size_ && is_line_end(at)) ++at;
    return at;
  }

  // White space from `at` to `end` gives its last character to the word that follows it, unless
  // there is none or it is the only one.
  uint32_t blank(uint32_t at, uint32_t end) const {
    if (end == size_) return end;
    uint32_t last = end - 1;
    while (last > at && (static_cast<uint8_t>(text_[last]) & 0xC0) == 0x80) --last;
    return last > at ? last : end;
  }

  // The end of 's, 't, 're, 've, 'm, 'll or 'd at `at`; 0 for none.
  uint32_t contraction(uint32_t at, bool any_case) const {
    auto letter_at = [&](uint32_t place) {
      const char c = place < size_ ? text_[place] : '\0';
      return any_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c + 'a' - 'A') : c;
    };
    const char first = letter_at(at + 1), second = letter_at(at + 2);
    if (first == 's' || first == 't' || first == 'm' || first == 'd') return at + 2;
    if ((first == 'r' || first == 'v') && second == 'e') return at + 3;
    if (first == 'l' && second == 'l') return at + 3;
    constexpr std::string_view long_s = "\u017F";  // a small s, whatever the case
    if (any_case && text_.substr(at + 1).starts_with(long_s)) return at + 3;
    return 0;
  }

  std::string_view text_;
  uint32_t size_;
};

constexpr std::string_view expressions[] = {
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)",
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)",
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)"};

}  // namespace

std::string_view expression_of(WordPattern pattern) {
  return expressions[static_cast<size_t>(pattern)];
}

std::optional<WordPattern> known_pattern(std::string_view expression) {
  for (WordPattern pattern : {WordPattern::gpt2, WordPattern::llama3, WordPattern::qwen2})
    if (expression == expression_of(pattern)) return pattern;
  return std::nullopt;
}

void scan_words(WordPattern pattern, std::string_view text, std::vector<uint32_t>& ends) {
  const Scanner scanner(text);
  for (uint32_t at = 0; at < text.size();) {
    at = pattern == WordPattern::gpt2     ? scanner.gpt2(at)
         : pattern == WordPattern::llama3 ? scanner.llama3(at, 3)
                                          : scanner.llama3(at, 1);
    ends.push_back(at);
  }
}

}  // namespace compress::text
