// Linear layers and norms as operators.

#include <cmath>
#include <limits>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "onnx/lowering.h"

namespace compress::exports::onnx {

using nn::Parameter;
using torch::Tensor;

Layers::Layers(const LoadedModel& source, Graph& graph, torch::ScalarType rest)
    : source_(source), model_(*source.model), graph_(graph), rest_(rest) {
  const nn::Json& scheme = source.scheme;
  const Quantised quantised = quantised_in(scheme);
  weights_ = quantised.weights;
  inputs_ = quantised.activations;
  if (quantised.embeddings) grid_ = table_grid(scheme);
  tables_ = tables_in(scheme);
  if (!weights_ && !inputs_) return;
  dynamic_ = inputs_ && scheme["activations"].at("dynamic").get<bool>();
  for (const nn::Json& module : scheme.at("modules")) {
    const auto name = module.get<std::string>();
    held_[name] = true;
    if (inputs_ && !dynamic_) fixed_[name] = scheme.at("input_scales").at(name).get<float>();
  }
}

bool Layers::has(const std::string& name) const {
  return model_.params().find(name) != nullptr;
}

const Parameter& Layers::parameter(const std::string& name) const {
  if (const Parameter* found = model_.params().find(name)) return *found;
  throw Error(ErrorKind::internal, "the graph asks for '" + name + "', which the model has not");
}

std::string Layers::plain(const std::string& name) {
  return stored(parameter(name), false);
}

// A weight as float32, where it lies in a narrower type through one Cast that runtimes fold.
std::string Layers::stored(const Parameter& found, bool turned) {
  std::vector<int64_t> shape = found.latent.sizes().vec();
  if (turned) std::swap(shape[0], shape[1]);
  const std::string weight =
      graph_.weight({found.name, rest_, shape, [&found, turned, type = rest_] {
                       const Tensor value = found.effective.to(type);
                       return turned ? value.t() : value;
                     }});
  if (rest_ == torch::kFloat32) return weight;
  std::string& wide = wide_[weight];
  if (wide.empty()) wide = graph_.op("Cast", {weight}, {{"to", type_number(torch::kFloat32)}});
  return wide;
}

bool Layers::rounds_weight(const std::string& module) const {
  if (!weights_ || !held_.contains(module)) return false;
  if (!parameter(module + ".weight").steps.defined())
    throw Error(ErrorKind::internal, "the steps of '" + module + "' are not known");
  return true;
}

// A float32 quotient of fl(q * s) by s is nearer to q than half a step, so rounding gives q back.
std::string Layers::integers(const Parameter& weight, bool turned) {
  std::vector<int64_t> shape = weight.latent.sizes().vec();
  if (turned) std::swap(shape[0], shape[1]);
  return graph_.weight(
      {weight.name, torch::kInt8, shape, [&weight, turned] {
         const Tensor q =
             (weight.effective.detach() / weight.steps).round_().clamp_(-128, 127).to(torch::kInt8);
         return turned ? q.t() : q;
       }});
}

// A rounded input as bytes that lie `byte_zero` higher: of these by int8 runtimes have fast
// products on x86-64 and ARM; of int8 by int8 onnxruntime has slow ones on most x86-64 processors.
std::string Layers::shifted(const Rounded& input) {
  std::string& known = shifted_[input.values];
  if (known.empty())
    known = graph_.op("Cast", {graph_.op("Add", {input.values, graph_.real(byte_zero)})},
                      {{"to", type_number(torch::kUInt8)}});
  return known;
}

// [rows], or a single one without a shape.
std::string Layers::steps(const Parameter& weight) {
  const bool rows = weight.steps.dim() == 2;
  const std::vector<int64_t> shape =
      rows ? std::vector<int64_t>{weight.latent.size(0)} : std::vector<int64_t>{};
  return graph_.weight({weight.name + "_scale", torch::kFloat32, shape,
                        [&weight, shape] { return weight.steps.detach().reshape(shape); }});
}

std::string Layers::matrix(const std::string& module) {
  const Parameter& weight = parameter(module + ".weight");
  if (!rounds_weight(module)) return stored(weight, true);
  std::vector<Attribute> columns;
  if (weight.steps.dim() == 2) columns.push_back({"axis", int64_t{1}});
  return graph_.op("DequantizeLinear", {integers(weight, true), steps(weight)}, columns);
}

Layers::Rounded Layers::rounded(const std::string& x) {
  const auto known = rounded_.find(x);
  if (known != rounded_.end()) return known->second;
  const std::string most =
      graph_.op("ReduceMax", {graph_.op("Abs", {x})},
                {{"axes", std::vector<int64_t>{-1}}, {"keepdims", int64_t{1}}});
  std::string scale = graph_.op("Div", {most, graph_.real(127.5)});
  scale = graph_.op("Where", {graph_.op("Equal", {scale, graph_.real(0)}),
                              graph_.real(std::numeric_limits<float>::epsilon()), scale});
  const std::string inside =
      graph_.op("Clip", {graph_.op("Div", {x, scale}), graph_.real(-128), graph_.real(127)});
  return rounded_[x] = {graph_.op("Round", {inside}), scale};
}

std::string Layers::fixed(const std::string& x, float scale) {
  const std::string step = graph_.real(scale);
  const auto known = rounded_.find(x + step);
  if (known != rounded_.end()) return known->second.values;
  const std::string q = graph_.op("QuantizeLinear", {x, step, graph_.zero_point(0)});
  const std::string back = graph_.op("DequantizeLinear", {q, step, graph_.zero_point(0)});
  rounded_[x + step] = {back, step};
  return back;
}

std::string Layers::linear(const std::string& x, const std::string& module) {
  const Parameter& weight = parameter(module + ".weight");
  const bool held = inputs_ && held_.contains(module);
  std::string y;
  if (held && dynamic_) {
    const Rounded input = rounded(x);
    if (rounds_weight(module)) {
      const std::string sums =
          graph_.op("MatMulInteger", {shifted(input), integers(weight, true),
                                      graph_.zero_point(byte_zero), graph_.zero_point(0)});
      y = graph_.op("Cast", {sums}, {{"to", type_number(torch::kFloat32)}});
      y = graph_.op("Mul", {graph_.op("Mul", {y, input.scale}), steps(weight)});
    } else {
      y = graph_.op("MatMul", {graph_.op("Mul", {input.values, input.scale}), matrix(module)});
    }
  } else {
    y = graph_.op("MatMul", {held ? fixed(x, fixed_.at(module)) : x, matrix(module)});
  }
  return has(module + ".bias") ? graph_.op("Add", {y, plain(module + ".bias")}) : y;
}

std::string Layers::norm(const std::string& x, const std::string& module, double eps) {
  return graph_.op("LayerNormalization", {x, plain(module + ".weight"), plain(module + ".bias")},
                   {{"axis", int64_t{-1}}, {"epsilon", static_cast<float>(eps)}});
}

std::string Layers::activation(const std::string& x, const std::string& name) {
  if (name == "tanh") return graph_.op("Tanh", {x});
  if (name == "relu") return graph_.op("Relu", {x});
  if (name == "silu" || name == "swish") return graph_.op("Mul", {x, graph_.op("Sigmoid", {x})});
  if (name == "gelu") {  // in the order that runtimes know as one operator
    const std::string erf = graph_.op("Erf", {graph_.op("Div", {x, graph_.real(std::sqrt(2.0))})});
    return graph_.op(
        "Mul", {graph_.op("Mul", {x, graph_.op("Add", {erf, graph_.real(1)})}), graph_.real(0.5)});
  }
  if (name != "gelu_new" && name != "gelu_pytorch_tanh")
    throw Error(ErrorKind::internal, "the graph has no activation '" + name + "'");
  const std::string cube = graph_.op("Mul", {graph_.op("Mul", {x, x}), x});
  const std::string inner = graph_.op("Add", {x, graph_.op("Mul", {cube, graph_.real(0.044715)})});
  const std::string tanh =
      graph_.op("Tanh", {graph_.op("Mul", {inner, graph_.real(std::sqrt(2 / M_PI))})});
  return graph_.op(
      "Mul", {graph_.op("Mul", {x, graph_.op("Add", {tanh, graph_.real(1)})}), graph_.real(0.5)});
}

}  // namespace compress::exports::onnx
