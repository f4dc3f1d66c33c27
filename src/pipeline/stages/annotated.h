#pragma once
// The arithmetic of the kind of stage that annotates, apart from its running.

#include "compress/data/torch.h"

namespace compress::pipeline {

// softmax(logits / temperature) of each row: [N, C].
torch::Tensor soft_labels_of(const torch::Tensor& logits, double temperature);

}  // namespace compress::pipeline
