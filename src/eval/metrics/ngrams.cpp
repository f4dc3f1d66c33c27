#include "metrics/ngrams.h"

#include <algorithm>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/text/python.h"
#include "metrics/checks.h"

namespace compress {

std::vector<std::u32string_view> words_between_spaces(std::u32string_view text) {
  std::vector<std::u32string_view> words;
  for (size_t at = 0; at < text.size();) {
    if (text::is_space(text[at])) {
      ++at;
      continue;
    }
    size_t end = at;
    while (end < text.size() && !text::is_space(text[end])) ++end;
    words.push_back(text.substr(at, end - at));
    at = end;
  }
  return words;
}

std::u32string Vocabulary::symbols(const std::vector<std::u32string_view>& words) {
  std::u32string text;
  for (std::u32string_view word : words) {
    auto found = numbers_.find(word);
    if (found == numbers_.end())
      found = numbers_.emplace(word, static_cast<char32_t>(numbers_.size())).first;
    text.push_back(found->second);
  }
  return text;
}

Grams grams_of(std::u32string_view symbols, size_t n) {
  Grams grams;
  for (size_t at = 0; at + n <= symbols.size(); ++at) ++grams[symbols.substr(at, n)];
  return grams;
}

int64_t common(const Grams& one, const Grams& other) {
  int64_t both = 0;
  for (const auto& [gram, count] : one)
    if (const auto found = other.find(gram); found != other.end())
      both += std::min(count, found->second);
  return both;
}

void check_texts(const char* name, const WrittenTexts& texts) {
  check_sizes(name, texts.written.size(), texts.references.size());
  for (const std::vector<std::string>& each : texts.references)
    if (each.empty()) throw Error(ErrorKind::internal, str(name, ": a text without a reference"));
}

std::string references_of_each(const WrittenTexts& texts) {
  const size_t count = texts.references.front().size();
  for (const std::vector<std::string>& each : texts.references)
    if (each.size() != count) return "var";
  return str(count);
}

}  // namespace compress
