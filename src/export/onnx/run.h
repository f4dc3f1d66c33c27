#pragma once
// Runs a graph that was read, to compare it with the model that it was made of: each operator is
// what the standard says, in the tensors of LibTorch, with no thought of speed.

#include <map>
#include <memory>
#include <string>

#include "compress/nn/model.h"
#include "onnx/graph.h"

namespace compress::exports::onnx {

// The values of the outputs by name. Without `rounding` what rounds to int8 leaves numbers as they
// are, and products of integers are those of the numbers: a graph without rounding is a smooth
// function, which can be compared where a last bit would decide between two integers.
// Error{model} for an operator that lowering does not use.
std::map<std::string, torch::Tensor> run(const Read& graph,
                                         std::map<std::string, torch::Tensor> inputs,
                                         bool rounding = true);

// A folder's graph as a model of this configuration, for evaluators. It has one parameter, which
// says where it computes: on the CPU.
class GraphModel final : public nn::Model {
 public:
  GraphModel(const nn::ModelConfig& config, const std::filesystem::path& folder);
  nn::Outputs forward(const data::Batch& batch, const nn::Capture& capture,
                      const nn::Pass& pass) override;
  const Read& graph() const { return graph_; }
  void set_rounding(bool rounding) { rounding_ = rounding; }

 private:
  Read graph_;
  bool rounding_ = true;
};

}  // namespace compress::exports::onnx
