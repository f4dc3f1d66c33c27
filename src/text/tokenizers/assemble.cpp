#include "tokenizers/assemble.h"

#include <algorithm>

#include "compress/base/error.h"
#include "compress/base/strings.h"

namespace compress::text {
namespace {

const char* truncation_name(Truncation truncation) {
  return truncation == Truncation::only_first ? "only_first" : "only_second";
}

// longest_first of the `tokenizers` library. With n1 <= n2: the longer text shrinks to what the
// shorter leaves; where that is less than n1, each gets half and the longer the odd token.
void longest_first(int64_t limit, int64_t& first, int64_t& second) {
  int64_t n1 = std::min(first, second);
  int64_t n2 = n1 > limit ? n1 : std::max(n1, limit - n1);
  if (n1 + n2 > limit) {
    n1 = limit / 2;
    n2 = n1 + limit % 2;
  }
  bool swapped = first > second;
  first = std::min(first, swapped ? n2 : n1);
  second = std::min(second, swapped ? n1 : n2);
}

void only_one(Truncation truncation, int64_t excess, int64_t* target) {
  if (target != nullptr && *target > excess) {
    *target -= excess;
    return;
  }
  throw Error(
      ErrorKind::data,
      str("truncation ", truncation_name(truncation), " cannot bring the text down to max_length: ",
          target == nullptr ? "there is no second text" : "the text that may be cut is too short"),
      "", "use longest_first or a larger max_length");
}

void cut(const Template& pattern, const EncodeOptions& options, Tokens& a, Tokens* b) {
  if (options.max_length <= 0 || options.truncation == Truncation::none) return;
  int64_t added = options.add_special_tokens ? pattern.added(b != nullptr) : 0;
  int64_t limit = options.max_length - added;
  if (limit < 0)
    throw Error(ErrorKind::data, str("max_length ", options.max_length, " has no room for the ",
                                     added, " special tokens"));
  int64_t first = static_cast<int64_t>(a.ids.size());
  int64_t second = b != nullptr ? static_cast<int64_t>(b->ids.size()) : 0;
  int64_t excess = first + second - limit;
  if (excess <= 0) return;
  if (limit == 0) {
    first = second = 0;
  } else if (options.truncation == Truncation::only_first) {
    only_one(options.truncation, excess, &first);
  } else if (options.truncation == Truncation::only_second) {
    only_one(options.truncation, excess, b != nullptr ? &second : nullptr);
  } else if (b != nullptr) {
    longest_first(limit, first, second);
  } else {
    first = limit;
  }
  auto shrink = [](Tokens& tokens, int64_t length) {
    tokens.ids.resize(static_cast<size_t>(length));
    if (!tokens.offsets.empty()) tokens.offsets.resize(static_cast<size_t>(length));
  };
  shrink(a, first);
  if (b != nullptr) shrink(*b, second);
}

}  // namespace

int64_t Template::added(bool is_pair) const {
  const auto& pieces = is_pair ? pair : single;
  return std::count_if(pieces.begin(), pieces.end(), [](const TemplatePiece& piece) {
    return piece.kind == TemplatePiece::special;
  });
}

std::string Template::text() const {
  std::string out;
  for (const auto* pieces : {&single, &pair}) {
    for (const TemplatePiece& p : *pieces) out += str(int{p.kind}, " ", p.id, " ", p.segment, ",");
    out += ";";
  }
  return out;
}

int64_t early_stop(const EncodeOptions& options, bool pair) {
  bool cuts_first = options.truncation == Truncation::longest_first ||
                    options.truncation == Truncation::only_first;
  return cuts_first && !pair ? std::max<int64_t>(options.max_length, 0) : 0;
}

void assemble(const Template& pattern, const EncodeOptions& options, Tokens& first, Tokens* second,
              Encoding& out) {
  cut(pattern, options, first, second);
  out.ids.clear();
  out.offsets.clear();
  out.special.clear();
  out.first_length = 0;
  for (const TemplatePiece& piece : second != nullptr ? pattern.pair : pattern.single) {
    if (piece.kind == TemplatePiece::special) {
      if (!options.add_special_tokens) continue;
      out.ids.push_back(piece.id);
      if (options.offsets) out.offsets.push_back({});
    } else {
      const Tokens& tokens = piece.kind == TemplatePiece::first ? first : *second;
      out.ids.insert(out.ids.end(), tokens.ids.begin(), tokens.ids.end());
      out.offsets.insert(out.offsets.end(), tokens.offsets.begin(), tokens.offsets.end());
    }
    if (options.offsets) out.special.resize(out.ids.size(), piece.kind == TemplatePiece::special);
    if (piece.segment == 0) out.first_length = static_cast<int64_t>(out.ids.size());
  }
}

}  // namespace compress::text
