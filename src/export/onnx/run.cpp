#include "onnx/run.h"

#include <functional>

#include "compress/base/error.h"
#include "compress/base/strings.h"

namespace compress::exports::onnx {

using torch::Tensor;

namespace {

// A node with the values that it reads.
struct Call {
  const Node& node;
  std::vector<Tensor> in;
  bool rounding;

  template <class T>
  T attribute(const char* name, T fallback) const {
    for (const Attribute& each : node.attributes)
      if (each.name == name)
        if (const T* value = std::get_if<T>(&each.value)) return *value;
    return fallback;
  }
  int64_t number(const char* name, int64_t fallback) const { return attribute(name, fallback); }
  std::vector<int64_t> numbers(const char* name) const {
    return attribute(name, std::vector<int64_t>{});
  }
  std::vector<int64_t> list(size_t input) const {
    const Tensor values = in.at(input).to(torch::kInt64).reshape({-1}).contiguous();
    const auto* from = values.const_data_ptr<int64_t>();
    return {from, from + values.numel()};
  }
};
using Outputs = std::vector<Tensor>;
using Operator = std::function<Outputs(const Call&)>;

template <class Function>
Operator plain(Function function) {
  return [function](const Call& call) -> Outputs {
    if constexpr (std::is_invocable_v<Function, const Tensor&>)
      return {function(call.in.at(0))};
    else
      return {function(call.in.at(0), call.in.at(1))};
  };
}

Tensor gather(const Call& call) {
  const int64_t axis = call.number("axis", 0);
  const Tensor& x = call.in.at(0);
  const Tensor& ids = call.in.at(1);
  std::vector<int64_t> shape = x.sizes().vec();
  const Tensor rows = x.index_select(axis, ids.reshape({-1}));
  shape.erase(shape.begin() + axis);
  shape.insert(shape.begin() + axis, ids.sizes().begin(), ids.sizes().end());
  return rows.reshape(shape);
}

Tensor slice(const Call& call) {
  return call.in.at(0).slice(call.list(3).at(0), call.list(1).at(0), call.list(2).at(0));
}

Tensor reshaped(const Call& call) {
  std::vector<int64_t> shape = call.list(1);
  for (size_t i = 0; i < shape.size(); ++i)
    if (shape[i] == 0) shape[i] = call.in.at(0).size(static_cast<int64_t>(i));
  return call.in.at(0).reshape(shape);
}

Tensor with_axes(Tensor x, std::vector<int64_t> axes, bool in) {
  for (const int64_t axis : axes) x = in ? x.unsqueeze(axis) : x.squeeze(axis);
  return x;
}

Tensor cast(const Call& call) {
  const torch::ScalarType type = type_of(call.number("to", 1), "Cast");
  // Integers that were not rounded stay what they are.
  if (type == torch::kUInt8 && !call.rounding) return call.in.at(0);
  return call.in.at(0).to(type);
}

// Sums of products of int8 numbers are exact in float64.
Tensor integer_product(const Call& call) {
  auto operand = [&](size_t i) {
    return call.in.at(i).to(torch::kFloat64) - call.in.at(i + 2).to(torch::kFloat64);
  };
  const Tensor y = at::matmul(operand(0), operand(1));
  return call.rounding ? y.to(torch::kInt32) : y;
}

Tensor clipped(const Call& call) {
  // Of int8 alone: the norm of an embedding is clipped below.
  if (call.in.size() == 3 && !call.rounding) return call.in[0];
  const Tensor x = at::maximum(call.in.at(0), call.in.at(1));
  return call.in.size() < 3 ? x : at::minimum(x, call.in[2]);
}

Tensor quantized(const Call& call) {
  const Tensor x = call.in.at(0) / call.in.at(1);
  return call.rounding ? x.round().clamp(-128, 127).to(torch::kInt8) : x;
}

Tensor dequantized(const Call& call) {
  Tensor scale = call.in.at(1);
  const Tensor x = call.in.at(0).to(torch::kFloat32);
  if (scale.dim() == 1 && call.number("axis", 1) == 0) scale = scale.unsqueeze(1);
  return x * scale;
}

Tensor layer_norm(const Call& call) {
  const Tensor& weight = call.in.at(1);
  return at::layer_norm(call.in.at(0), weight.sizes(), weight, call.in.at(2),
                        static_cast<double>(call.attribute("epsilon", 1e-5F)));
}

const std::map<std::string, Operator>& operators() {
  auto one = [](Tensor (*function)(const Call&)) -> Operator {
    return [function](const Call& call) -> Outputs { return {function(call)}; };
  };
  using T = const Tensor&;
  static const std::map<std::string, Operator> all = {
      {"Identity", plain([](T x) { return x; })},
      {"Abs", plain([](T x) { return x.abs(); })},
      {"Erf", plain([](T x) { return x.erf(); })},
      {"Floor", plain([](T x) { return x.floor(); })},
      {"Relu", plain([](T x) { return x.relu(); })},
      {"Sigmoid", plain([](T x) { return x.sigmoid(); })},
      {"Sqrt", plain([](T x) { return x.sqrt(); })},
      {"Tanh", plain([](T x) { return x.tanh(); })},
      {"Add", plain([](T x, T y) { return x + y; })},
      {"Div", plain([](T x, T y) { return x / y; })},
      {"Equal", plain([](T x, T y) { return x == y; })},
      {"MatMul", plain([](T x, T y) { return at::matmul(x, y); })},
      {"Mul", plain([](T x, T y) { return x * y; })},
      {"Sub", plain([](T x, T y) { return x - y; })},
      {"Round", one([](const Call& c) { return c.rounding ? c.in.at(0).round() : c.in.at(0); })},
      {"Cast", one(cast)},
      {"Clip", one(clipped)},
      {"Concat", one([](const Call& c) { return at::cat(c.in, c.number("axis", 0)); })},
      {"CumSum", one([](const Call& c) { return c.in.at(0).cumsum(c.list(1).at(0)); })},
      {"DequantizeLinear", one(dequantized)},
      {"Gather", one(gather)},
      {"LayerNormalization", one(layer_norm)},
      {"MatMulInteger", one(integer_product)},
      {"QuantizeLinear", one(quantized)},
      {"ReduceL2", one([](const Call& c) {
         return c.in.at(0).norm(2, c.numbers("axes"), c.number("keepdims", 1) != 0);
       })},
      {"ReduceMax", one([](const Call& c) {
         return c.in.at(0).amax(c.numbers("axes"), c.number("keepdims", 1) != 0);
       })},
      {"ReduceSum", one([](const Call& c) {
         return c.in.at(0).sum(c.list(1), c.number("keepdims", 1) != 0);
       })},
      {"Reshape", one(reshaped)},
      {"Shape", one([](const Call& c) {
         const auto sizes = c.in.at(0).sizes().vec();
         return torch::tensor(sizes).slice(0, c.number("start", 0), c.number("end", 1 << 20));
       })},
      {"Slice", one(slice)},
      {"Softmax", one([](const Call& c) { return c.in.at(0).softmax(c.number("axis", -1)); })},
      {"Split", [](const Call& c) -> Outputs {
         return c.in.at(0).chunk(static_cast<int64_t>(c.node.outputs.size()), c.number("axis", 0));
       }},
      {"Squeeze", one([](const Call& c) { return with_axes(c.in.at(0), c.list(1), false); })},
      {"Transpose", one([](const Call& c) { return c.in.at(0).permute(c.numbers("perm")); })},
      {"Unsqueeze", one([](const Call& c) { return with_axes(c.in.at(0), c.list(1), true); })},
      {"Where", one([](const Call& c) { return at::where(c.in.at(0), c.in.at(1), c.in.at(2)); })}};
  return all;
}

}  // namespace

std::map<std::string, Tensor> run(const Read& graph, std::map<std::string, Tensor> inputs,
                                  bool rounding) {
  torch::NoGradGuard no_grad;
  std::map<std::string, size_t> last;  // node that reads a value last: it is let go there
  for (size_t i = 0; i < graph.nodes.size(); ++i)
    for (const std::string& name : graph.nodes[i].inputs) last[name] = i;
  std::map<std::string, Tensor>& values = inputs;
  auto value = [&](const std::string& name) {
    if (const auto weight = graph.weights.find(name); weight != graph.weights.end())
      return weight->second;
    if (const auto found = values.find(name); found != values.end()) return found->second;
    throw Error(ErrorKind::model, "the graph reads '" + name + "', which nothing computes");
  };
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    const auto found = operators().find(node.op);
    if (found == operators().end())
      throw Error(ErrorKind::model, "the graph has an operator '" + node.op + "'", {},
                  "it was not written by this program");
    Call call{node, {}, rounding};
    for (const std::string& name : node.inputs) call.in.push_back(value(name));
    const Outputs made = found->second(call);
    for (size_t out = 0; out < node.outputs.size(); ++out) values[node.outputs[out]] = made.at(out);
    for (const std::string& name : node.inputs)
      if (last.at(name) == i) values.erase(name);
  }
  std::map<std::string, Tensor> result;
  for (const std::string& name : graph.outputs) result[name] = value(name);
  return result;
}

