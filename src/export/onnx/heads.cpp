// Heads as operators.

#include <limits>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/sentence.h"
#include "compress/nn/pooling.h"
#include "onnx/lowering.h"

namespace compress::exports::onnx {

using nn::HeadKind;
using nn::HeadPlan;

namespace {

constexpr float smallest_norm = 1e-12F;

class Head {
 public:
  Head(Layers& layers, Graph& graph, const nn::ModelConfig& config, const nn::Architecture& plan,
       const HeadPlan& head, const HeadInput& input, const std::string& suffix)
      : layers_(layers),
        graph_(graph),
        config_(config),
        plan_(plan),
        head_(head),
        input_(input),
        suffix_(suffix) {}

  void build() {
    if (config_.head == HeadKind::none || config_.head == HeadKind::embedding)
      output(input_.states, "last_hidden_state", {"batch", "tokens", config_.hidden_size});
    if (config_.head == HeadKind::embedding || checkpoint::pools_states(config_))
      output(embedding(), "sentence_embedding", {"batch", embedding_width()});
    if (config_.head == HeadKind::embedding) return;
    std::string x = input_.states;
    if (head_.from != HeadPlan::From::tokens) x = first_token();
    const bool pooler = !head_.pooler.empty() && layers_.has(head_.pooler + ".weight");
    if (pooler) x = graph_.op("Tanh", {layers_.linear(x, head_.pooler)});
    if (head_.out.empty()) {
      if (pooler) output(x, "pooler_output", {"batch", config_.hidden_size});
      return;
    }
    say(projected(transformed(x)));
  }

 private:
  void output(const std::string& value, const std::string& name, std::vector<Size> shape) {
    graph_.output(value, name + suffix_, std::move(shape));
  }

  std::string first_token() {
    return graph_.op("Gather", {input_.states, graph_.index(0)}, {{"axis", int64_t{1}}});
  }

  std::string transformed(std::string x) {
    if (!head_.dense.empty()) {
      x = layers_.linear(x, head_.dense);
      if (!head_.dense_activation.empty()) x = layers_.activation(x, head_.dense_activation);
    }
    if (!head_.dense_norm.empty()) x = layers_.norm(x, head_.dense_norm, config_.norm_eps);
    return head_.scale == 1 ? x : graph_.op("Mul", {x, graph_.real(head_.scale)});
  }

  std::string projected(const std::string& x) {
    std::string bias = head_.out_bias_name;
    std::string y;
    if (head_.out_tied) {
      y = layers_.tied(x, plan_.encoder.word + ".weight");
      if (bias.empty() && head_.out_bias) bias = head_.out + ".bias";
    } else {
      y = layers_.linear(x, head_.out);
    }
    return bias.empty() ? y : graph_.op("Add", {y, layers_.plain(bias)});
  }

  // The head's answer under the names that readers expect.
  void say(const std::string& y) {
    auto flat = [&](const std::string& x) { return graph_.op("Squeeze", {x, graph_.whole({-1})}); };
    if (config_.head == HeadKind::span) {
      const auto ends = graph_.several("Split", {y}, 2, {{"axis", int64_t{-1}}});
      output(flat(ends[0]), "start_logits", {"batch", "tokens"});
      output(flat(ends[1]), "end_logits", {"batch", "tokens"});
    } else if (config_.head == HeadKind::replaced_token) {
      output(flat(y), "logits", {"batch", "tokens"});
    } else if (head_.from == HeadPlan::From::tokens) {
      output(y, "logits", {"batch", "tokens", head_.outputs});
    } else {
      output(y, "logits", {"batch", head_.outputs});
    }
  }

  int64_t embedding_width() const {
    const auto modes = static_cast<int64_t>(nn::pooling_list(config_.pooling).size());
    return config_.projection > 0 ? config_.projection : modes * config_.hidden_size;
  }

  std::string embedding() {
    std::vector<std::string> parts;
    for (const std::string& mode : nn::pooling_list(config_.pooling)) parts.push_back(pooled(mode));
    std::string x =
        parts.size() == 1 ? parts.front() : graph_.op("Concat", parts, {{"axis", int64_t{1}}});
    if (config_.projection > 0) x = layers_.linear(x, "projection");
    if (!config_.normalize) return x;
    const std::string norm =
        graph_.op("ReduceL2", {x}, {{"axes", std::vector<int64_t>{1}}, {"keepdims", int64_t{1}}});
    return graph_.op("Div", {x, graph_.op("Clip", {norm, graph_.real(smallest_norm)})});
  }

  // The sum over the tokens of x [batch, tokens, n].
  std::string summed(const std::string& x) {
    return graph_.op("ReduceSum", {x, graph_.whole({1})}, {{"keepdims", int64_t{0}}});
  }

  // [batch, hidden] by one of the modes of nn/pooling.h.
  std::string pooled(const std::string& mode) {
    if (mode == "cls") return first_token();
    const std::string mask = graph_.op("Unsqueeze", {input_.mask, graph_.whole({2})});
    const std::string number = graph_.op("Clip", {summed(mask), graph_.real(1)});
    if (mode == "lasttoken") {  // picked by a product, as a mask has one 1 less behind each token
      const std::string place = graph_.op("CumSum", {mask, graph_.index(1)});
      const std::string is_last =
          graph_.op("Equal", {place, graph_.op("Unsqueeze", {number, graph_.whole({1})})});
      const std::string one = graph_.op(
          "Mul", {graph_.op("Cast", {is_last}, {{"to", type_number(torch::kFloat32)}}), mask});
      return summed(graph_.op("Mul", {input_.states, one}));
    }
    if (mode == "max") {
      const std::string seen = graph_.op("Cast", {mask}, {{"to", type_number(torch::kBool)}});
      const std::string kept = graph_.op(
          "Where", {seen, input_.states, graph_.real(std::numeric_limits<float>::lowest())});
      return graph_.op("ReduceMax", {kept},
                       {{"axes", std::vector<int64_t>{1}}, {"keepdims", int64_t{0}}});
    }
    std::string weights = mask;  // weightedmean: 1, 2, ..., n
    if (mode == "weightedmean")
      weights = graph_.op("Mul", {graph_.op("CumSum", {mask, graph_.index(1)}), mask});
    const std::string sum = summed(graph_.op("Mul", {input_.states, weights}));
    if (mode == "mean") return graph_.op("Div", {sum, number});
    if (mode == "mean_sqrt_len_tokens") return graph_.op("Div", {sum, graph_.op("Sqrt", {number})});
    if (mode != "weightedmean")
      throw Error(ErrorKind::internal, "the graph has no pooling '" + mode + "'");
    return graph_.op("Div", {sum, graph_.op("Clip", {summed(weights), graph_.real(1)})});
  }

  Layers& layers_;
  Graph& graph_;
  const nn::ModelConfig& config_;
  const nn::Architecture& plan_;
  const HeadPlan& head_;
  const HeadInput& input_;
  const std::string& suffix_;
};

}  // namespace

void add_head(Layers& layers, Graph& graph, const nn::ModelConfig& config,
              const nn::Architecture& plan, const HeadPlan& head, const HeadInput& input,
              const std::string& suffix) {
  Head(layers, graph, config, plan, head, input, suffix).build();
}

}  // namespace compress::exports::onnx
