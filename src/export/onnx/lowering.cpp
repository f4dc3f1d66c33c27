// Embeddings and layers as operators, and which models graphs are made of.

#include "onnx/lowering.h"

#include <cmath>
#include <limits>

#include "compress/base/error.h"
#include "compress/base/strings.h"

namespace compress::exports::onnx {

using nn::Architecture;
using nn::HeadKind;
using nn::HeadPlan;
using nn::Stack;

namespace {

[[noreturn]] void refuse(const std::string& what, const std::string& hint) {
  throw Error(ErrorKind::recipe, "the format onnx has no graph for " + what, {}, hint);
}

bool known_head(HeadKind head) {
  switch (head) {
    case HeadKind::none:
    case HeadKind::classification:
    case HeadKind::regression:
    case HeadKind::multi_label:
    case HeadKind::token_classification:
    case HeadKind::span:
    case HeadKind::masked_lm:
    case HeadKind::replaced_token:
    case HeadKind::embedding:
      return true;
    default:
      return false;
  }
}

class Encoder {
 public:
  Encoder(const LoadedModel& source, Graph& graph, torch::ScalarType rest)
      : config_(source.model->config()),
        plan_(nn::architecture(config_)),
        graph_(graph),
        layers_(source, graph, rest) {}

  void build() {
    const std::vector<Size> shape = {"batch", "tokens"};
    const std::string ids = graph_.input("input_ids", torch::kInt64, shape);
    const std::string attended = graph_.input("attention_mask", torch::kInt64, shape);
    const bool segments = !plan_.encoder.segment.empty() && config_.type_vocab_size > 1;
    const std::string types =
        segments ? graph_.input("token_type_ids", torch::kInt64, shape) : std::string();
    mask_ = graph_.op("Cast", {attended}, {{"to", type_number(torch::kFloat32)}});
    // 0 where a key may be seen, else a number below all scores whose exponential is 0.
    hidden_keys_ = graph_.op(
        "Mul",
        {graph_.op("Sub", {graph_.real(1), graph_.op("Unsqueeze", {mask_, graph_.whole({1, 2})})}),
         graph_.real(std::numeric_limits<float>::lowest())});
    states_.push_back(embed(ids, types));
    run(plan_.encoder, states_.back(), states_);
    heads();
  }

 private:
  // Sum of the tables' rows, [batch, tokens, width], and what follows up to the first layer.
  std::string embed(const std::string& ids, const std::string& types) {
    const Stack& stack = plan_.encoder;
    std::string x = layers_.rows(stack.word + ".weight", ids);
    if (plan_.embedding_scale != 1) x = graph_.op("Mul", {x, graph_.real(plan_.embedding_scale)});
    if (!stack.position.empty()) {
      const std::string count =
          graph_.op("Shape", {ids}, {{"start", int64_t{1}}, {"end", int64_t{2}}});
      x = graph_.op(
          "Add", {x, layers_.first_rows(stack.position + ".weight", plan_.position_offset, count)});
    }
    if (!stack.segment.empty()) {
      const std::string table = stack.segment + ".weight";
      x = graph_.op("Add", {x, types.empty() ? layers_.first_rows(table, 0, graph_.whole({1}))
                                             : layers_.rows(table, types)});
    }
    if (!stack.embedding_norm.empty()) x = layers_.norm(x, stack.embedding_norm, config_.norm_eps);
    if (!stack.projection.empty()) x = layers_.linear(x, stack.projection);
    return x;
  }

  // All layers of `stack` on x; the states behind each go to `states`.
  std::string run(const Stack& stack, std::string x, std::vector<std::string>& states) {
    for (int64_t i = 0; i < stack.layers; ++i) {
      const std::string prefix = str(stack.layer_prefix, i, ".");
      x = layers_.norm(graph_.op("Add", {attention(stack, prefix, x), x}), prefix + stack.self.norm,
                       config_.norm_eps);
      const std::string inner =
          layers_.activation(layers_.linear(x, prefix + stack.feed_forward.in), config_.activation);
      const std::string out = layers_.linear(inner, prefix + stack.feed_forward.out);
      x = layers_.norm(graph_.op("Add", {out, x}), prefix + stack.feed_forward.norm,
                       config_.norm_eps);
      states.push_back(x);
    }
    return x;
  }

