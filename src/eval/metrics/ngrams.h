#pragma once
// What metrics of written texts count: words between white space, and runs of symbols.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "compress/eval/metrics.h"

namespace compress {

// str.split() of Python.
std::vector<std::u32string_view> words_between_spaces(std::u32string_view text);

// A number for each word, so that a text is a string of symbols.
class Vocabulary {
 public:
  std::u32string symbols(const std::vector<std::u32string_view>& words);

 private:
  std::map<std::u32string, char32_t, std::less<>> numbers_;
};

// How often each run of n symbols occurs. Views of `symbols`.
using Grams = std::unordered_map<std::u32string_view, int64_t>;
Grams grams_of(std::u32string_view symbols, size_t n);
// The runs of both, each as often as in the one that has it less often.
int64_t common(const Grams& one, const Grams& other);

// Error{internal} unless each text has a reference, Error{data} without any.
void check_texts(const char* name, const WrittenTexts& texts);
// "1", or "var" where texts have different numbers of references.
std::string references_of_each(const WrittenTexts& texts);

}  // namespace compress
