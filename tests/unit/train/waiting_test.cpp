// A step reads no element of a tensor where that would wait for a device.

#include <ATen/record_function.h>

#include <atomic>
#include <set>

#include "compress/nn/device.h"
#include "unit/augment/words.h"
#include "unit/train/stage.h"

namespace compress::train {
namespace {

std::atomic<int> readings{0};

// Counts the operators that give the host a value or a size that depends on values.
class ReadingCounter {
 public:
  ReadingCounter() {
    readings = 0;
    handle_ = at::addGlobalCallback(
        at::RecordFunctionCallback([](const at::RecordFunction& fn)
                                       -> std::unique_ptr<at::ObserverContext> {
          static const std::set<std::string> names = {
              "aten::_local_scalar_dense", "aten::is_nonzero", "aten::nonzero",    "aten::_unique2",
              "aten::masked_select",       "aten::equal",      "aten::unique_dim", "aten::bincount",
              "aten::repeat_interleave"};
          if (names.contains(fn.name())) ++readings;
          return nullptr;
        }).scopes({at::RecordScope::FUNCTION}));
  }
  ~ReadingCounter() { at::removeCallback(handle_); }
  static int count() { return readings; }

 private:
  at::CallbackHandle handle_;
};

int readings_of(const std::string& yaml, int64_t steps, bool masked) {
  Bench bench(str("for: ", steps, " steps\n", yaml));
  augment::Words tokens;
  if (masked) {
    bench.student = nn::build(masked_lm(), 1);
    bench.job.student = bench.student.get();
    bench.job.tokenizer = &tokens;
  }
  ReadingCounter counter;
  run(bench.job);
  return counter.count();
}

class Waiting : public testing::TestWithParam<const char*> {};

TEST_P(Waiting, StepsReadNothing) {
  const std::string yaml = GetParam();
  const bool masked = yaml.find("masking") != std::string::npos;
  nn::ReadingWaitsEverywhere everywhere;
  // The loss is read once in ten steps and at the end; what remains would be of the steps.
  EXPECT_EQ(readings_of(yaml, 9, masked), readings_of(yaml, 4, masked));
}

INSTANTIATE_TEST_SUITE_P(
    Recipes, Waiting,
    testing::Values(
        "objectives: [labels: {}]\n", "objectives: [labels: {}]\nclip: 0\n",
        "objectives: [soft_labels: {temperature: 2}, labels: {weight: 0.5}]\n"
        "sharpness: {sam: {rho: 0.05}}\naveraging: {swa: {start: 50%}}\naccumulate: 3\n",
        "objectives: [logits_mse: {}, hidden_states: {projection: always}]\n"
        "sharpness: {asam: {accumulation: per_micro_batch}}\naccumulate: 2\n"
        "averaging: {ema: {}}\noptimizer: {sgd: {lr: 0.01}}\n",
        "objectives: [labels: {}]\n"
        "quantization: {weights: int8, activations: int8, activation_scale: dynamic}\n",
        "objectives: [labels: {}]\naugment: [masking: {}]\n",
        "objectives: [labels: {}]\naugment: [masking: {}]\naccumulate: 2\n"));

TEST(Waiting, TheCounterCounts) {
  ReadingCounter counter;
  torch::ones({}).item<float>();
  torch::ones({3}).nonzero();
  EXPECT_EQ(counter.count(), 2);
}

TEST(Waiting, OnTheCpuTheLossIsReadInEveryStep) {
  const std::string yaml = "objectives: [labels: {}]\nclip: 0\n";
  EXPECT_GE(readings_of(yaml, 9, false), readings_of(yaml, 4, false) + 5);
}

TEST(Waiting, TheStepIsTheSame) {
  // Device branches of clipping, SAM and embeddings, beside those of the CPU. (AdamW would divide
  // differences of rounding by small gradients.)
  const std::string yaml =
      "for: 6 steps\nobjectives: [soft_labels: {}, labels: {}]\nsharpness: {sam: {rho: 0.1}}\n"
      "optimizer: {sgd: {lr: 0.1}}\nclip: 0.5\n";
  Bench usual(yaml), start(yaml);
  run(usual.job);
  nn::ReadingWaitsEverywhere everywhere;
  Bench waiting(yaml);
  run(waiting.job);
  const Distance seen = distance(usual.weights(), waiting.weights(), start.weights());
  EXPECT_GT(seen.moved, 1e-3);
  EXPECT_LT(seen.between, 2e-5);
}

}  // namespace
}  // namespace compress::train
