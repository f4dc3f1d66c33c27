#pragma once
// Tokens that are looked for in the text itself, before words are split.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "models/trie.h"

namespace compress::text {

struct AddedToken {
  std::string content;
  int32_t id = -1;
  bool special = false;      // skipped by decode
  bool single_word = false;  // only between characters that are not of words
  bool lstrip = false;       // takes the white space on its left
  bool rstrip = false;       // takes the white space on its right
  bool normalized = true;    // looked for in the normalised text, by its normalised content
  std::string pattern;       // what is looked for
};

// A stretch of text: an added token, or (`token` null) text between them.
struct Stretch {
  const AddedToken* token;
  uint32_t begin, end;
};

// Finds added tokens from left to right, the longest of those that start at one place, exactly as
// AddedVocabulary::find_matches of the `tokenizers` library does.
class AddedTokenFinder {
 public:
  AddedTokenFinder() = default;
  // Patterns are distinct and not empty. `tokens` must outlive the finder.
  explicit AddedTokenFinder(const std::vector<const AddedToken*>& tokens);
  bool empty() const { return tokens_.empty(); }
  // Overwrites `out`. Stretches of text are never empty.
  void split(std::string_view text, std::vector<Stretch>& out) const;

 private:
  std::vector<const AddedToken*> tokens_;
  Trie trie_;
  bool starts_[256] = {};  // bytes that a pattern starts with
};

}  // namespace compress::text
