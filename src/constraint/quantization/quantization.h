#pragma once
// Quantisation-aware training to int8, and the quantisation of a finished model.

#include <deque>
#include <map>
#include <memory>

#include "compress/constraint/constraint.h"
#include "compress/constraint/quantize.h"
#include "quantization/activation.h"

namespace compress::constraint {

class Quantization : public Constraint {
 public:
  explicit Quantization(const QuantizationOptions& options);
  void bind(const roles::Scene& scene) override;
  std::string unrecordable() const override;
  std::vector<Match> matches() const override;
  bool before_update(const Progress& progress) override;
  nn::TensorMap state() const override;
  void load_state(const nn::TensorMap& state) override;
  nn::Json export_scheme() const override;
  std::string report() const override;

 protected:
  // Puts the transforms on `parameters`. `scales`, when given, holds a fixed scale of each module's
  // input (static activations).
  void hold(const std::vector<nn::Parameter*>& parameters,
            const std::map<std::string, float>& scales = {});
  Phase& phase() { return phase_; }

 private:
  // Rounds to the integer grid of the weight as it comes (masked already); the gradient passes.
  struct Weights final : nn::WeightTransform {
    Granularity granularity = Granularity::channel;
    const Phase* phase = nullptr;
    void forward(nn::Parameter& parameter, torch::Tensor& weight) override {
      if (phase->active) parameter.steps = fake_quantize_weight(weight, granularity);
    }
    void backward(const nn::Parameter&, torch::Tensor&) override {}
  };
  void hold_inputs(const std::vector<nn::Parameter*>& parameters,
                   const std::map<std::string, float>& scales);
  bool static_inputs() const;

  QuantizationOptions options_;
  Phase phase_;
  int64_t start_ = 0, freeze_ = 0;
  Weights weights_;
  TokenInput token_input_{phase_};
  std::deque<TensorInput> tensor_inputs_;
  std::vector<nn::Parameter*> parameters_;
  std::map<std::string, TensorInput*> inputs_;  // by module
};

// "encoder.layer.0.output.dense.weight" -> "encoder.layer.0.output.dense"
std::string module_name(const std::string& tensor);

}  // namespace compress::constraint
