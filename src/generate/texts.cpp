#include "compress/generate/texts.h"

#include <algorithm>

namespace compress::generate {

// A token has a byte at least; a few more before them keep what the decoder does at a beginning
// away.
std::function<bool(std::span<const int64_t>)> stops_at(std::vector<std::string> texts,
                                                       const text::Tokenizer& tokenizer) {
  if (texts.empty()) return {};
  size_t longest = 0;
  for (const std::string& text : texts) longest = std::max(longest, text.size());
  return [texts = std::move(texts), &tokenizer, longest](std::span<const int64_t> fresh) {
    const std::span<const int64_t> last = fresh.last(std::min(fresh.size(), longest + 8));
    const std::string said = tokenizer.decode(std::vector<int32_t>(last.begin(), last.end()));
    return std::any_of(texts.begin(), texts.end(), [&](const std::string& text) {
      return said.find(text) != std::string::npos;
    });
  };
}

std::string text_of(const text::Tokenizer& tokenizer, const Tokens& prompt, const Tokens& fresh) {
  std::vector<int32_t> all(prompt.begin(), prompt.end());
  const std::string before = tokenizer.decode(all);
  all.insert(all.end(), fresh.begin(), fresh.end());
  const std::string whole = tokenizer.decode(all);
  if (whole.starts_with(before)) return whole.substr(before.size());
  return tokenizer.decode(std::vector<int32_t>(fresh.begin(), fresh.end()));
}

}  // namespace compress::generate
