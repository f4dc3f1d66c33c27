#pragma once
// Between generated tokens and texts.

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "compress/generate/generate.h"
#include "compress/text/tokenizer.h"

namespace compress::generate {

// Whether the last of a row's new tokens say one of `texts`, for Options::stop; empty without
// texts. The tokenizer must outlive it.
std::function<bool(std::span<const int64_t>)> stops_at(std::vector<std::string> texts,
                                                       const text::Tokenizer& tokenizer);

// What was written, as it follows the prompt: decoders of some tokenizers drop a text's first
// space.
std::string text_of(const text::Tokenizer& tokenizer, const Tokens& prompt, const Tokens& fresh);

// How texts that are scored are written, where not as a model's folder says.
struct WritingOptions {
  std::optional<int64_t> max_new_tokens, num_beams, no_repeat_ngram;
  std::optional<double> length_penalty;
  static constexpr const char* docs[] = {
      "tokens to write at most; default: max_target_length of the data",
      "1: the best token each time; more: beam search", "no n tokens come twice; 0: they may",
      "beams score log-probability / tokens^x"};
};
// Continues prompts with one text each, the best one: nothing is drawn. What `asked` leaves open is
// as `folder` says (folder_options), but for the length. The tokenizer must outlive it. Error as
// resolve().
using Writer = std::function<std::vector<std::string>(nn::Model&, const std::vector<Tokens>&)>;
Writer writer(const std::filesystem::path& folder, const nn::ModelConfig& config,
              const text::Tokenizer& tokenizer, nn::Precision precision, int64_t max_new_tokens,
              const WritingOptions& asked = {});

}  // namespace compress::generate
