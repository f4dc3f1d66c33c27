#pragma once
// Between generated tokens and texts.

#include <functional>
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

}  // namespace compress::generate
