#pragma once
// Unicode normal forms with the changes that lead to them.

#include <string_view>
#include <vector>

#include "unicode/transform.h"

namespace compress::text {

enum class NormalForm : uint8_t { nfc, nfd, nfkc, nfkd };

// Whether the text surely is in the form already: a quick look, character by character.
bool surely_normal(std::string_view text, NormalForm form);

// Replaces `out` by the changes that bring `text` (well-formed UTF-8) into the form.
void normal_form(std::string_view text, NormalForm form, std::vector<Change>& out);

}  // namespace compress::text
