#pragma once
// Texts as Python's str sees them. Published scripts that prepare or score texts are written in
// its terms; tests/interop/test_answers.py compares the two.

#include <string>
#include <string_view>

namespace compress::text {

// The code points of UTF-8; each ill-formed sequence is U+FFFD.
std::u32string code_points(std::string_view text);
// str.lower(): the lower case of each character, two characters for U+0130, and a final sigma at
// the end of a word.
std::u32string lower(std::u32string_view text);
// str.isspace() of a character: what str.split() splits at.
bool is_space(char32_t c);
// Whether \w of the module re matches a character: a letter, a number or a low line.
bool is_word_character(char32_t c);
// Whether a text is empty or has only characters of is_space.
bool is_blank(std::string_view text);

}  // namespace compress::text