namespace {

// Tokens in a grid [rows, longest], and back.
Tensor in_grid(const Tensor& tokens, const data::Batch& batch, int64_t elsewhere) {
  Tensor grid = torch::full({batch.rows() * batch.longest}, elsewhere, torch::kInt64);
  return grid.index_copy_(0, batch.slots, tokens.narrow(0, 0, batch.tokens()))
      .view({batch.rows(), batch.longest});
}
Tensor of_tokens(const Tensor& grid, const data::Batch& batch) {
  return grid.flatten(0, 1).index_select(0, batch.slots);
}

// What a head says, from the outputs that end in `suffix`.
void read_head(const std::map<std::string, Tensor>& said, const std::string& suffix,
               nn::HeadKind kind, const data::Batch& batch, nn::HeadOutputs& out) {
  auto find = [&](const char* name) {
    const auto found = said.find(name + suffix);
    return found == said.end() ? Tensor() : found->second;
  };
  const Tensor start = find("start_logits");
  Tensor logits = start.defined() ? torch::stack({start, find("end_logits")}, 2) : find("logits");
  // A base model whose folder pools says both, of which the model's own is the pooler's.
  out.pooled = find(kind == nn::HeadKind::embedding ? "sentence_embedding" : "pooler_output");
  if (!logits.defined()) return;
  if (!nn::prediction(kind).in_token_logits()) {
    out.logits = logits;
    return;
  }
  if (kind == nn::HeadKind::replaced_token) logits = logits.unsqueeze(2);
  out.token_logits = of_tokens(logits, batch);
  out.token_index = torch::arange(batch.tokens());
  const Tensor& labels = batch.targets.token_labels;
  if (!labels.defined() || kind == nn::HeadKind::span) return;
  out.token_index = labels.ne(-100).nonzero().squeeze(1);
  out.token_logits = out.token_logits.index_select(0, out.token_index);
}

}  // namespace

