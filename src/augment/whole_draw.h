#pragma once
// Tokens chosen over a whole update, without replacement.

#include <cstdint>
#include <filesystem>
#include <vector>

#include "compress/data/batch.h"
#include "compress/parallel/processes.h"

namespace compress::augment {

// The odds of each token of a vocabulary of `tokens`: max(c, 1)^-smoothing with the counts c that
// `measure: {what: token_counts}` left in `folder`; 0 for `special` ones. Without a folder 1 for
// all others. Error{model} where the counts are of another vocabulary.
std::vector<double> token_odds(const std::filesystem::path& folder, int64_t tokens,
                               double smoothing, const std::vector<bool>& special);

// Packed positions, ascending, of this process's share of ceil(share * tokens of the update) tokens
// of the update: drawn one after the other without replacement, each time with chances in
// proportion to `odds` (one a token of the vocabulary; those of 0 are never drawn, so that there
// may be fewer). A function of the seed, the rows' numbers and their tokens, however the update is
// shared. Efraimidis and Spirakis 2006, "Weighted random sampling with a reservoir": the smallest
// of the numbers -log(u_t) / odds_t, u_t uniform.
std::vector<int64_t> drawn_tokens(const data::Batch& batch, const std::vector<double>& odds,
                                  double share, uint64_t seed, parallel::Processes* processes);

}  // namespace compress::augment
