#pragma once
// The same rows in several views: as tokens of another tokenizer, or before augments changed them.

#include "compress/data/dataset.h"

namespace compress::data {

// Two splits that were tokenised from one file hold the same rows: row i of one is row i of the
// other. Error{data} with the place of the first row that only one of them has.
void require_same_rows(const Split& ours, const Split& theirs);
// Each of their rows has as many tokens with a label in one as in the other, so that what is said
// of these can be compared one by one. Error{data} with the place of the first that has not.
void require_same_labels(const Split& ours, const Split& theirs);

// The rows of a batch as they were `before` it was changed in ways that move no token, with the
// targets and the place in the update that it has now.
Batch before_changes(const Batch& before, const Batch& now);

}  // namespace compress::data
