#include "tokenizers/wordpiece.h"

#include <algorithm>
#include <array>
#include <limits>

#include "compress/base/error.h"
#include "compress/base/hash.h"
#include "compress/base/strings.h"
#include "tokenizers/decoders.h"
#include "unicode/unicode.h"

namespace compress::text {
namespace {

enum class Class : uint8_t { word, space, punctuation };

Class class_of(char32_t c, const PropertyTable& table) {
  uint8_t properties = table[c];
  if (properties & Property::white_space) return Class::space;
  return properties & Property::punctuation ? Class::punctuation : Class::word;
}

std::array<Class, 128> make_ascii_classes() {
  std::array<Class, 128> classes{};
  for (char32_t c = 0; c < 128; ++c) classes[c] = class_of(c, PropertyTable::get());
  return classes;
}

}  // namespace

Trie wordpiece_trie(const std::vector<std::string>& vocabulary, std::string_view prefix) {
  Trie::Keys starts, continuations;
  for (size_t id = 0; id < vocabulary.size(); ++id) {
    std::string_view token = vocabulary[id];
    if (token.empty()) continue;
    starts.emplace_back(token, static_cast<int32_t>(id));
    if (token.size() > prefix.size() && token.starts_with(prefix))
      continuations.emplace_back(token.substr(prefix.size()), static_cast<int32_t>(id));
  }
  return Trie({starts, continuations});
}

// Buffers that keep their memory from one text to the next; one set a thread.
struct WordPiece::Scratch {
  Tokens first, second;
  Normalized normalized;
  std::vector<Stretch> raw, inner;
};

WordPiece::WordPiece(WordPieceParts parts, const std::string& where)
    : parts_(std::move(parts)),
      normalizer_(parts_.normalizer),
      pieces_(wordpiece_trie(parts_.vocabulary, parts_.prefix)),
      tokens_(
          std::move(parts_.vocabulary), std::move(parts_.added),
          [this](std::string_view content) {
            Normalized buffer;
            normalizer_.normalize(content, 0, false, buffer);
            return buffer.text;
          },
          where) {
  hash_ = make_hash();
}

std::string WordPiece::make_hash() const {
  Sha256 hash;
  const NormalizerOptions& n = parts_.normalizer;
  hash.part("WordPiece 1");
  hash.part(str(n.clean_text, n.handle_chinese_chars, n.strip_accents, n.lowercase));
  hash.part(parts_.prefix);
  hash.part(str(parts_.max_input_chars, " ", parts_.special.unk));
  hash.part(parts_.pattern.text());
  hash.part(str(tokens_.vocabulary().size()));
  for (const std::string& token : tokens_.vocabulary()) hash.part(token);
  for (const std::string& line : tokens_.description()) hash.part(line);
  return hash.hex();
}

void WordPiece::encode(std::string_view text, std::optional<std::string_view> pair,
                       const EncodeOptions& options, Encoding& out) const {
  constexpr size_t longest = std::numeric_limits<uint32_t>::max();
  if (text.size() >= longest || (pair && pair->size() >= longest))
    throw Error(ErrorKind::data, "a text of 4 GiB or more cannot be encoded at once");
  thread_local Scratch scratch;
  const int64_t stop = early_stop(options, pair.has_value());
  scratch.first.clear();
  tokenize(text, {scratch.first, options.offsets, stop}, scratch);
  if (pair) {
    scratch.second.clear();
    tokenize(*pair, {scratch.second, options.offsets, stop}, scratch);
  }
  assemble(parts_.pattern, options, scratch.first, pair ? &scratch.second : nullptr, out);
}

// Added tokens that are looked for as written come first: they split the text before it is
// normalised, each part by itself.
void WordPiece::tokenize(std::string_view text, Sink sink, Scratch& scratch) const {
  tokens_.raw_finder().split(text, scratch.raw);
  for (const Stretch& stretch : scratch.raw) {
    if (stretch.token != nullptr) {
      add_token(stretch.token->id, {stretch.begin, stretch.end}, sink);
    } else {
      std::string_view plain = text.substr(stretch.begin, stretch.end - stretch.begin);
      if (!add_plain(plain, stretch.begin, sink, scratch)) return;
    }
  }
}

// Text between the tokens that are looked for as written. Returns false when there are enough.
bool WordPiece::add_plain(std::string_view text, uint32_t base, Sink& sink,
                          Scratch& scratch) const {
  const Normalized& normalized = scratch.normalized;
  normalizer_.normalize(text, base, sink.offsets, scratch.normalized);
  uint32_t size = static_cast<uint32_t>(normalized.text.size());
  if (tokens_.normalized_finder().empty()) return split_words(normalized, 0, size, sink);
  tokens_.normalized_finder().split(normalized.text, scratch.inner);
  for (const Stretch& stretch : scratch.inner) {
    if (stretch.token != nullptr) {
      ByteRange range;
      if (sink.offsets) range = {normalized.begin[stretch.begin], normalized.end[stretch.end - 1]};
      add_token(stretch.token->id, range, sink);
    } else if (!split_words(normalized, stretch.begin, stretch.end, sink)) {
      return false;
    }
  }
  return true;
}

void WordPiece::add_token(int32_t id, ByteRange range, Sink& sink) const {
  sink.tokens.ids.push_back(id);
  if (sink.offsets) sink.tokens.offsets.push_back(range);
}

// Words end at white space; every punctuation character is a word. False when there are enough.
bool WordPiece::split_words(const Normalized& text, uint32_t begin, uint32_t end,
                            Sink& sink) const {
  static const std::array<Class, 128> ascii = make_ascii_classes();
  const PropertyTable& table = PropertyTable::get();
  const std::string_view all = text.text;
  uint32_t word = begin;
  for (uint32_t at = begin; at < end;) {
    uint8_t byte = static_cast<uint8_t>(all[at]);
    uint32_t length = 1;
    Class kind;
    if (byte < 0x80) {
      kind = ascii[byte];
    } else {
      Decoded d = decode_utf8(all.substr(at));
      length = d.length;
      kind = class_of(d.code_point, table);
    }
    if (kind != Class::word) {
      if (word < at && !add_word(text, word, at, sink)) return false;
      if (kind == Class::punctuation && !add_word(text, at, at + length, sink)) return false;
      word = at + length;
    }
    at += length;
  }
  return word >= end || add_word(text, word, end, sink);
}

bool WordPiece::add_word(const Normalized& text, uint32_t begin, uint32_t end, Sink& sink) const {
  const std::string_view word = std::string_view(text.text).substr(begin, end - begin);
  auto range = [&](uint32_t from, uint32_t to) {
    return sink.offsets ? ByteRange{text.begin[begin + from], text.end[begin + to - 1]}
                        : ByteRange{};
  };
  const size_t before = sink.tokens.ids.size();
  bool known = true;
  if (word.size() > static_cast<size_t>(parts_.max_input_chars)) {
    auto starts = [](char c) { return (static_cast<uint8_t>(c) & 0xC0) != 0x80; };
    known = std::count_if(word.begin(), word.end(), starts) <= parts_.max_input_chars;
  }
  for (uint32_t at = 0; known && at < word.size();) {
    Trie::Match match = pieces_.longest(at == 0 ? 0 : 1, word.substr(at));
    known = match.value >= 0;
    if (!known) break;
    add_token(match.value, range(at, at + match.length), sink);
    at += match.length;
  }
  if (!known) {
    sink.tokens.ids.resize(before);
    if (sink.offsets) sink.tokens.offsets.resize(before);
    add_token(parts_.special.unk, range(0, static_cast<uint32_t>(word.size())), sink);
  }
  return sink.stop <= 0 || static_cast<int64_t>(sink.tokens.ids.size()) < sink.stop;
}

std::optional<int32_t> WordPiece::token_to_id(std::string_view token) const {
  if (auto added = tokens_.find_added(token)) return added;
  int32_t id = pieces_.find(0, token);
  if (id < 0) return std::nullopt;
  return id;
}

std::string WordPiece::decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string out, token;
  bool first = true;
  for (int32_t id : ids) {
    const auto text = tokens_.decoded(id, skip_special);
    if (!text) continue;
    token = *text;
    if (!first) {
      if (parts_.decoder && token.starts_with(parts_.decoder->prefix))
        token.erase(0, parts_.decoder->prefix.size());
      else
        token.insert(token.begin(), ' ');
    }
    if (parts_.decoder && parts_.decoder->cleanup) clean_up(token);
    out += token;
    first = false;
  }
  return out;
}

}  // namespace compress::text
