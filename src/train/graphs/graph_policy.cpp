// The part of graph.h that needs no device.

#include <algorithm>
#include <bit>

#include "compress/base/strings.h"
#include "compress/nn/pooling.h"
#include "graphs/graph.h"

namespace compress::train {

namespace {

constexpr int64_t token_step = 64, row_block = 128;

int64_t rounded_up(int64_t value, int64_t step) {
  return (value + step - 1) / step * step;
}

}  // namespace

Bucket bucket_of(const data::Batch& batch) {
  const int64_t tokens = std::max<int64_t>(1, batch.tokens());
  const auto sixteenth = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(tokens)) / 16);
  const int64_t all = rounded_up(tokens, std::max(token_step, sixteenth));
  const int64_t longest = std::max({batch.longest, all - batch.tokens(), int64_t{1}});
  return {batch.rows(), all, rounded_up(longest, row_block)};
}

std::string graph_refusal(const GraphFacts& facts) {
  if (!facts.device.is_cuda()) return "the device is not CUDA";
  if (!facts.library) return "LibTorch was built without CUDA";
  if (facts.precision == nn::Precision::float32)
    return "float32 attention pads its rows (use bf16 or fp16)";
  if (!facts.flash) return "the card has no variable-length attention";
  if (facts.captures.any_attention())
    return "an objective reads attention scores, which are padded";
  if (facts.decoder) return "decoders are not recorded";
  if (!facts.captures.heads.empty()) return "a further head is read";
  const nn::Prediction& says = nn::prediction(facts.head);
  switch (says.over) {
    case nn::Prediction::Over::tokens:
      if (!says.every_token) return "the number of labelled tokens varies";
      break;
    case nn::Prediction::Over::row_tokens:
      return "the softmax over a row's tokens would see the padding";
    case nn::Prediction::Over::choices:
      return "rows are choices of examples";
    default:
      break;
  }
  if (facts.head == nn::HeadKind::embedding && !nn::reads_single_tokens(facts.pooling))
    return "the pooling '" + facts.pooling + "' over a row's tokens would see the padding";
  if (facts.processes) return "several processes share each batch";
  if (facts.accumulate > 1) return "batches are computed in parts";
  return facts.parts;
}

std::string step_refusal(const data::Batch& batch, int64_t full_rows,
                         const std::vector<double>& now, const std::vector<double>& next) {
  if (batch.rows() != full_rows) return "the last batch of an epoch is smaller";
  if (now != next) return "a weight or temperature of the objectives changes from step to step";
  return {};
}

}  // namespace compress::train
