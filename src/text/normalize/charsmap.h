#pragma once
// The compiled normalisation rules of SentencePiece models ("precompiled_charsmap").

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "unicode/transform.h"

namespace compress::text {

// A double-array trie (darts-clone) of byte strings, and what they become.
class Charsmap {
 public:
  // Throws std::invalid_argument when the bytes are not a charsmap.
  explicit Charsmap(std::string_view bytes);

  // Replaces `out` by the changes that normalise `text`, as the `tokenizers` library does it: whole
  // grapheme clusters of less than six bytes first, else character by character. Returns false when
  // nothing changes.
  bool normalize(std::string_view text, std::vector<Change>& out) const;

 private:
  std::optional<std::string_view> find(std::string_view key) const;
  void replace(std::string_view key, std::string_view by, std::vector<Change>& out) const;

  std::vector<uint32_t> units_;
  std::string replacements_;
  bool starts_[256] = {};  // bytes that a rule starts with
};

}  // namespace compress::text
