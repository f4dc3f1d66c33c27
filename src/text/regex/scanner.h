#pragma once
// The word patterns of the best-known models, found without a regular expression engine.

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace compress::text {

enum class WordPattern : uint8_t { gpt2, llama3, qwen2 };

// The regular expression that files state for the pattern.
std::string_view expression_of(WordPattern pattern);
// The pattern that the regular expression is known as.
std::optional<WordPattern> known_pattern(std::string_view expression);

// Appends the ends of the pattern's matches in `text` (well-formed UTF-8), which cover all of it.
void scan_words(WordPattern pattern, std::string_view text, std::vector<uint32_t>& ends);

}  // namespace compress::text
