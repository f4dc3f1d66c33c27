#include "compress/checkpoint/vocabulary.h"

#include <vector>

#include "compress/base/strings.h"

namespace compress::checkpoint {

std::string missing_rows(const text::Tokenizer& tokenizer, const nn::ModelConfig& config) {
  constexpr int64_t shown = 4;
  const int64_t tokens = tokenizer.vocabulary_size(), rows = config.vocab_size;
  if (tokens <= rows) return {};
  std::vector<std::string> names;
  for (int64_t id = rows; id < std::min(tokens, rows + shown); ++id)
    if (const auto name = tokenizer.id_to_token(static_cast<int32_t>(id)))
      names.push_back(str("'", *name, "'"));
  return str("the tokenizer has ", tokens, " tokens and the model's embedding ", rows,
             " rows: texts with the tokens from number ", rows, " on (", join(names, ", "),
             tokens > rows + shown ? ", ..." : "",
             ") cannot be read; resize_vocabulary gives them rows");
}

}  // namespace compress::checkpoint
