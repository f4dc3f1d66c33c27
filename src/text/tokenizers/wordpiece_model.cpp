// WordPiece for words from any pre-tokenizer: the longest known piece first.

#include <algorithm>

#include "compress/base/strings.h"
#include "models/trie.h"
#include "models/word_model.h"
#include "tokenizers/wordpiece.h"

namespace compress::text {
namespace {

class WordPieceModel final : public WordModel {
 public:
  WordPieceModel(const Vocabulary& vocabulary, WordPieceOptions options)
      : options_(std::move(options)), pieces_(wordpiece_trie(vocabulary, options_.prefix)) {}

  void encode(std::string_view word, WordTokens& out) const override {
    const size_t before = out.ids.size();
    const uint32_t size = static_cast<uint32_t>(word.size());
    auto starts = [](char c) { return (static_cast<uint8_t>(c) & 0xC0) != 0x80; };
    bool known = std::count_if(word.begin(), word.end(), starts) <= options_.max_input_chars;
    for (uint32_t at = 0; known && at < size;) {
      const Trie::Match match = pieces_.longest(at == 0 ? 0 : 1, word.substr(at));
      known = match.value >= 0;
      if (known) out.add(match.value, at, at + match.length);
      at += match.length;
    }
    if (known) return;
    out.ids.resize(before);
    out.spans.resize(before);
    out.add(options_.unk, 0, size);
  }

  int32_t find(std::string_view token) const override { return pieces_.find(0, token); }

  void add_to_hash(Sha256& hash) const override {
    hash.update(str("WordPiece 1 ", options_.unk, " ", options_.max_input_chars, " ",
                    options_.prefix.size(), ":", options_.prefix));
  }

 private:
  WordPieceOptions options_;
  Trie pieces_;
};

}  // namespace

std::unique_ptr<WordModel> make_wordpiece(const Vocabulary& vocabulary, WordPieceOptions options) {
  return std::make_unique<WordPieceModel>(vocabulary, std::move(options));
}

}  // namespace compress::text
