#pragma once
// Pre-tokenizers: a normalised text into the words that a model reads one by one.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "regex/regex.h"
#include "regex/scanner.h"
#include "unicode/transform.h"

namespace compress::text {

// A stretch of the text that becomes tokens by itself, or is an added token already.
struct Piece {
  uint32_t begin, end;
  int32_t token;  // id of the added token; -1: text
};

// A text in pieces. Stages may rewrite the text. Buffers keep their memory.
struct Pieces {
  Normalized text;
  std::vector<Piece> list;
  bool offsets = false;  // text.begin and text.end are kept
  // Scratch of the stages.
  Normalized next_text;
  std::vector<Piece> next_list;
  std::vector<Match> matches;
  std::vector<uint32_t> ends;
};

// What becomes of the matches of a pattern (SplitDelimiterBehavior).
enum class SplitBehavior : uint8_t {
  removed,
  isolated,
  merged_with_previous,
  merged_with_next,
  contiguous
};

class SplitStage {
 public:
  virtual ~SplitStage() = default;
  virtual void apply(Pieces& pieces) const = 0;
  // Whether it looks at where the text came from.
  virtual bool needs_offsets() const { return false; }
};
using SplitStages = std::vector<std::unique_ptr<const SplitStage>>;

using CharPredicate = bool (*)(char32_t);
// Splits where a character has a property.
std::unique_ptr<SplitStage> split_at_characters(CharPredicate is_match, SplitBehavior behavior);
// Splits at the matches of a pattern, or between them when `invert`.
std::unique_ptr<SplitStage> split_at_regex(Regex pattern, SplitBehavior behavior, bool invert);
// Each match of the pattern is a word.
std::unique_ptr<SplitStage> split_words_of(WordPattern pattern);
// Rust's \w+|[^\w\s]+: runs of word characters and runs of others that are not white space.
std::unique_ptr<SplitStage> split_whitespace_words();
// A space before each piece that does not start with one.
std::unique_ptr<SplitStage> prefix_space();
// Every byte becomes the printable character that byte-level vocabularies write for it.
std::unique_ptr<SplitStage> map_bytes();

enum class PrependScheme : uint8_t { first, never, always };
// Spaces become `mark` (one character); pieces get one in front by the scheme, and are split before
// each where `split`.
std::unique_ptr<SplitStage> metaspace(std::string mark, PrependScheme scheme, bool split);

// The character that byte-level vocabularies write for a byte, and back (-1 for another one).
char32_t byte_to_char(uint8_t byte);
int char_to_byte(char32_t c);

}  // namespace compress::text
