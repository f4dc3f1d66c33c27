#include "tokenizers/staged_tokenizer.h"

#include <algorithm>
#include <limits>

#include "compress/base/error.h"
#include "compress/base/hash.h"
#include "compress/base/strings.h"
#include "unicode/unicode.h"

namespace compress::text {
namespace {

constexpr char32_t mapped_space = 0x120;  // what byte-level vocabularies write for a space

bool is_blank(char32_t c) {
  return c == mapped_space || is_white_space(c);
}

// Characters of white space at the front and at the end of a token.
struct Blanks {
  uint32_t front = 0, back = 0;
};

Blanks blanks_of(std::string_view token) {
  Blanks out;
  bool all = true;
  while (!token.empty()) {
    const Decoded d = decode_utf8(token);
    if (is_blank(d.code_point)) {
      out.front += all;
      ++out.back;
    } else {
      all = false;
      out.back = 0;
    }
    token.remove_prefix(d.length);
  }
  return out;
}

// Steps over `count` characters of `text` from `at`, but not beyond `end`.
uint32_t forward(std::string_view text, uint32_t at, uint32_t end, uint32_t count) {
  for (; count > 0 && at < end; --count) at += decode_utf8(text.substr(at)).length;
  return std::min(at, end);
}

// Steps back over `count` characters; false when there are fewer.
bool backward(std::string_view text, uint32_t& at, uint32_t count) {
  for (; count > 0; --count) {
    if (at == 0) return false;
    // The longest sequence that ends here and is one character.
    uint32_t start = at - 1;
    for (uint32_t length = 2; length <= 4 && length <= at; ++length)
      if (decode_utf8(text.substr(at - length)).length == length) start = at - length;
    at = start;
  }
  return true;
}

// What the ByteLevel post-processor does to the offsets of a token spelled so.
ByteRange trim(ByteRange range, std::string_view spelled, std::string_view text, bool first,
               bool prefix_space) {
  Blanks blanks = blanks_of(spelled);
  if (blanks.front > 0) {
    // A single space in front of the text may be the one that was added.
    if ((first || range.begin == 0) && prefix_space && blanks.front == 1) blanks.front = 0;
    range.begin = forward(text, range.begin, range.end, blanks.front);
  }
  uint32_t end = range.end;
  if (blanks.back > 0 && backward(text, end, blanks.back)) range.end = std::max(end, range.begin);
  return range;
}

}  // namespace

// Buffers that keep their memory from one text to the next; one set a thread.
struct GeneralTokenizer::Scratch {
  Tokens first, second;
  NormalizerState normalized;
  Pieces pieces;
  std::vector<Stretch> raw, inner;
  WordTokens word;
};

GeneralTokenizer::GeneralTokenizer(GeneralParts parts, const std::string& where)
    : parts_(std::move(parts)),
      tokens_(
          std::move(parts_.vocabulary), std::move(parts_.added),
          [this](std::string_view content) {
            NormalizerState state;
            normalize(parts_.normalizer, content, 0, false, state);
            return state.text.text;
          },
          where) {
  needs_offsets_ = std::any_of(parts_.splitter.begin(), parts_.splitter.end(),
                               [](const auto& stage) { return stage->needs_offsets(); });
  hash_ = make_hash();
}

std::string GeneralTokenizer::make_hash() const {
  Sha256 hash;
  hash.part("General 1");
  hash.part(parts_.description);
  hash.part(parts_.pattern.text());
  parts_.model->add_to_hash(hash);
  hash.part(str(tokens_.vocabulary().size()));
  for (const std::string& token : tokens_.vocabulary()) hash.part(token);
  for (const std::string& line : tokens_.description()) hash.part(line);
  return hash.hex();
}

void GeneralTokenizer::encode(std::string_view text, std::optional<std::string_view> pair,
                              const EncodeOptions& options, Encoding& out) const {
  constexpr size_t longest = std::numeric_limits<uint32_t>::max() / 4;
  if (text.size() >= longest || (pair && pair->size() >= longest))
    throw Error(ErrorKind::data, "a text of 1 GiB or more cannot be encoded at once");
  thread_local Scratch scratch;
  const int64_t stop = early_stop(options, pair.has_value());
  scratch.first.clear();
  tokenize({text, scratch.first, options.offsets, stop}, scratch);
  if (pair) {
    scratch.second.clear();
    tokenize({*pair, scratch.second, options.offsets, stop}, scratch);
  }
  assemble(parts_.pattern, options, scratch.first, pair ? &scratch.second : nullptr, out);
}

// Added tokens that are looked for as written come first: they split the text before it is
// normalised, each part by itself.
void GeneralTokenizer::tokenize(Sink sink, Scratch& scratch) const {
  tokens_.raw_finder().split(sink.text, scratch.raw);
  for (const Stretch& stretch : scratch.raw) {
    if (sink.full()) return;
    if (stretch.token == nullptr)
      add_plain(stretch.begin, stretch.end, sink, scratch);
    else
      add_token(stretch.token->id, {stretch.begin, stretch.end},
                sink.text.substr(stretch.begin, stretch.end - stretch.begin), sink);
  }
}

// Text between the tokens that are looked for as written.
void GeneralTokenizer::add_plain(uint32_t begin, uint32_t end, Sink& sink, Scratch& scratch) const {
  NormalizerState& normalized = scratch.normalized;
  normalize(parts_.normalizer, sink.text.substr(begin, end - begin), begin,
            sink.offsets || needs_offsets_, normalized);
  Pieces& pieces = scratch.pieces;
  pieces.offsets = normalized.offsets;
  std::swap(pieces.text, normalized.text);
  pieces.list.clear();
  tokens_.normalized_finder().split(pieces.text.text, scratch.inner);
  for (const Stretch& s : scratch.inner)
    pieces.list.push_back({s.begin, s.end, s.token == nullptr ? -1 : s.token->id});
  for (const auto& stage : parts_.splitter) stage->apply(pieces);

  const std::string_view text = pieces.text.text;
  for (const Piece& piece : pieces.list) {
    if (sink.full()) return;
    if (piece.token < 0) {
      add_word(pieces, piece.begin, piece.end, sink, scratch);
      continue;
    }
    ByteRange range;
    if (sink.offsets) range = {pieces.text.begin[piece.begin], pieces.text.end[piece.end - 1]};
    add_token(piece.token, range, text.substr(piece.begin, piece.end - piece.begin), sink);
  }
}

void GeneralTokenizer::add_word(const Pieces& pieces, uint32_t begin, uint32_t end, Sink& sink,
                                Scratch& scratch) const {
  const std::string_view text = pieces.text.text;
  const std::string_view mark = parts_.word_mark;
  while (begin < end && !sink.full()) {
    uint32_t stop = end;
    if (!mark.empty()) {
      uint32_t from = begin;  // past the marks that the word starts with
      while (text.substr(from).starts_with(mark)) from += static_cast<uint32_t>(mark.size());
      stop = static_cast<uint32_t>(std::min<size_t>(text.find(mark, from), end));
    }
    scratch.word.clear();
    parts_.model->encode(text.substr(begin, stop - begin), scratch.word);
    const WordTokens& word = scratch.word;
    for (size_t i = 0; i < word.ids.size(); ++i) {
      if (!sink.offsets) {
        sink.tokens.ids.push_back(word.ids[i]);
        continue;
      }
      TokenSpan span = word.spans[i];
      span.end = std::min(span.end, stop - begin);  // bytes of a suffix are beyond the word
      span.begin = std::min(span.begin, span.end - 1);
      const ByteRange range = {pieces.text.begin[begin + span.begin],
                               pieces.text.end[begin + span.end - 1]};
      const std::string_view spelled = parts_.model->spells_text()
                                           ? text.substr(begin + span.begin, span.end - span.begin)
                                           : tokens_.vocabulary()[static_cast<size_t>(word.ids[i])];
      add_token(word.ids[i], range, spelled, sink);
    }
    begin = stop;
  }
}

void GeneralTokenizer::add_token(int32_t id, ByteRange range, std::string_view spelled,
                                 Sink& sink) const {
  if (sink.offsets) {
    for (bool prefix_space : parts_.trims)
      range = trim(range, spelled, sink.text, sink.tokens.ids.empty(), prefix_space);
    sink.tokens.offsets.push_back(range);
  }
  sink.tokens.ids.push_back(id);
}

std::optional<int32_t> GeneralTokenizer::token_to_id(std::string_view token) const {
  if (auto added = tokens_.find_added(token)) return added;
  const int32_t id = parts_.model->find(token);
  if (id < 0) return std::nullopt;
  return id;
}

std::string GeneralTokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  std::vector<std::string> tokens;
  for (int32_t id : ids)
    if (const auto text = tokens_.decoded(id, skip_special)) tokens.emplace_back(*text);
  std::string out;
  if (!parts_.decoder) {
    for (size_t i = 0; i < tokens.size(); ++i) out += (i > 0 ? " " : "") + tokens[i];
    return out;
  }
  for (const auto& stage : *parts_.decoder) stage->apply(tokens);
  for (const std::string& token : tokens) out += token;
  return out;
}

}  // namespace compress::text
