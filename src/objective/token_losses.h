#pragma once
// Losses over a vocabulary, where [M, V] is too much to be kept more often than needed. Each is
// computed together with its gradient in one pass over chunks of rows, so that besides the logits
// only the gradient has their size, and without gradients nothing has.

#include "compress/nn/model.h"

namespace compress::objective {

// [M] float32: of each row -sum_c q_c log softmax(z)_c with q = (1 - s) one-hot(label) + s / V.
// logits [M, V] float32, labels [M] int64 in 0 .. V - 1, M > 0. Backward once.
torch::Tensor token_cross_entropy(const torch::Tensor& logits, const torch::Tensor& labels,
                                  double smoothing);

// [M] float32: of each row KL(p_T || p_S), p = softmax(z / temperature); both [M, V] float32.
// With `entropy` the teacher's is added: -sum_c p_T,c log p_S,c. Backward once.
torch::Tensor token_divergence(const torch::Tensor& student, const torch::Tensor& teacher,
                               double temperature, bool entropy = false);
// The same over k + 1 classes: the teacher's most probable tokens, and one class for all others,
// whose logit is the logarithm of the sum of their exponentials.
torch::Tensor token_divergence(const torch::Tensor& student, const nn::TopTokens& teacher,
                               double temperature, bool entropy = false);

}  // namespace compress::objective
