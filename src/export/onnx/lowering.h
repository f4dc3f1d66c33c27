#pragma once
// A model's architecture as a graph. Inputs: input_ids, attention_mask and, where there are several
// segments, token_type_ids, each [batch, tokens] int64; rows are padded on the right. Outputs have
// the names that Hugging Face's exporters give them.

#include <functional>
#include <map>
#include <set>
#include <string>

#include "compress/export/export.h"
#include "compress/export/tables.h"
#include "compress/nn/architecture.h"
#include "onnx/graph.h"

namespace compress::exports::onnx {

// Error{recipe} without a place that names what no graph is made of.
void check(const nn::ModelConfig& config);

// Weights and linear layers of one model, int8 where its quantization says so.
class Layers {
 public:
  // What is no integer is stored in `rest` and computed in float32.
  Layers(const LoadedModel& source, Graph& graph, torch::ScalarType rest);

  // Y = X W^T + b of the module's parameters. An input that is rounded to int8 row by row becomes
  //   scale = max |x| / 127.5 (2^-23 where that is 0),  q = round(clip(x / scale, -128, 127))
  //   Y = (q Q^T) * scale * steps + b
  // with integers Q and products; one that has a fixed scale is a pair of QuantizeLinear and
  // DequantizeLinear, as are the weights then.
  std::string linear(const std::string& x, const std::string& module);
  // Only the product, with a table [outputs, width].
  std::string tied(const std::string& x, const std::string& table);
  std::string norm(const std::string& x, const std::string& module, double eps);
  std::string activation(const std::string& x, const std::string& name);
  // Rows of an embedding that `ids` [batch, tokens] names: [batch, tokens, width]. Of a table that
  // the quantization holds, integers and scales are gathered, not numbers: int8 as it is, int4 as
  // bytes of two (storage in tables.cpp).
  std::string rows(const std::string& table, const std::string& ids);
  // The first `count` ([1] int64) rows from `first` on: [count, width].
  std::string first_rows(const std::string& table, int64_t first, const std::string& count);
  bool has(const std::string& parameter) const;
  // A parameter's effective value under its name.
  std::string plain(const std::string& parameter);

 private:
  struct Rounded {
    std::string values, scale;
  };
  const nn::Parameter& parameter(const std::string& name) const;
  bool rounds_weight(const std::string& module) const;
  std::string matrix(const std::string& module);  // [in, out] float32
  std::string stored(const nn::Parameter& parameter, bool turned);
  std::string integers(const nn::Parameter& weight, bool turned);
  std::string shifted(const Rounded& input);  // its values as bytes
  std::string steps(const nn::Parameter& weight);
  // Integers and steps as float32.
  std::string dequantized(const std::string& values, const std::string& steps);
  // Takes rows of a stored tensor.
  using Pick = std::function<std::string(const std::string&)>;
  // What `pick` takes of a table, as float32 of `rank` dimensions.
  std::string picked(const std::string& table, int64_t rank, const Pick& pick);
  std::string grouped(const std::string& values, const std::string& steps, int64_t rank,
                      int64_t width);
  std::string table_values(const nn::Parameter& table);
  std::string table_steps(const nn::Parameter& table);
  Rounded rounded(const std::string& x);  // float32 integers and a scale a row
  std::string fixed(const std::string& x, float scale);

  const LoadedModel& source_;
  const nn::Model& model_;
  Graph& graph_;
  torch::ScalarType rest_;
  std::map<std::string, std::string> wide_;  // weights of `rest` as float32
  std::map<std::string, float> fixed_;       // scales of inputs by module
  std::map<std::string, bool> held_;         // modules that the quantization names
  std::set<std::string> tables_;             // and tables
  constraint::RowGrid grid_;                 // of these
  bool weights_ = false, inputs_ = false, dynamic_ = false;
  std::map<std::string, Rounded> rounded_;  // by the value that was rounded
  std::map<std::string, std::string> shifted_;
};

// The whole graph. `source`'s effective weights are computed in float32 and outlive it.
Graph lower(const LoadedModel& source, torch::ScalarType rest = torch::kFloat32);

// Heads behind the states `states` [batch, tokens, hidden].
struct HeadInput {
  std::string states, mask;  // mask: [batch, tokens] float32, 1 for tokens
};
// `suffix` ends the outputs' names: of a further head "_" and its name.
void add_head(Layers& layers, Graph& graph, const nn::ModelConfig& config,
              const nn::Architecture& plan, const nn::HeadPlan& head, const HeadInput& input,
              const std::string& suffix);

}  // namespace compress::exports::onnx
