#pragma once
// A graph of ONNX operators, and the file that holds it (onnx.proto of
// https://github.com/onnx/onnx, read against 1.23).

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "compress/checkpoint/checkpoint.h"

namespace compress::exports::onnx {

// Operators as of the set that onnxruntime reads from 1.12 on: LayerNormalization is in it, and
// axes of ReduceMax are still attributes.
constexpr int64_t opset = 17;
constexpr int64_t ir_version = 8;
// Added to int8 numbers that a product reads as bytes.
constexpr int64_t byte_zero = 128;
constexpr const char* file_name = "model.onnx";
constexpr const char* data_name = "model.onnx_data";  // weights that lie outside
// A message cannot have more than 2^31 - 1 bytes. From here on weights lie in a file of their own.
constexpr uint64_t most_inside = 1'900'000'000;

struct Attribute {
  std::string name;
  std::variant<int64_t, float, std::vector<int64_t>> value;
};
struct Node {
  std::string op;
  std::vector<std::string> inputs, outputs;
  std::vector<Attribute> attributes;
};
// A size, or the name of one that the caller chooses.
using Size = std::variant<int64_t, std::string>;
// What goes into the graph or comes out.
struct Value {
  std::string name;
  torch::ScalarType type = torch::kFloat32;
  std::vector<Size> shape;
};

// A graph while it is made. Values are known by their names; nodes stand in the order of their
// making, which is one that computes.
class Graph {
 public:
  std::string input(const std::string& name, torch::ScalarType type, std::vector<Size> shape);
  // `value` under the name that callers ask for.
  void output(const std::string& value, const std::string& name, std::vector<Size> shape);
  // A node with one output, which is named after the operator.
  std::string op(const std::string& kind, std::vector<std::string> inputs,
                 std::vector<Attribute> attributes = {});
  std::vector<std::string> several(const std::string& kind, std::vector<std::string> inputs,
                                   size_t outputs, std::vector<Attribute> attributes = {});
  // A weight under its name, once however often it is asked for.
  std::string weight(checkpoint::Planned weight);
  // Small numbers that the arithmetic needs; equal ones are one.
  std::string real(double value);
  std::string whole(std::vector<int64_t> values);  // [n] int64
  std::string index(int64_t value);                // a single int64 without a shape
  // Of int8 (0) or, where numbers lie `byte_zero` higher, of bytes.
  std::string zero_point(int64_t value);

  const std::vector<Node>& nodes() const { return nodes_; }
  const std::vector<Value>& inputs() const { return inputs_; }
  const std::vector<Value>& outputs() const { return outputs_; }
  const std::vector<checkpoint::Planned>& weights() const { return weights_; }

 private:
  std::string constant(const std::string& name, const torch::Tensor& value);
  std::string fresh(const std::string& stem);

  std::vector<Node> nodes_;
  std::vector<Value> inputs_, outputs_;
  std::vector<checkpoint::Planned> weights_;
  std::map<std::string, bool> known_;
  std::map<std::string, int64_t> numbers_;
};

// Writes the graph into `folder`, weight by weight: each is computed when its turn comes and let
// go. Where the weights together have more than `inside` bytes, those of 1,024 bytes and more lie
// in a second file. Error{disk}.
void save(const Graph& graph, const std::filesystem::path& folder, uint64_t inside = most_inside);

// A graph as it was read.
struct Read {
  std::vector<Node> nodes;
  std::vector<std::string> inputs, outputs;
  std::map<std::string, torch::Tensor> weights;
  int64_t opset = 0;
};
// Error{model} for a file that is damaged, or that holds what save() does not write.
Read load(const std::filesystem::path& folder);

// The number that the format has for a type. Error{internal} for one that graphs do not use.
int64_t type_number(torch::ScalarType type);
torch::ScalarType type_of(int64_t number, const std::string& where);

}  // namespace compress::exports::onnx
