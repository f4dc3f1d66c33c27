#pragma once
// How delta-SAM weighs the rows of an update in the gradient that its ascent follows.

#include "compress/optim/optim.h"

namespace compress::optim {

// v [rows] of curvatures c [rows] and, where they count, slopes s [rows] (undefined: they do not):
// c_i / s_i or c_i, at most `clip` times their mean, divided by that mean (renormalise) or by the
// mean of c, which makes (1/B) sum_i v_i g_i = sum_i c_i (g_i / s_i) / sum_i c_i. Means are over
// the rows of all processes where there are some. Rows without any curvature are all alike: 1.
torch::Tensor ascent_weights(const torch::Tensor& curvature, const torch::Tensor& slope,
                             double clip, bool renormalise, parallel::Processes* processes);

}  // namespace compress::optim
