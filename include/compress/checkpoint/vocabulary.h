#pragma once
// Where a tokenizer and a model meet: ids against rows of the embedding.

#include <string>

#include "compress/nn/model.h"
#include "compress/text/tokenizer.h"

namespace compress::checkpoint {

// What to warn of where the tokenizer has more tokens than the model's embedding has rows, as a
// sentence with both numbers and some of the tokens; empty where every token has a row. Such models
// are published, with special tokens that no text has: a text that has one is an error of its own
// (eval::check_rows).
std::string missing_rows(const text::Tokenizer& tokenizer, const nn::ModelConfig& config);

}  // namespace compress::checkpoint
