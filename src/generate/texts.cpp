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

Writer writer(const std::filesystem::path& folder, const nn::ModelConfig& config,
              const text::Tokenizer& tokenizer, nn::Precision precision, int64_t max_new_tokens,
              const WritingOptions& asked) {
  FolderOptions stated = folder_options(folder, config);
  auto take = [&](const auto& value, auto& option, const char* key) {
    if (!value) return;
    option = *value;
    stated.stated.erase(key);
  };
  take(std::optional(asked.max_new_tokens.value_or(max_new_tokens)), stated.options.max_new_tokens,
       "max_new_tokens");
  take(asked.num_beams, stated.options.num_beams, "num_beams");
  take(asked.no_repeat_ngram, stated.options.no_repeat_ngram, "no_repeat_ngram_size");
  take(asked.length_penalty, stated.options.length_penalty, "length_penalty");
  take(std::optional(false), stated.options.sample, "do_sample");
  take(std::optional(int64_t{1}), stated.options.sequences, "num_return_sequences");
  Options options = resolve(stated);
  options.stop = stops_at(stated.stop, tokenizer);
  options.precision = precision;
  return [options, &tokenizer](nn::Model& model, const std::vector<Tokens>& prompts) {
    const bool reads = model.config().encoder_decoder();
    const std::vector<Sequence> found = generate(model, prompts, options);
    std::vector<std::string> texts;
    for (size_t i = 0; i < found.size(); ++i)
      texts.push_back(text_of(tokenizer, reads ? Tokens{} : prompts[i], found[i].ids));
    return texts;
  };
}

}  // namespace compress::generate