  std::string attention(const Stack& stack, const std::string& prefix, const std::string& x) {
    const int64_t width = stack.head_width > 0 ? stack.head_width : config_.head_width;
    const std::string apart = graph_.whole({0, 0, stack.heads, width});
    auto heads = [&](const std::string& module, std::vector<int64_t> order) {
      return graph_.op("Transpose",
                       {graph_.op("Reshape", {layers_.linear(x, prefix + module), apart})},
                       {{"perm", std::move(order)}});
    };
    const std::string query = heads(stack.self.query, {0, 2, 1, 3});
    const std::string key = heads(stack.self.key, {0, 2, 3, 1});
    const std::string value = heads(stack.self.value, {0, 2, 1, 3});
    const double divisor = plan_.attention_scale != 0 ? 1 / plan_.attention_scale
                                                      : std::sqrt(static_cast<double>(width));
    std::string scores = graph_.op("MatMul", {query, key});
    scores = graph_.op("Add", {graph_.op("Div", {scores, graph_.real(divisor)}), hidden_keys_});
    const std::string weights = graph_.op("Softmax", {scores}, {{"axis", int64_t{-1}}});
    const std::string mixed = graph_.op("Transpose", {graph_.op("MatMul", {weights, value})},
                                        {{"perm", std::vector<int64_t>{0, 2, 1, 3}}});
    return layers_.linear(graph_.op("Reshape", {mixed, graph_.whole({0, 0, stack.heads * width})}),
                          prefix + stack.self.output);
  }

  void heads() {
    add_head(layers_, graph_, config_, plan_, plan_.head, {states_.back(), mask_}, "");
    for (const nn::HeadSpec& spec : config_.more_heads) {
      std::string own = states_.back();
      if (spec.layers > 0) {
        std::vector<std::string> ignored;
        own = run(nn::head_stack(plan_, spec),
                  states_[states_.size() - 1 - static_cast<size_t>(spec.layers)], ignored);
      }
      nn::ModelConfig config = nn::with_head(config_, spec.name);
      add_head(layers_, graph_, config, plan_, nn::head_plan(config_, spec), {own, mask_},
               "_" + spec.name);
    }
  }

  const nn::ModelConfig& config_;
  Architecture plan_;
  Graph& graph_;
  Layers layers_;
  std::string mask_, hidden_keys_;
  std::vector<std::string> states_;  // layers + 1
};

}  // namespace

void check(const nn::ModelConfig& config) {
  const nn::Family& family = nn::family(config.family);
  const std::string encoders = "graphs are made of encoders: export the format huggingface";
  if (!family.has_layers()) refuse(family.model_type + ", which is no stack of layers", encoders);
  const Architecture plan = nn::architecture(config);
  if (plan.decoder.layers > 0) refuse("the decoder of " + family.model_type, encoders);
  if (!config.attachments.empty())
    refuse("what is attached to the model (" + config.attachments.front().name + ")",
           "merge it before the export");
  std::vector<HeadKind> heads = {config.head};
  for (const nn::HeadSpec& spec : config.more_heads) heads.push_back(spec.kind);
  for (const HeadKind head : heads)
    if (!known_head(head))
      refuse(str("the head ", nn::head_name(head)), "export the format huggingface");
  // No encoder has these; a new family would.
  const Stack& stack = plan.encoder;
  const bool other =
      plan.pre_norm || plan.norm != nn::NormKind::layer ||
      plan.positions == nn::Positions::rotary || plan.positions == nn::Positions::relative ||
      stack.causal || !stack.self.joined.empty() || !stack.feed_forward.gate.empty() ||
      stack.kv_heads != stack.heads || !stack.final_norm.empty() || config.window > 0;
  if (other) refuse("the layers of " + family.model_type, "export the format huggingface");
}

Graph lower(const LoadedModel& source, torch::ScalarType rest) {
  check(source.model->config());
  Graph graph;
  Encoder(source, graph, rest).build();
  return graph;
}

}  // namespace compress::exports::onnx
