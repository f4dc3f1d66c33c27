#pragma once
// The arithmetic of Adam on contiguous float32 memory. An element's result depends on its own
// history alone, never on how memory is cut into calls.

#include <cstdint>

namespace compress::optim::kernels {

struct AdamConstants {
  float beta1, beta2;
  float rest1, rest2;  // 1 - beta, rounded once
  float eps;
};

// What changes from update to update.
struct AdamStep {
  float decay;  // 1 - lr * weight_decay
  float rate;   // lr / (1 - beta1^t)
  float root;   // 1 / sqrt(1 - beta2^t)
  float share;  // of this update's weights in their average; 0 = none, 1 = a copy
};

// w <- decay w;  m, v <- moments;  w <- w - rate m / (root sqrt(v) + eps);  average <- average +
// share (w - average). A moment that falls below 1e-30 is 0 from then on, which keeps denormal
// numbers out. `average` may be null.
void adam_update(const AdamConstants& constants, const AdamStep& step, float* w, const float* g,
                 float* m, float* v, float* average, int64_t count);

// `steps` updates in a row with a gradient of 0: the same bits as that many calls of adam_update.
void adam_replay(const AdamConstants& constants, const AdamStep* steps, int64_t step_count,
                 float* w, float* m, float* v, float* average, int64_t count);

// The same where both moments are 0: only decay and average remain.
void adam_replay_still(const AdamStep* steps, int64_t step_count, float* w, float* average,
                       int64_t count);

}  // namespace compress::optim::kernels
