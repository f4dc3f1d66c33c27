#pragma once
// Rows that are made of other rows when they are packed, in the loader's thread: what a data set's
// `compose` names.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "compress/data/dataset.h"

namespace compress::data {

// Makes what pack() lays out of a row. Everything drawn is a function of the row and of `draw`, so
// that all processes, and a resumed run, see the same rows.
class Composer {
 public:
  virtual ~Composer() = default;
  // The tokens of a row of `split` as runs in their order; views of the split, of source() or of
  // the composer. The row's own last tokens, those of its target, end it. `draw`: as in pack().
  virtual std::vector<std::span<const int32_t>> compose(const Split& split, int64_t row,
                                                        uint64_t draw) const = 0;
  // The part that is drawn from where it is not the split itself; else null.
  virtual const Split* source() const = 0;
  // Tokens at most of a row that has others in it.
  virtual int64_t most_tokens() const = 0;
  // A row is the same in every epoch: `draw` does not count.
  virtual bool fixed() const = 0;
  // How often a row that is scored is made, each time of others: the majority of what is said of
  // them counts. The first is that of draw 0, the others those of vote_draw(i).
  virtual int64_t votes() const { return 1; }
  static uint64_t vote_draw(int64_t vote);
  // What becomes of a split's rows, in words, for the log.
  virtual std::string summary(const Split& split) const = 0;
};

// What one is made for.
struct ComposedPart {
  const Split& split;  // its rows as they are
  const text::Tokenizer& tokenizer;
  std::shared_ptr<const Split> train;  // the training part; null where the split is that
};
// A way to make rows of others, as a component.
struct ComposerKind {
  // As Composer says, told from the options alone.
  bool (*fixed)(const recipe::Component&);
  int64_t (*most_tokens)(const recipe::Component&);
  std::shared_ptr<const Composer> (*make)(const recipe::Component&, const ComposedPart&);
};
using ComposerRegistry = recipe::RegistryOf<ComposerKind>;
const ComposerRegistry& composers();  // demonstrations
// Whether a data set's rows are others in each epoch.
bool redraws_rows(const DatasetOptions& options);
// Tokens at most of a row, in a sequence-to-sequence data set of both texts; `places`: of a text
// that the model reads.
int64_t longest_row(const DatasetOptions& options, std::optional<int64_t> places);

// The first of the split and of a mixture's sources that has a composer; null without one.
const Composer* composer_of(const Split& split);

}  // namespace compress::data
