#pragma once
// The file of a SentencePiece model: a Protocol Buffers message.

#include <cstdint>
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

}  // namespace compress::text
