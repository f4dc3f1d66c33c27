#include "compress/text/tokenizer.h"

#include "compress/base/error.h"
#include "load.h"
#include "wordpiece.h"

namespace compress::text {

Encoding Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  Encoding out;
  encode(text, std::nullopt, options, out);
  return out;
}

Encoding Tokenizer::encode(std::string_view text, std::string_view pair,
                           const EncodeOptions& options) const {
  Encoding out;
  encode(text, pair, options, out);
  return out;
}

std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& folder) {
  std::filesystem::path json = folder / "tokenizer.json", vocabulary = folder / "vocab.txt";
  std::error_code ignored;
  if (std::filesystem::exists(json, ignored))
    return std::make_unique<WordPiece>(read_tokenizer_json(json), json.string());
  if (std::filesystem::exists(vocabulary, ignored))
    return std::make_unique<WordPiece>(read_vocab_txt(vocabulary), vocabulary.string());
  throw Error(ErrorKind::model, "the folder has neither tokenizer.json nor vocab.txt",
              folder.string(), "give the folder of a model with its tokenizer files");
}

}  // namespace compress::text
