#pragma once
// What tests on a card share.

#include "compress/nn/device.h"
#include "unit/train/stage.h"

namespace compress {

// Skips where there is no card.
class OnCard : public testing::Test {
 protected:
  void SetUp() override {
    if (!torch::cuda::is_available()) GTEST_SKIP() << "no CUDA device was found";
  }
  void need_flash() {
    if (!nn::has_flash_attention(card_))
      GTEST_SKIP() << "the card has no flash attention (compute capability below 8.0)";
  }
  torch::Device card_{torch::kCUDA, 0};
};

// The tiny model without dropout.
inline std::unique_ptr<nn::Model> without_dropout(uint64_t seed = 1) {
  nn::ModelState state = nn::tiny_bert(nn::HeadKind::classification);
  state.config.hidden_dropout = state.config.attention_dropout = state.config.classifier_dropout =
      0;
  return nn::build(state, seed);
}

inline double furthest(const torch::Tensor& a, const torch::Tensor& b) {
  return (a.detach().cpu().to(torch::kFloat32) - b.detach().cpu().to(torch::kFloat32))
      .abs()
      .max()
      .item<double>();
}

}  // namespace compress
