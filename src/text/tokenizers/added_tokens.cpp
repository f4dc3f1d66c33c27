#include "tokenizers/added_tokens.h"

#include <algorithm>

#include "unicode/unicode.h"

namespace compress::text {
namespace {

// The code point that ends `text`, which is not empty.
Decoded decode_last(std::string_view text) {
  size_t start = text.size() - 1;
  while (start > 0 && text.size() - start < 4 && (static_cast<uint8_t>(text[start]) & 0xC0) == 0x80)
    --start;
  Decoded d = decode_utf8(text.substr(start));
  if (start + d.length != text.size()) return {replacement_character, 1};
  return d;
}

bool ends_with_word(std::string_view text) {
  return !text.empty() && is_word(decode_last(text).code_point);
}

bool starts_with_word(std::string_view text) {
  return !text.empty() && is_word(decode_utf8(text).code_point);
}

uint32_t spaces_at_end(std::string_view text) {
  uint32_t count = 0;
  while (!text.empty()) {
    Decoded d = decode_last(text);
    if (!is_white_space(d.code_point)) break;
    text.remove_suffix(d.length);
    count += d.length;
  }
  return count;
}

uint32_t spaces_at_start(std::string_view text) {
  uint32_t count = 0;
  while (!text.empty()) {
    Decoded d = decode_utf8(text);
    if (!is_white_space(d.code_point)) break;
    text.remove_prefix(d.length);
    count += d.length;
  }
  return count;
}

}  // namespace

AddedTokenFinder::AddedTokenFinder(const std::vector<const AddedToken*>& tokens) : tokens_(tokens) {
  Trie::Keys keys;
  for (size_t i = 0; i < tokens.size(); ++i) {
    keys.emplace_back(tokens[i]->pattern, static_cast<int32_t>(i));
    starts_[static_cast<uint8_t>(tokens[i]->pattern[0])] = true;
  }
  trie_ = Trie({keys});
}

void AddedTokenFinder::split(std::string_view text, std::vector<Stretch>& out) const {
  out.clear();
  const uint32_t size = static_cast<uint32_t>(text.size());
  uint32_t done = 0;  // text before this is in `out`
  for (uint32_t at = 0; !tokens_.empty() && at < size;) {
    if (!starts_[static_cast<uint8_t>(text[at])]) {
      ++at;
      continue;
    }
    Trie::Match match = trie_.longest(0, text.substr(at));
    if (match.value < 0) {
      ++at;
      continue;
    }
    uint32_t begin = at, end = at + match.length;
    at = end;
    const AddedToken* token = tokens_[static_cast<size_t>(match.value)];
    if (token->single_word &&
        (ends_with_word(text.substr(0, begin)) || starts_with_word(text.substr(end))))
      continue;
    if (token->lstrip) begin = std::max(begin - spaces_at_end(text.substr(0, begin)), done);
    if (token->rstrip) end += spaces_at_start(text.substr(end));
    if (done < begin) out.push_back({nullptr, done, begin});
    out.push_back({token, begin, end});
    done = end;
  }
  if (done != size) out.push_back({nullptr, done, size});
}

}  // namespace compress::text