GraphModel::GraphModel(const nn::ModelConfig& config, const std::filesystem::path& folder)
    : Model(config), graph_(load(folder)) {
  // Tables with row gradients are what nobody packs.
  params_.add("graph", nn::Role::embedding, -1, torch::zeros({1, 1})).row_gradient = true;
}

nn::Outputs GraphModel::forward(const data::Batch& batch, const nn::Capture& capture,
                                const nn::Pass&) {
  std::map<std::string, Tensor> inputs;
  for (const std::string& name : graph_.inputs)
    inputs[name] = name == "input_ids"        ? in_grid(batch.token_ids, batch, 0)
                   : name == "attention_mask" ? in_grid(torch::ones_like(batch.token_ids), batch, 0)
                                              : in_grid(batch.segment_ids, batch, 0);
  const std::map<std::string, Tensor> said = run(graph_, std::move(inputs), rounding_);
  nn::Outputs out;
  read_head(said, "", config_.head, batch, out);
  for (const nn::HeadSpec& head : config_.more_heads)
    if (capture.heads.contains(head.name))
      read_head(said, "_" + head.name, head.kind, batch, out.more[head.name]);
  if (const auto states = said.find("last_hidden_state"); states != said.end())
    out.hidden.push_back(of_tokens(states->second, batch));
  return out;
}

}  // namespace compress::exports::onnx
