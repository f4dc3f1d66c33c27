#pragma once
// The file of a SentencePiece model: a Protocol Buffers message.

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace compress::text {

struct SentencePieceModel {
  enum Type : int32_t { normal = 1, unknown, control, user_defined, unused, byte };
  struct Piece {
    std::string text;
    float score = 0;
    int32_t type = normal;
  };
  std::vector<Piece> pieces;  // by id
  int32_t model_type = 1;     // 1 unigram, 2 BPE, 3 words, 4 characters
  bool byte_fallback = false;
  std::string charsmap;
};

// Reads the fields above and skips others. Throws std::invalid_argument on anything malformed.
SentencePieceModel parse_sentencepiece(std::string_view bytes);

// The same file with those of its pieces for which `keep` is true; everything else is copied byte
// for byte. Throws std::invalid_argument as above.
std::string filter_sentencepiece(std::string_view bytes,
                                 const std::function<bool(const SentencePieceModel::Piece&)>& keep);

}  // namespace compress::text
