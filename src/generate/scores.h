#pragma once
// What is done to the scores of one row before a token is chosen, and the choice. Scores are
// float32 over the vocabulary, changed in place; -inf is a token that cannot be chosen. `history`
// are the row's tokens so far, the prompt or the decoder's start token first.

#include <cstdint>
#include <span>

#include "compress/generate/generate.h"

namespace compress::generate {

using Scores = std::span<float>;
using History = std::span<const int64_t>;

// Tokens of `history`: score / penalty where positive, score * penalty where negative.
void penalize_repetition(Scores scores, History history, double penalty);
// -inf for tokens that would end n tokens which `history` already has in this order.
void ban_repeated_ngrams(Scores scores, History history, int64_t n);
void ban(Scores scores, std::span<const int64_t> tokens);
// -inf for the last token of each of `sequences` whose others end `history`. A single token is
// always banned; a longer sequence never before the history is as long, as in transformers.
void ban_completed(Scores scores, History history, const std::vector<Tokens>& sequences);
// 0 for `tokens`, -inf for all others.
void force(Scores scores, std::span<const int64_t> tokens);
void divide(Scores scores, double temperature);
// -inf for scores below the k-th best.
void keep_top_k(Scores scores, int64_t k);
// -inf for tokens that others, all of them at least as good, leave less than 1 - p of the
// probability to; never for the best. Among equal scores those with lower ids go first.
void keep_top_p(Scores scores, double p);
// -inf for tokens with less than `p` of the best one's probability.
void keep_min_p(Scores scores, double p);
// Logarithms of probabilities that add up to one, up to a common summand the same.
void renormalize(Scores scores);

// All of these that `options` ask for, in the order of Options. `fresh`: new tokens in `history`.
void process(Scores scores, History history, int64_t fresh, const Limits& limits,
             const Options& options);

// Throws the Error of scores whose best is no number to choose by: {diverged} of NaN and inf,
// {recipe} of -inf, as all tokens are ruled out.
[[noreturn]] void no_choice(float best);
// The first of the best tokens, or no_choice().
int64_t best(std::span<const float> scores);
// The token t for which the probabilities (softmax) of tokens before t add up to at most `uniform`
// and with t's to more; or no_choice().
int64_t draw(std::span<const float> scores, double uniform);
// The uniform number in [0, 1) of a sequence's next token.
double uniform(const Options& options, int64_t row, int64_t sequence, int64_t fresh);

}  // namespace compress::generate
