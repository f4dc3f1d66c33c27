#pragma once
// What readers of a split must know of how pack() lays its rows out, by the same `draw`.

#include "compress/data/dataset.h"

namespace compress::data {

// Tokens of a row that the model reads first: of a sequence-to-sequence row those of the source.
int64_t source_tokens(const Split& split, int64_t row, uint64_t draw = 0);
// Whether pack() marks the tokens of answers, and how many of a row it marks.
bool has_answers(const Split& split);
int64_t answer_tokens(const Split& split, int64_t row, uint64_t draw = 0);
// Tokens of a row that pack() gives a label, counted without packing it; -1 where it labels none
// of the split's tokens.
int64_t labelled_tokens(const Split& split, int64_t row, uint64_t draw = 0);

}  // namespace compress::data
