// Byte-pair encoding (Sennrich, Haddow and Birch, 2016): the best-ranked pair of neighbours is
// joined until none is left; among equals the leftmost.

#include <algorithm>
#include <limits>
#include <optional>
#include <unordered_map>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "models/flat_map.h"
#include "models/word_cache.h"
#include "models/word_model.h"
#include "split/splitter.h"
#include "unicode/transform.h"
#include "unicode/unicode.h"

namespace compress::text {
namespace {

constexpr int32_t none = -1;
constexpr uint32_t no_rank = std::numeric_limits<uint32_t>::max();
constexpr size_t short_word = 48;  // symbols: below, looking at all is faster than a queue

struct Joined {
  uint32_t rank;
  int32_t id;
};

struct Symbol {
  int32_t id;
  uint32_t length;  // bytes of the word; 0: joined to one before
  int32_t previous, next;
  uint32_t rank;   // of the pair with the next symbol
  int32_t joined;  // what that pair becomes
};

struct Candidate {
  uint32_t rank;
  int32_t at;
  int32_t joined;
};

// The best candidate goes first out of a heap.
bool worse(const Candidate& a, const Candidate& b) {
  return a.rank != b.rank ? a.rank > b.rank : a.at > b.at;
}

struct Scratch {
  std::vector<Symbol> symbols;
  std::vector<Candidate> queue;
  std::string buffer;
  std::vector<uint32_t> places;
};

// The bytes that byte-level vocabularies spell `token` for; nothing when it has another character.
std::optional<std::string> raw_bytes(std::string_view token) {
  std::string out;
  while (!token.empty()) {
    const Decoded d = decode_utf8(token);
    const int byte = char_to_byte(d.code_point);
    if (byte < 0) return std::nullopt;
    out.push_back(static_cast<char>(byte));
    token.remove_prefix(d.length);
  }
  return out;
}

uint64_t pair_key(int32_t left, int32_t right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}

class Bpe final : public WordModel {
 public:
  Bpe(const Vocabulary& vocabulary, const std::vector<BpeMerge>& merges, BpeOptions options)
      : options_(std::move(options)),
        merges_(merges.size()),
        serial_(WordCache::next_serial()),
        list_(merges) {
    for (size_t id = 0; id < vocabulary.size(); ++id)
      if (!vocabulary[id].empty()) ids_.emplace(vocabulary[id], static_cast<int32_t>(id));
    for (size_t rank = 0; rank < merges.size(); ++rank)
      merges_.put(pair_key(merges[rank].left, merges[rank].right),
                  {static_cast<uint32_t>(rank), merges[rank].joined});
    for (int byte = 0; byte < 256; ++byte) index_byte(static_cast<uint8_t>(byte));
    if (options_.bytes && options_.ignore_merges)
      for (const auto& [token, id] : ids_)
        if (auto raw = raw_bytes(token)) raw_ids_.emplace(*raw, id);
    plain_ = options_.prefix.empty() && options_.suffix.empty();
  }

  void encode(std::string_view word, WordTokens& out) const override {
    WordCache::through(serial_, word, out, [this](std::string_view missed, WordTokens& tokens) {
      encode_word(missed, tokens);
    });
  }

  int32_t find(std::string_view token) const override {
    auto found = ids_.find(std::string(token));
    return found == ids_.end() ? none : found->second;
  }

  void add_to_hash(Sha256& hash) const override {
    const BpeOptions& o = options_;
    hash.update(str("BPE 1 ", o.unk, " ", o.unk_is_missing, o.fuse_unk, o.byte_fallback,
                    o.ignore_merges, " ", o.prefix.size(), ":", o.prefix, o.suffix.size(), ":",
                    o.suffix, " ", list_.size(), ":"));
    hash.update(list_.data(), list_.size() * sizeof(BpeMerge));
  }

  bool splits_at(std::string_view mark) const override {
    if (options_.ignore_merges || !plain_ || find(mark) < 0) return false;
    for (const BpeMerge& merge : list_)
      if (crosses(merge.joined, mark)) return false;
    return true;
  }

