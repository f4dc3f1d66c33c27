// Parameter counts of published models, built without memory for their weights.

#include <gtest/gtest.h>

#include "compress/base/strings.h"
#include "compress/nn/architecture.h"

namespace compress::nn {
namespace {

// Names and shapes of a base model's tensors by its architecture. build() holds each against its
// own idea of them.
class Shapes {
 public:
  explicit Shapes(const ModelConfig& config) : c_(config), plan_(architecture(config)) {
    for (const Stack* stack : {&plan_.encoder, &plan_.decoder})
      if (stack->layers > 0) add(*stack);
    if (!plan_.head.pooler.empty()) linear(plan_.head.pooler, c_.hidden_size, c_.hidden_size, true);
  }
  const TensorMap& tensors() const { return tensors_; }

 private:
  void put(const std::string& name, std::vector<int64_t> shape) {
    tensors_[name] = torch::empty(shape, torch::kMeta);
  }
  void linear(const std::string& name, int64_t out, int64_t in, bool bias) {
    put(name + ".weight", {out, in});
    if (bias) put(name + ".bias", {out});
  }
  void norm(const std::string& name, int64_t width) {
    put(name + ".weight", {width});
    if (plan_.norm == NormKind::layer) put(name + ".bias", {width});
  }
  void attention(const std::string& prefix, const AttentionNames& names, const Stack& stack) {
    const int64_t mixed = stack.heads * c_.head_width;
    for (const std::string& name : {names.query, names.key, names.value})
      linear(prefix + name, mixed, c_.hidden_size, plan_.query_bias);
    linear(prefix + names.output, c_.hidden_size, mixed, plan_.output_bias);
    norm(prefix + names.norm, c_.hidden_size);
  }
  void add(const Stack& stack) {
    const int64_t width = c_.embedding_size, hidden = c_.hidden_size;
    put(stack.word + ".weight", {c_.vocab_size, width});
    if (!stack.position.empty()) put(stack.position + ".weight", {plan_.position_rows, width});
    if (!stack.segment.empty()) put(stack.segment + ".weight", {c_.type_vocab_size, width});
    if (!stack.embedding_norm.empty()) norm(stack.embedding_norm, width);
    if (!stack.projection.empty()) linear(stack.projection, hidden, width, true);
    if (!stack.relative_bias.empty())
      put(stack.relative_bias + ".weight", {c_.relative_buckets, stack.heads});
    for (int64_t i = 0; i < stack.layers; ++i) {
      const std::string prefix = str(stack.layer_prefix, i, ".");
      attention(prefix, stack.self, stack);
      if (stack.cross) attention(prefix, stack.across, stack);
      linear(prefix + stack.feed_forward.in, stack.intermediate, hidden, plan_.linear_bias);
      linear(prefix + stack.feed_forward.out, hidden, stack.intermediate, plan_.linear_bias);
      norm(prefix + stack.feed_forward.norm, hidden);
    }
    if (!stack.final_norm.empty()) norm(stack.final_norm, hidden);
  }

  const ModelConfig& c_;
  Architecture plan_;
  TensorMap tensors_;
};

std::unique_ptr<Model> build(const char* type, const Json& json) {
  ModelState state;
  state.config = family(type).read_config(json);
  state.tensors = Shapes(state.config).tensors();
  return nn::build(state, 1);
}

int64_t of_layer(const Model& model, int layer) {
  int64_t total = 0;
  for (const Parameter& parameter : model.params().list())
    if (parameter.layer == layer) total += parameter.numel();
  return total;
}

Json base_encoder(int64_t vocabulary, int64_t positions, int64_t segments, int64_t layers = 12) {
  return {{"vocab_size", vocabulary},    {"hidden_size", 768},
          {"num_hidden_layers", layers}, {"num_attention_heads", 12},
          {"intermediate_size", 3072},   {"max_position_embeddings", positions},
          {"type_vocab_size", segments}, {"pad_token_id", 1}};
}

TEST(Sizes, BertBase) {
  auto model = build("bert", base_encoder(30522, 512, 2));
  EXPECT_EQ(model->params().numel(), 109'482'240);
  EXPECT_EQ(of_layer(*model, 0), 7'087'872);
  EXPECT_EQ(of_layer(*model, 11), 7'087'872);
}

TEST(Sizes, DistilBertBase) {
  auto model = build("distilbert", {{"vocab_size", 30522},
                                    {"dim", 768},
                                    {"n_layers", 6},
                                    {"n_heads", 12},
                                    {"hidden_dim", 3072},
                                    {"max_position_embeddings", 512}});
  EXPECT_EQ(model->params().numel(), 66'362'880);
}

TEST(Sizes, RobertaBaseAndHalfOfIt) {
  EXPECT_EQ(build("roberta", base_encoder(50265, 514, 1))->params().numel(), 124'645'632);
  EXPECT_EQ(build("roberta", base_encoder(50265, 514, 1, 6))->params().numel(), 82'118'400);
}

TEST(Sizes, ElectraSmall) {
  Json json = base_encoder(30522, 512, 2);
  json["embedding_size"] = 128;
  json["hidden_size"] = 256;
  json["num_attention_heads"] = 4;
  json["intermediate_size"] = 1024;
  EXPECT_EQ(build("electra", json)->params().numel(), 13'483'008);
}

TEST(Sizes, T5Base) {
  auto model = build("t5", {{"vocab_size", 32128},
                            {"d_model", 768},
                            {"d_kv", 64},
                            {"d_ff", 3072},
                            {"num_layers", 12},
                            {"num_heads", 12}});
  EXPECT_EQ(model->params().numel(), 222'903'552);
}

}  // namespace
}  // namespace compress::nn
