#pragma once
// Quantisation-aware training to int8, and the quantisation of a finished model.

#include <deque>
#include <map>
#include <memory>

#include "compress/constraint/constraint.h"
#include "compress/constraint/quantize.h"
#include "quantization/activation.h"

namespace compress::constraint {

// What a scheme fixes, by module.
struct FixedGrids {
  std::map<std::string, kernels::Grid> inputs, outputs;
  std::map<std::string, torch::Tensor> weights;  // scales, float32 [out, 1] or [1]
};

class Quantization : public Constraint {
 public:
  explicit Quantization(const QuantizationOptions& options);
  void bind(const roles::Scene& scene) override;
  std::string unrecordable() const override;
  std::vector<Match> matches() const override;
  bool before_update(const Progress& progress) override;
  void after_update(const Progress&) override { phase_.widens = false; }
  nn::TensorMap state() const override;
  void load_state(const nn::TensorMap& state) override;
  nn::Json export_scheme() const override;
  std::string report() const override;

 protected:
  // Puts the transforms on `parameters`.
  void hold(const std::vector<nn::Parameter*>& parameters, const FixedGrids& fixed = {});
  // The same for embeddings.
  void hold_tables(const std::vector<nn::Parameter*>& tables);
  Phase& phase() { return phase_; }
  const RowGrid& grid() const { return table_rows_.grid; }

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
  // The same by the largest magnitudes that training passes have seen; beyond them values are
  // clamped. The gradient passes.
  struct WideningWeights final : nn::WeightTransform {
    Granularity granularity = Granularity::channel;
    const Phase* phase = nullptr;
    std::vector<int64_t> shape;  // [out, 1] or [1]
    torch::Tensor most;          // float32, undefined before the first pass
    torch::Tensor fixed;         // the scale, where one is given
    void forward(nn::Parameter& parameter, torch::Tensor& weight) override;
    void backward(const nn::Parameter&, torch::Tensor&) override {}
    bool known() const { return fixed.defined() || most.defined(); }
    torch::Tensor scale() const;  // where it is known
  };
  // Calls visit("input" or "output", the module, its grid) for all of them.
  template <class Visit>
  void each_grid(const Visit& visit) const;
  void check_whole_outputs(const std::vector<nn::Parameter*>& held) const;
  void hold_weights(const std::vector<nn::Parameter*>& parameters, const FixedGrids& fixed);
  void hold_inputs(const std::vector<nn::Parameter*>& parameters, const FixedGrids& fixed);
  void hold_outputs(const std::vector<nn::Parameter*>& parameters, const FixedGrids& fixed);
  // Rounds rows of embeddings, each by itself: those that a batch reads, or all of a table; the
  // gradient passes.
  struct Tables final : nn::WeightTransform {
    RowGrid grid;
    const Phase* phase = nullptr;
    void forward(nn::Parameter&, torch::Tensor& rows) override {
      if (phase->active) fake_quantize_table(rows, grid);
    }
    void backward(const nn::Parameter&, torch::Tensor&) override {}
  };
  bool static_inputs() const;
  // Of a module; what they are is in `what` ("input").
  kernels::Grid known(TensorGrid& grid, const std::string& module, const char* what) const;

  QuantizationOptions options_;
  Phase phase_;
  int64_t start_ = 0, freeze_ = 0;
  Weights weights_;
  Tables table_rows_;
  TokenInput token_input_{phase_};
  std::deque<TensorInput> tensor_inputs_;
  std::deque<TensorOutput> tensor_outputs_;
  std::deque<WideningWeights> widening_;
  std::vector<nn::Parameter*> parameters_, tables_;
  std::map<std::string, TensorInput*> inputs_;  // by module
  std::map<std::string, TensorOutput*> outputs_;
  std::map<std::string, WideningWeights*> ranges_;
};

// The word, position and segment tables that the options hold. Error{recipe} at `mark` where none
// is left or a group does not fit.
std::vector<nn::Parameter*> select_tables(const roles::Scene& scene,
                                          const QuantizationOptions& options,
                                          const recipe::Mark& mark);
// How such tables are rounded, and the entry "embeddings" of a scheme.
RowGrid table_grid(const std::string& embeddings, int64_t group);
std::string table_text(const RowGrid& grid);
nn::Json table_scheme(const RowGrid& grid, const std::vector<nn::Parameter*>& tables);
// The exclusions without those that are there for tables alone.
std::vector<std::string> excluded_matrices(const roles::Scene& scene,
                                           const QuantizationOptions& options);

// Whether all members of the parameter's fused product are among `held`, so that one transform of
// their input may serve all. False without such a product.
bool holds_group(const nn::Parameter& parameter, const std::vector<nn::Parameter*>& held);
// The beginning of a scheme (constraint.h): how weights ("channel", "tensor", "none") and
// activations
// ("static", "dynamic", "none") are rounded, of which modules.
nn::Json scheme_of(const std::string& weights, const std::string& activations,
                   const std::vector<nn::Parameter*>& parameters);

// "encoder.layer.0.output.dense.weight" -> "encoder.layer.0.output.dense"
std::string module_name(const std::string& tensor);

}  // namespace compress::constraint