 private:
  void index_byte(uint8_t byte) {
    constexpr char hex_digits[] = "0123456789ABCDEF";
    fallback_[byte] =
        find(std::string("<0x") + hex_digits[byte >> 4] + hex_digits[byte & 15] + ">");
    std::string spelled;
    if (options_.bytes)
      append_utf8(spelled, byte_to_char(byte));
    else if (byte < 0x80)
      spelled.push_back(static_cast<char>(byte));
    single_[byte] = spelled.empty() ? none : find(spelled);
  }

  // Whether a token has a mark after another character.
  bool crosses(int32_t id, std::string_view mark) const {
    if (names_.empty())
      for (const auto& [token, token_id] : ids_) names_.emplace(token_id, token);
    const std::string_view token = names_.at(id);
    for (size_t at = token.find(mark); at != token.npos; at = token.find(mark, at + mark.size()))
      if (at >= mark.size() ? token.substr(at - mark.size(), mark.size()) != mark : at > 0)
        return true;
    return false;
  }

  int32_t symbol_id(std::string_view character, bool first, bool last, std::string& buffer) const {
    if (plain_ && character.size() == 1) return single_[static_cast<uint8_t>(character[0])];
    buffer.clear();
    if (!first) buffer += options_.prefix;
    buffer += character;
    if (last) buffer += options_.suffix;
    auto found = ids_.find(buffer);
    return found == ids_.end() ? none : found->second;
  }

  static void push(std::vector<Symbol>& symbols, int32_t id, uint32_t length) {
    const int32_t at = static_cast<int32_t>(symbols.size());
    if (at > 0) symbols.back().next = at;
    symbols.push_back({id, length, at - 1, -1, no_rank, none});
  }

  bool push_bytes(std::string_view character, std::vector<Symbol>& symbols) const {
    for (char c : character)
      if (fallback_[static_cast<uint8_t>(c)] < 0) return false;
    for (char c : character) push(symbols, fallback_[static_cast<uint8_t>(c)], 1);
    return true;
  }

  // The word's characters (or bytes) as symbols. An unknown one is held back until a known one
  // follows, even past bytes that it fell back to: so does the library.
  void first_symbols(std::string_view word, Scratch& scratch) const {
    std::vector<Symbol>& symbols = scratch.symbols;
    uint32_t unknown = 0;  // bytes of the unknown token that is held back
    auto flush = [&] {
      if (unknown > 0) push(symbols, options_.unk, unknown);
      unknown = 0;
    };
    for (size_t at = 0; at < word.size();) {
      uint32_t length = options_.bytes ? 1 : char_length(word, at);
      const std::string_view character = word.substr(at, length);
      std::string_view whole = character;  // what the fallback spells
      const int32_t id = symbol_id(character, at == 0, at + length == word.size(), scratch.buffer);
      at += length;
      if (options_.bytes) length = spelled_length(character[0]);
      if (id >= 0) {
        flush();
        push(symbols, id, length);
        continue;
      }
      if (!plain_) whole = scratch.buffer;
      if (options_.byte_fallback && push_bytes(whole, symbols)) continue;
      if (options_.unk_is_missing)
        throw Error(ErrorKind::model,
                    "a character is not in the vocabulary, and neither is the unknown token");
      if (options_.unk < 0) continue;
      if (!options_.fuse_unk) flush();
      unknown += length;
    }
    flush();
  }

  // Bytes of the character that byte-level vocabularies write for a byte.
  static uint32_t spelled_length(char byte) { return byte > ' ' && byte <= '~' ? 1 : 2; }

  // Spans from number `first` on were counted in the vocabulary's spelling: bytes of the word
  // instead. Where a byte without a token was left out, they are shifted as in the library.
  static void count_bytes(std::string_view word, Scratch& scratch, size_t first, WordTokens& out) {
    std::vector<uint32_t>& places = scratch.places;
    places.clear();
    for (uint32_t at = 0; at < word.size(); ++at)
      places.insert(places.end(), spelled_length(word[at]), at);
    for (size_t i = first; i < out.spans.size(); ++i) {
      TokenSpan& span = out.spans[i];
      span = {places[span.begin], places[span.end - 1] + 1};
    }
  }

  void rank_pair(std::vector<Symbol>& symbols, int32_t at) const {
    Symbol& symbol = symbols[static_cast<size_t>(at)];
    symbol.rank = no_rank;
    if (symbol.next < 0) return;
    const Joined* found =
        merges_.find(pair_key(symbol.id, symbols[static_cast<size_t>(symbol.next)].id));
    if (found == nullptr) return;
    symbol.rank = found->rank;
    symbol.joined = found->id;
  }

