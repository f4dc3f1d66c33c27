#pragma once
// The most frequent n-grams of a text.

#include "compress/text/train.h"

namespace compress::text {

// A vocabulary of the padding token and the options.vocabulary_size - 1 most frequent n-grams that
// come up at least options.min_frequency times, the most frequent first and equal ones in the order
// of their bytes. Counts are exact while there are at most 4 million different n-grams or sixteen
// for each that is asked for; beyond that those that came up least so far are forgotten.
TokenizerFiles train_ngrams(const NextLine& next, const TrainOptions& options);

}  // namespace compress::text
