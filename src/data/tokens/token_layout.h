#pragma once
// Where the arrays of a file of tokenised rows lie.

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

#include "compress/base/hash.h"
#include "compress/data/token_file.h"

namespace compress::data {

static_assert(std::endian::native == std::endian::little, "the file's numbers are little-endian");

inline constexpr uint64_t token_page = 4096;
// Raised when the layout changes, and when readers or tokenizers make other tokens of a file.
inline constexpr uint32_t token_file_version = 2;

enum class Section { ids, offsets, first_lengths, lines, classes, values, soft, weights, groups };
inline constexpr size_t section_count = 9;
inline constexpr size_t first_sums = 7;  // sections of files from before rows had columns

// Which columns the rows have, in TokenHeader::columns.
inline uint64_t columns_of(const TokenFileKey& key) {
  return (key.weights ? 1 : 0) | (key.groups ? 2 : 0);
}

struct TokenHeader {
  char magic[8];
  uint32_t version, targets;
  char content_hash[64];
  uint64_t rows, tokens, classes, vocabulary, blank_lines;
  uint64_t sums[first_sums];
  // 0 in files from before there were such things, as all that follows.
  uint64_t empty_rows, skipped;
  uint64_t columns;
  uint64_t column_sums[section_count - first_sums];
  unsigned char reserved[3872];  // zeros
  uint64_t sum;                  // of all bytes before it

  // The hash of a section; none for a column that the file does not have.
  uint64_t sum_of(size_t section) const {
    return section < first_sums ? sums[section] : column_sums[section - first_sums];
  }
};
static_assert(sizeof(TokenHeader) == token_page);
inline constexpr char token_magic[8] = {'c', 't', 'o', 'k', 'e', 'n', 's', '\n'};

struct TokenLayout {
  std::array<uint64_t, section_count> begin{}, bytes{};
  uint64_t total = 0;  // of the file
};

inline TokenLayout token_layout(const TokenFileKey& key, uint64_t rows, uint64_t tokens) {
  auto when = [&](RowTargets targets, uint64_t bytes) {
    return key.targets == targets ? bytes : 0;
  };
  TokenLayout layout;
  layout.bytes = {tokens * sizeof(int32_t),
                  (rows + 1) * sizeof(int64_t),
                  rows * sizeof(int32_t),
                  rows * sizeof(int64_t),
                  when(RowTargets::classes, rows * sizeof(int32_t)) +
                      when(RowTargets::token_classes, tokens * sizeof(int32_t)) +
                      when(RowTargets::spans, 2 * rows * sizeof(int32_t)),
                  when(RowTargets::values, rows * sizeof(float)),
                  when(RowTargets::soft, rows * static_cast<uint64_t>(key.classes) * sizeof(float)),
                  key.weights ? rows * sizeof(float) : 0,
                  key.groups ? rows * sizeof(int64_t) : 0};
  uint64_t at = token_page;
  for (size_t i = 0; i < section_count; ++i) {
    layout.begin[i] = at;
    if (layout.bytes[i] > 0) layout.total = at + layout.bytes[i];
    at = (at + layout.bytes[i] + token_page - 1) / token_page * token_page;
  }
  return layout;
}

// A hash against damage by accident, of whole 32-bit words in any number of pieces.
class WordSum {
 public:
  void update(const void* data, uint64_t bytes) {
    const auto* at = static_cast<const unsigned char*>(data);
    for (uint64_t i = 0; i < bytes; i += 4) {
      uint32_t word;
      std::memcpy(&word, at + i, 4);
      state_ = (state_ ^ word) * 0x9E3779B97F4A7C15ull;
    }
  }
  uint64_t value() const { return mix64(state_); }

 private:
  uint64_t state_ = 0xCBF29CE484222325ull;
};

inline uint64_t header_sum(const TokenHeader& header) {
  WordSum sum;
  sum.update(&header, sizeof header - sizeof header.sum);
  return sum.value();
}

}  // namespace compress::data
