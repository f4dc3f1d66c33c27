#pragma once
// Files of tokenised rows for tests: small splits, and headers that are made to fit again.

#include <cstring>
#include <fstream>
#include <iterator>

#include "compress/base/hash.h"
#include "compress/data/token_file.h"

namespace compress::data {

// `rows` rows of 1 to 5 tokens below 100 with the targets of `key`.
inline Split small_rows(int64_t rows, const TokenFileKey& key) {
  Split split;
  split.name = "train";
  split.file = "made up";
  split.offsets = {0};
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t length = 1 + row % 5;
    for (int64_t i = 0; i < length; ++i)
      split.ids.push_back(static_cast<int32_t>((row * 7 + i * 13) % 100));
    split.offsets.push_back(split.offsets.back() + length);
    split.first_lengths.push_back(static_cast<int32_t>(length - length / 3));
    split.lines.push_back(row + 2);
    if (key.targets == RowTargets::classes)
      split.classes.push_back(static_cast<int32_t>(row % key.classes));
    if (key.targets == RowTargets::values) split.values.push_back(static_cast<float>(row) / 4);
    if (key.targets == RowTargets::soft)
      for (int64_t i = 0; i < key.classes; ++i)
        split.soft.push_back(1 / static_cast<float>(key.classes));
  }
  for (int64_t i = 0; i < key.classes; ++i) split.labels.push_back(std::to_string(i));
  split.task = key.targets == RowTargets::none     ? Task::unlabelled
               : key.targets == RowTargets::values ? Task::regression
                                                   : Task::classification;
  split.content_hash = key.content_hash;
  return split;
}

inline TokenFileKey small_key(RowTargets targets) {
  const bool classes = targets == RowTargets::classes || targets == RowTargets::soft;
  return {sha256("small"), 100, targets, classes ? 3 : 0};
}

inline bool same_rows(const Split& a, const Split& b) {
  return a.ids == b.ids && a.offsets == b.offsets && a.first_lengths == b.first_lengths &&
         a.classes == b.classes && a.values == b.values && a.soft == b.soft && a.lines == b.lines &&
         a.blank_lines == b.blank_lines && a.empty_rows == b.empty_rows &&
         a.content_hash == b.content_hash;
}

inline std::string bytes_of(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// The hash that the format describes, written down once more.
inline uint64_t sum_of(std::string_view bytes) {
  uint64_t state = 0xCBF29CE484222325ull;
  for (size_t i = 0; i + 4 <= bytes.size(); i += 4) {
    uint32_t word;
    std::memcpy(&word, bytes.data() + i, 4);
    state = (state ^ word) * 0x9E3779B97F4A7C15ull;
  }
  return mix64(state);
}

// Gives a changed header the hash that it needs to be believed.
inline void reseal(std::string& bytes) {
  const uint64_t sum = sum_of(std::string_view(bytes).substr(0, 4088));
  std::memcpy(bytes.data() + 4088, &sum, 8);
}

// Places of the header's fields.
inline constexpr size_t rows_field = 80, tokens_field = 88, classes_field = 96,
                        vocabulary_field = 104, blank_field = 112, sums_field = 120;
inline constexpr size_t first_array = 4096;

}  // namespace compress::data
