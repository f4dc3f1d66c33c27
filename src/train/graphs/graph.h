#pragma once
// CUDA graphs of a step's passes (teacher forward, student forward, backward, collecting
// gradients): recorded once a size of batch and played afterwards, so that a step of small kernels
// does not wait for their launches. What follows a pass (clipping, optimizer, averages) is few
// launches and stays outside, with its numbers of the step.

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "compress/data/batch.h"
#include "compress/nn/model.h"

namespace compress::train {

// --- which batches share a graph

struct Bucket {
  int64_t rows = 0, tokens = 0, longest = 0;
  auto operator<=>(const Bucket&) const = default;
};
// The bucket of a batch: tokens rounded up to a multiple of 64 and by at most about a sixteenth
// beyond 1024 tokens, the longest row to a multiple of 128 (the block of rows that flash attention
// works on). The padding, one sequence of its own, fits into `longest`.
Bucket bucket_of(const data::Batch& batch);

// --- whether a stage may use graphs

// What decides it.
struct GraphFacts {
  torch::Device device = torch::kCPU;
  bool library = false;  // LibTorch has CUDA
  nn::Precision precision = nn::Precision::float32;
  bool flash = false;  // the card has variable-length attention
  int64_t accumulate = 1;
  bool processes = false;  // several share each batch
  nn::Capture captures;
  nn::HeadKind head = nn::HeadKind::none;
  std::string pooling = "mean";
  bool decoder = false;  // the model has one
  std::string parts;     // the first reason of the stage's parts (roles::Part::unrecordable)
};
// Why it may not, as a sentence's end ("..., as attention scores are captured"); "" when it may.
std::string graph_refusal(const GraphFacts& facts);
// Why one step may not: a partial batch, or numbers that change from step to step. `now` and `next`
// are the numbers that passes read of the progress, at this step and the next.
std::string step_refusal(const data::Batch& batch, int64_t full_rows,
                         const std::vector<double>& now, const std::vector<double>& next);

// --- the graphs

// Losses of a pass, as tensors on the device.
struct PassLosses {
  std::vector<std::pair<std::string, torch::Tensor>> terms;
  torch::Tensor total;
  torch::Tensor rows;  // of each row, where they were asked for; never in a graph
};

class StepGraphs {
 public:
  // `parameters` are all that a pass may give a gradient.
  StepGraphs(torch::Device device, std::vector<nn::Parameter*> parameters);
  ~StepGraphs();
  StepGraphs(const StepGraphs&) = delete;
  StepGraphs& operator=(const StepGraphs&) = delete;

  static bool available();  // built with CUDA

  // The batch, which is on the host, padded to its bucket and copied to where the bucket's graph
  // reads it. Valid until the next call.
  const data::Batch& stage(const data::Batch& batch);
  // Copies into memory that the bucket's graph reads, and returns that memory.
  torch::Tensor stage(const torch::Tensor& value, const std::string& name);
  // Computes `pass` on the staged batch, whose dropout begins with `seed`: the first time in a
  // bucket as it is, the second time recorded and played, then played. `pass` uses the staged
  // tensors alone, reads no element and leaves gradients in latent.grad(). They lie at the same
  // places afterwards. Losses are fresh tensors.
  PassLosses run(uint64_t seed, const std::function<PassLosses()>& pass);
  // Forgets what was recorded: after anything but the contents of staged tensors, weights and
  // optimizer changed (masks, constants).
  void forget();
  int64_t recorded() const;  // graphs that exist

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace compress::train
