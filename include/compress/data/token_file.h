#pragma once
// The file of tokenised rows that a cache keeps: written piece by piece, read by mapping it.
//
// Little-endian: a header of 4,096 bytes, then the arrays of data::Split, each from a multiple of
// 4,096 bytes on: ids, offsets, first_lengths, lines, classes (or token_classes, or spans), values,
// soft, weights, groups. Rows are Split::texts(). The header's counts say where each array lies and
// how long the file is; nothing else in it is a position.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "compress/data/dataset.h"

namespace compress::data {

// What the rows of a file have as targets.
enum class RowTargets : uint32_t { none, classes, values, soft, token_classes, spans };

// What a file is wanted to hold; one that holds something else is refused.
struct TokenFileKey {
  std::string content_hash;  // Split::content_hash
  int64_t vocabulary = 0;    // ids are 0 .. vocabulary - 1
  RowTargets targets = RowTargets::none;
  int64_t classes = 0;                   // number of classes (classes, soft, token_classes), else 0
  bool weights = false, groups = false;  // whether its rows have them
};

enum class TokenCheck {
  // The header with its hash, the size of the file, rows that lie inside the tokens, class numbers,
  // finite targets. Reads all but the tokens.
  rows,
  // Also the hash of every array and every id.
  all,
};

// Writes a file of tokenised rows. Memory does not grow with it: arrays that come late in the file
// wait in unnamed files beside it. Nothing appears at `path` before commit(). Error{disk}.
class TokenWriter {
 public:
  TokenWriter(const std::filesystem::path& path, TokenFileKey key);
  ~TokenWriter();
  // Adds the rows of `part` (each with a token or more), which has the key's targets.
  void append(const Split& part);
  // With what Split says of the lines and rows that are not in the file.
  void commit(int64_t blank_lines, int64_t empty_rows = 0, int64_t skipped = 0);
  int64_t rows() const;
  int64_t tokens() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Maps the file and fills the arrays, counts of lines and rows, content_hash, cache and vocabulary
// of `split` with views of it. Believes nothing in it that could lead outside the map: ids, which
// TokenCheck::rows does not read, are held below the vocabulary by pack(). Error{data} naming the
// file.
void map_tokens(const std::filesystem::path& path, const TokenFileKey& key, TokenCheck check,
                Split& split);

}  // namespace compress::data
