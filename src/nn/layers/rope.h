#pragma once
// Tables of rotary positions, and the buckets of relative ones.

#include "compress/nn/layers.h"
#include "compress/nn/model.h"

namespace compress::nn {

// Cosines and sines of positions 0 .. positions - 1. Frequencies as rope_theta and rope_scaling say
// ("linear": divided by factor; "llama3": low ones divided, those between blended; Llama 3.1,
// arXiv 2407.21783).
Rotary rotary_table(const ModelConfig& config, int64_t positions);

// T5's bucket of each distance -reach .. reach (query minus key): [2 reach + 1] int64.
torch::Tensor relative_buckets(int64_t reach, bool causal, int64_t buckets, int64_t farthest);

}  // namespace compress::nn
