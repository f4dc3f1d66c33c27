#pragma once
// The tokens of words that a thread met lately.

#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "models/word_model.h"

namespace compress::text {

// A table of fixed size: a word takes the place of the one that was there. Short words with few
// tokens fit; others are not kept. One entry is one cache line.
class WordCache {
 public:
  static constexpr size_t longest_word = 31, most_tokens = 5;

  static uint64_t hash(std::string_view word) {
    uint64_t h = word.size() * 0x9E3779B97F4A7C15ull;
    size_t at = 0;
    for (; at + 8 <= word.size(); at += 8) h = mix(h ^ load(word.data() + at, 8));
    if (at < word.size()) h = mix(h ^ load(word.data() + at, word.size() - at));
    return h ^ h >> 29;
  }

  // Appends the tokens of `word` when they are here.
  bool find(std::string_view word, uint64_t hash, WordTokens& out) const {
    const Entry& e = entries_[hash & mask];
    if (e.length != word.size() || std::memcmp(e.word, word.data(), word.size()) != 0) return false;
    uint32_t at = 0;
    for (size_t i = 0; i < e.count; ++i) {
      out.add(e.ids[i], at, at + e.lengths[i]);
      at += e.lengths[i];
    }
    return true;
  }

  // Keeps the tokens of `word` from number `first` on, when they stand for its bytes in order.
  void keep(std::string_view word, uint64_t hash, const WordTokens& tokens, size_t first) {
    const size_t count = tokens.ids.size() - first;
    if (count > most_tokens) return;
    Entry fresh;
    uint32_t at = 0;
    for (size_t i = 0; i < count; ++i) {
      const TokenSpan& span = tokens.spans[first + i];
      if (span.begin != at || span.end > longest_word) return;
      fresh.ids[i] = tokens.ids[first + i];
      fresh.lengths[i] = static_cast<uint8_t>(span.end - span.begin);
      at = span.end;
    }
    fresh.count = static_cast<uint8_t>(count);
    fresh.length = static_cast<uint8_t>(word.size());
    std::memcpy(fresh.word, word.data(), word.size());
    entries_[hash & mask] = fresh;
  }

  // Appends the tokens of `word` as `encode(word, out)` does, from the table of the model `serial`
  // where it has them.
  template <class Encode>
  static void through(uint64_t serial, std::string_view word, WordTokens& out,
                      const Encode& encode) {
    if (word.size() > longest_word) return encode(word, out);
    WordCache& cache = of(serial);
    const uint64_t hash = WordCache::hash(word);
    if (cache.find(word, hash, out)) return;
    const size_t first = out.ids.size();
    encode(word, out);
    cache.keep(word, hash, out, first);
  }

  // This thread's table for the model with number `serial`. A thread keeps those of a few models.
  static WordCache& of(uint64_t serial);
  // A number for a new model.
  static uint64_t next_serial();

 private:
  static constexpr size_t entry_count = 8192, mask = entry_count - 1;
  struct Entry {
    char word[longest_word];
    uint8_t length = 0;  // 0: nothing here
    int32_t ids[most_tokens];
    uint8_t lengths[most_tokens];
    uint8_t count;
  };
  static_assert(sizeof(Entry) <= 64);

  static uint64_t load(const char* from, size_t size) {
    uint64_t value = 0;
    std::memcpy(&value, from, size);
    return value;
  }
  static uint64_t mix(uint64_t x) {
    x *= 0xBF58476D1CE4E5B9ull;
    return x ^ x >> 31;
  }

  std::vector<Entry> entries_ = std::vector<Entry>(entry_count);
};

}  // namespace compress::text
