#include "compress/nn/device.h"

#include <ATen/Context.h>

#include <atomic>

#ifdef COMPRESS_CUDA
#include <ATen/cuda/CUDAContextLight.h>
#endif

namespace compress::nn {

namespace {

std::atomic<int> waits_everywhere{0}, recordings{0};

}  // namespace

bool reading_waits(torch::Device device) {
  return !device.is_cpu() || waits_everywhere.load(std::memory_order_relaxed) > 0;
}

ReadingWaitsEverywhere::ReadingWaitsEverywhere() {
  ++waits_everywhere;
}
ReadingWaitsEverywhere::~ReadingWaitsEverywhere() {
  --waits_everywhere;
}

Recording::Recording() {
  ++recordings;
}
Recording::~Recording() {
  --recordings;
}

void begin_draws(torch::Device device, uint64_t seed) {
  // A generator cannot be seeded while its stream is captured; a graph reads seed and offset from
  // device memory, which CUDAGraph::replay() fills from the generator.
  if (device.is_cpu() || recordings.load(std::memory_order_relaxed) > 0) return;
  at::Generator generator = at::globalContext().defaultGenerator(device);
  std::lock_guard<std::mutex> lock(generator.mutex());
  generator.set_current_seed(seed);  // and offset 0
}

bool has_flash_attention(torch::Device device) {
#ifdef COMPRESS_CUDA
  return device.is_cuda() && at::cuda::getDeviceProperties(device.index())->major >= 8;
#else
  (void)device;
  return false;
#endif
}

}  // namespace compress::nn
