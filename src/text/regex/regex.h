#pragma once
// Regular expressions as the `tokenizers` library understands them (Oniguruma, Ruby's syntax),
// run by PCRE2.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace compress::text {

// A stretch of text that matched or lay between matches.
struct Match {
  uint32_t begin, end;
  bool matched;
};

// The pattern in PCRE2's syntax (options UTF, UCP and MULTILINE) with the meaning that it has in
// Ruby's: unions and intersections of classes, \h, \s and \w, and, when `exact`, the categories of
// Unicode 16 where PCRE2 knows those of 14. Throws std::invalid_argument on what cannot be said.
std::string to_pcre(std::string_view pattern, bool exact);

// Immutable; may be used from many threads at once.
class Regex {
 public:
  // `literal`: the pattern is a plain string. Throws std::invalid_argument naming what is wrong.
  Regex(std::string_view pattern, bool literal);
  ~Regex();
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;

  // Appends the matches in `text` (well-formed UTF-8) and the stretches between them, from left to
  // right. Throws Error{data} when matching takes too many steps.
  void find_all(std::string_view text, std::vector<Match>& out) const;
  // Whether nothing at all matches in front of `text`, which is not empty.
  bool matches_nothing_before(std::string_view text) const;

 private:
  struct Code;
  std::string literal_;  // found as it is; empty: a pattern
  std::unique_ptr<Code> code_;
};

}  // namespace compress::text
