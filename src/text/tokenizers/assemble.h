#pragma once
// What every tokenizer does after its model: cutting to a length, and special tokens around.

#include <cstdint>
#include <string>
#include <vector>

#include "compress/text/tokenizer.h"

namespace compress::text {

// Tokens of one text, before special tokens.
struct Tokens {
  std::vector<int32_t> ids;
  std::vector<ByteRange> offsets;  // empty when not asked for
  void clear() {
    ids.clear();
    offsets.clear();
  }
};

// One place of a template: the first text, the second, or a special token.
struct TemplatePiece {
  enum Kind : uint8_t { first, second, special } kind;
  int32_t id = -1;      // of a special token
  int32_t segment = 0;  // 0 or 1, never falling along the template
};

struct Template {
  std::vector<TemplatePiece> single{{TemplatePiece::first}};
  std::vector<TemplatePiece> pair{{TemplatePiece::first}, {TemplatePiece::second, -1, 1}};

  int64_t added(bool is_pair) const;
  std::string text() const;  // for hashes
};

// The model need not go on once it has this many tokens of a text; 0 = no limit. Only for one text:
// how a pair is cut depends on the whole length of both.
int64_t early_stop(const EncodeOptions& options, bool pair);

// Cuts both texts (`second` null for one text) to `options` and writes the template filled in.
// Throws Error{data}.
void assemble(const Template& pattern, const EncodeOptions& options, Tokens& first, Tokens* second,
              Encoding& out);

}  // namespace compress::text
