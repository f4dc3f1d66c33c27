#pragma once
// Shared by the tests of module `constraint`.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/constraint/constraint.h"
#include "compress/recipe/node.h"
#include "support/scene.h"

namespace compress::constraint {

// A few parameters and no computation.
class TinyModel : public nn::Model {
 public:
  TinyModel() : Model({}) {}
  nn::Outputs forward(const data::Batch&, const nn::Capture&, const nn::Pass&) override {
    return {};
  }
  nn::Parameter& add(const std::string& name, nn::Role role, torch::Tensor value) {
    return params_.add(name, role, 0, std::move(value));
  }
  // One matrix in the encoder.
  nn::Parameter& add(torch::Tensor value) {
    return add("encoder.layer.0.intermediate.dense.weight", nn::Role::ffn_in, std::move(value));
  }
};

inline Progress at_step(int64_t step, int64_t total = 100) {
  return {step, total, 10};
}

inline recipe::Component read(const recipe::Registry& registry, const std::string& text) {
  recipe::Component component;
  recipe::Problems problems;
  registry.read(recipe::parse_text(text, "a.yaml"), component, problems);
  problems.raise();
  return component;
}

inline std::unique_ptr<Constraint> pruner(const std::string& text) {
  return make_pruning(read(pruning(), text));
}

inline QuantizationOptions quantization_options(const std::string& text) {
  QuantizationOptions options;
  recipe::Problems problems;
  recipe::read_struct(QuantizationOptions::options().info(), recipe::parse_text(text, "a.yaml"),
                      &options, problems);
  problems.raise();
  return options;
}

inline std::unique_ptr<Constraint> quantizer(const std::string& text) {
  return make_quantization(quantization_options(text));
}

// The text of the Error of `kind` that `run` throws.
inline std::string error_of(ErrorKind kind, const std::function<void()>& run) {
  try {
    run();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return std::string(error.what()) + " " + error.hint();
  }
  ADD_FAILURE() << "no error";
  return {};
}

inline std::vector<float> values(const torch::Tensor& tensor) {
  torch::Tensor flat = tensor.detach().to(torch::kFloat32).contiguous();
  const float* p = flat.const_data_ptr<float>();
  return {p, p + flat.numel()};
}

inline int64_t zeros(const torch::Tensor& tensor) {
  return tensor.numel() - tensor.detach().count_nonzero().item<int64_t>();
}

inline torch::Tensor effective(nn::Model& model, nn::Parameter& parameter) {
  model.params().refresh(nn::Precision::float32);
  return parameter.effective.detach().clone();
}

// Sends `gradient` back from the effective weight to the latent one.
inline torch::Tensor latent_gradient(nn::Model& model, nn::Parameter& parameter,
                                     const torch::Tensor& gradient) {
  model.params().refresh(nn::Precision::float32);
  parameter.effective.mutable_grad() = gradient.clone();
  model.params().collect_gradients(false);
  return parameter.latent.grad().clone();
}

// A model of one matrix under a constraint for 40 updates, and one that goes on from its state
// after 11 of them.
struct ResumedRun {
  ResumedRun(const std::string& text, std::vector<int64_t> sizes)
      : shape(std::move(sizes)), a(pruner(text)), b(pruner(text)) {
    torch::manual_seed(5);
    p = &one.add(torch::randn(shape));
    bind(*a, one);
    for (int64_t step = 0; step < 11; ++step) update(*a, one, *p, step);
    q = &two.add(p->latent.detach().clone());
    bind(*b, two);
    b->load_state(a->state());
  }
  void go_on() {
    for (int64_t step = 11; step < 40; ++step) {
      update(*a, one, *p, step);
      update(*b, two, *q, step);
    }
  }
  void update(Constraint& c, nn::Model& model, nn::Parameter& parameter, int64_t step) {
    c.before_update(at_step(step));
    torch::manual_seed(100 + static_cast<uint64_t>(step));
    parameter.latent.detach().sub_(latent_gradient(model, parameter, torch::randn(shape)), 0.2);
    c.after_update(at_step(0));
  }

  std::vector<int64_t> shape;
  TinyModel one, two;
  nn::Parameter *p = nullptr, *q = nullptr;
  std::unique_ptr<Constraint> a, b;
};

}  // namespace compress::constraint
