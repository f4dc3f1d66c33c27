#pragma once
// Edits of a text that remembers where each of its bytes came from.
//
// The rules are those of NormalizedString::transform of the `tokenizers` library, so that offsets
// come out the same: a character that replaces another takes the source of the one replaced, an
// inserted character that of the byte before.

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "unicode/sourced.h"

namespace compress::text {

// One character of the new text. change > 0: inserted; 0: replaces the next character of the old
// text; < 0: replaces the next and removes -change characters after it.
struct Change {
  char32_t code_point;
  int32_t change;
};

// Rewrites `text` into `out`, whose memory is re-used. `skipped` characters at the front of the old
// text go first. Source ranges are kept when `offsets`; `origin` is where the text starts in the
// user's text.
void apply_changes(const Normalized& text, std::span<const Change> changes, size_t skipped,
                   bool offsets, uint32_t origin, Normalized& out);

// Replaces `out` by `text`, which starts at byte `base` of the user's text, as well-formed UTF-8.
void copy_text(std::string_view text, uint32_t base, bool offsets, Normalized& out);

// Bytes of the character at `at`.
inline uint32_t char_length(std::string_view text, size_t at) {
  const uint8_t lead = static_cast<uint8_t>(text[at]);
  return lead < 0xC0 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

}  // namespace compress::text
