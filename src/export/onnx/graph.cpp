#include "onnx/graph.h"

#include "compress/base/error.h"
#include "compress/base/strings.h"

namespace compress::exports::onnx {

using torch::Tensor;

std::string Graph::fresh(const std::string& stem) {
  return str(stem, "_", numbers_[stem]++);
}

std::string Graph::input(const std::string& name, torch::ScalarType type, std::vector<Size> shape) {
  inputs_.push_back({name, type, std::move(shape)});
  return name;
}

void Graph::output(const std::string& value, const std::string& name, std::vector<Size> shape) {
  nodes_.push_back({"Identity", {value}, {name}, {}});
  outputs_.push_back({name, torch::kFloat32, std::move(shape)});
}

std::string Graph::op(const std::string& kind, std::vector<std::string> inputs,
                      std::vector<Attribute> attributes) {
  return several(kind, std::move(inputs), 1, std::move(attributes)).front();
}

std::vector<std::string> Graph::several(const std::string& kind, std::vector<std::string> inputs,
                                        size_t outputs, std::vector<Attribute> attributes) {
  std::vector<std::string> names;
  for (size_t i = 0; i < outputs; ++i) names.push_back(fresh(kind));
  nodes_.push_back({kind, std::move(inputs), names, std::move(attributes)});
  return names;
}

std::string Graph::weight(checkpoint::Planned weight) {
  std::string name = weight.name;
  if (known_.try_emplace(name, true).second) weights_.push_back(std::move(weight));
  return name;
}

std::string Graph::constant(const std::string& name, const Tensor& value) {
  return weight({name, value.scalar_type(), value.sizes().vec(), [value] { return value; }});
}

std::string Graph::real(double value) {
  return constant("real_" + shortest(static_cast<float>(value)),
                  torch::full({}, value, torch::kFloat32));
}

std::string Graph::whole(std::vector<int64_t> values) {
  std::string name = "whole";
  for (const int64_t value : values) name += str("_", value);
  return constant(name, torch::tensor(values, torch::kInt64));
}

std::string Graph::index(int64_t value) {
  return constant(str("index_", value), torch::full({}, value, torch::kInt64));
}

std::string Graph::zero_point(int64_t value) {
  return constant(str("zero_point_", value),
                  torch::full({}, value, value == 0 ? torch::kInt8 : torch::kUInt8));
}

namespace {

struct TypeNumber {
  torch::ScalarType type;
  int64_t number;
};
constexpr TypeNumber all_types[] = {{torch::kFloat32, 1}, {torch::kUInt8, 2},    {torch::kInt8, 3},
                                    {torch::kInt32, 6},   {torch::kInt64, 7},    {torch::kBool, 9},
                                    {torch::kHalf, 10},   {torch::kBFloat16, 16}};

}  // namespace

int64_t type_number(torch::ScalarType type) {
  for (const TypeNumber& known : all_types)
    if (known.type == type) return known.number;
  throw Error(ErrorKind::internal, compress::str("graphs have no tensors of type ", type));
}

torch::ScalarType type_of(int64_t number, const std::string& where) {
  for (const TypeNumber& known : all_types)
    if (known.number == number) return known.type;
  throw Error(ErrorKind::model, str("the graph has a tensor of type ", number), where,
              "it was not written by this program");
}

}  // namespace compress::exports::onnx