  // Joins the symbol at `at` with the next one and ranks the pairs around it anew.
  void join(std::vector<Symbol>& symbols, int32_t at) const {
    Symbol& left = symbols[static_cast<size_t>(at)];
    Symbol& right = symbols[static_cast<size_t>(left.next)];
    left.id = left.joined;
    left.length += right.length;
    left.next = right.next;
    right.length = 0;
    if (left.next >= 0) symbols[static_cast<size_t>(left.next)].previous = at;
    rank_pair(symbols, at);
    if (left.previous >= 0) rank_pair(symbols, left.previous);
  }

  void merge_short(std::vector<Symbol>& symbols) const {
    for (;;) {
      uint32_t best = no_rank;
      int32_t place = -1;
      for (int32_t at = 0; at >= 0; at = symbols[static_cast<size_t>(at)].next) {
        if (symbols[static_cast<size_t>(at)].rank >= best) continue;
        best = symbols[static_cast<size_t>(at)].rank;
        place = at;
      }
      if (place < 0) return;
      join(symbols, place);
    }
  }

  void merge_long(Scratch& scratch) const {
    std::vector<Symbol>& symbols = scratch.symbols;
    std::vector<Candidate>& queue = scratch.queue;
    queue.clear();
    auto offer = [&](int32_t at) {
      const Symbol& symbol = symbols[static_cast<size_t>(at)];
      if (symbol.rank != no_rank) queue.push_back({symbol.rank, at, symbol.joined});
      return symbol.rank != no_rank;
    };
    for (size_t at = 0; at < symbols.size(); ++at) offer(static_cast<int32_t>(at));
    std::make_heap(queue.begin(), queue.end(), worse);
    while (!queue.empty()) {
      std::pop_heap(queue.begin(), queue.end(), worse);
      const Candidate best = queue.back();
      queue.pop_back();
      const Symbol& symbol = symbols[static_cast<size_t>(best.at)];
      if (symbol.length == 0 || symbol.rank != best.rank) continue;  // out of date
      join(symbols, best.at);
      if (offer(best.at)) std::push_heap(queue.begin(), queue.end(), worse);
      if (symbol.previous >= 0 && offer(symbol.previous))
        std::push_heap(queue.begin(), queue.end(), worse);
    }
  }

  void encode_word(std::string_view word, WordTokens& out) const {
    if (options_.ignore_merges) {
      const auto& known = options_.bytes ? raw_ids_ : ids_;
      auto found = known.find(std::string(word));
      if (found != known.end())
        return out.add(found->second, 0, static_cast<uint32_t>(word.size()));
    }
    thread_local Scratch scratch;
    std::vector<Symbol>& symbols = scratch.symbols;
    symbols.clear();
    first_symbols(word, scratch);
    if (symbols.empty()) return;
    for (size_t at = 0; at < symbols.size(); ++at) rank_pair(symbols, static_cast<int32_t>(at));
    if (symbols.size() <= short_word)
      merge_short(symbols);
    else
      merge_long(scratch);
    const size_t first = out.ids.size();
    uint32_t begin = 0;
    for (int32_t at = 0; at >= 0; at = symbols[static_cast<size_t>(at)].next) {
      const Symbol& symbol = symbols[static_cast<size_t>(at)];
      out.add(symbol.id, begin, begin + symbol.length);
      begin += symbol.length;
    }
    if (options_.bytes) count_bytes(word, scratch, first, out);
  }

  BpeOptions options_;
  std::unordered_map<std::string, int32_t> ids_, raw_ids_;
  mutable std::unordered_map<int32_t, std::string_view> names_;  // filled while loading
  FlatMap<Joined> merges_;
  int32_t single_[256], fallback_[256];
  bool plain_ = true;
  uint64_t serial_;
  std::vector<BpeMerge> list_;
};

}  // namespace

std::unique_ptr<WordModel> make_bpe(const Vocabulary& vocabulary,
                                    const std::vector<BpeMerge>& merges, BpeOptions options) {
  return std::make_unique<Bpe>(vocabulary, merges, std::move(options));
}

}  // namespace compress::text
