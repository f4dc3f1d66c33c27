#pragma once
// What computing on an accelerator asks for besides tensors.

#include "compress/data/torch.h"

#include <cstdint>

namespace compress::nn {

// Whether reading an element of a tensor on the host waits until its device has computed it: off
// the CPU it does. A training step reads none where this is true.
bool reading_waits(torch::Device device);
inline bool reading_waits(const torch::Tensor& tensor) {
  return reading_waits(tensor.device());
}

// While one lives, reading_waits() is true of the CPU, too: so that a machine without an
// accelerator can check that a step reads nothing. For tests.
class ReadingWaitsEverywhere {
 public:
  ReadingWaitsEverywhere();
  ~ReadingWaitsEverywhere();
  ReadingWaitsEverywhere(const ReadingWaitsEverywhere&) = delete;
  ReadingWaitsEverywhere& operator=(const ReadingWaitsEverywhere&) = delete;
};

// Begins the random draws of a training pass on `device`. On CUDA dropout takes its draws in turn
// from the device's default generator (flash attention knows no other one), so the draws of a pass
// are a function of this seed, of the sites' order and shapes, and of the kind of card. Nothing to
// do on the CPU, where each draw is a function of its own seed, nor during a Recording.
void begin_draws(torch::Device device, uint64_t seed);

// While one lives, what runs on the device is recorded into a graph and not computed. Whoever plays
// the graph begins the draws (begin_draws) before each time. One at a time.
class Recording {
 public:
  Recording();
  ~Recording();
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;
};

// Whether `device` has kernels for variable-length attention: an NVIDIA card of compute capability
// 8.0 or later, and a LibTorch built for CUDA.
bool has_flash_attention(torch::Device device);

}  // namespace compress::nn
