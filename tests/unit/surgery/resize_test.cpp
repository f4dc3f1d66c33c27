#include <gmock/gmock.h>

#include "compress/base/error.h"
#include "states.h"

namespace compress::surgery {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Places = std::vector<int64_t>;

const torch::Tensor& tensor(const nn::ModelState& state, const std::string& name) {
  return state.tensors.at(name);
}
Places listed(const torch::Tensor& values) {
  torch::Tensor whole = values.to(torch::kInt64).contiguous();
  return {whole.const_data_ptr<int64_t>(), whole.const_data_ptr<int64_t>() + whole.numel()};
}
// Which rows and columns of the larger model a matrix has.
Places rows(const nn::ModelState& state, const std::string& name) {
  const torch::Tensor& t = tensor(state, name);
  return listed(t.dim() == 1 ? t : (t.select(1, 0) / 1000).floor());
}
Places columns(const nn::ModelState& state, const std::string& name) {
  return listed(tensor(state, name).select(0, 0).remainder(1000));
}
Places first(int64_t count) {
  Places all;
  for (int64_t i = 0; i < count; ++i) all.push_back(i);
  return all;
}
Error failure(const std::string& text, nn::ModelState state) {
  try {
    edit(text, state);
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << text << " threw no error";
  return Error(ErrorKind::internal, "none");
}

TEST(Resize, CutsEveryHeadOfBert) {
  nn::ModelState state = bert_state();
  edit("resize: {hidden_size: 4, intermediate_size: 6, layers: 2}", state);
  EXPECT_EQ(state.config.hidden_size, 4);
  EXPECT_EQ(state.config.embedding_size, 4);
  EXPECT_EQ(state.config.head_width, 2);
  EXPECT_EQ(state.config.layers, 2);
  const std::string self = "encoder.layer.1.attention.self.query.";
  EXPECT_THAT(rows(state, self + "weight"), ElementsAre(0, 1, 4, 5));  // two of each head's four
  EXPECT_THAT(rows(state, self + "bias"), ElementsAre(0, 1, 4, 5));
  EXPECT_THAT(columns(state, self + "weight"), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(columns(state, "encoder.layer.0.attention.output.dense.weight"),
              ElementsAre(0, 1, 4, 5));
  EXPECT_EQ(rows(state, "encoder.layer.0.intermediate.dense.weight"), first(6));
  EXPECT_EQ(columns(state, "encoder.layer.0.output.dense.weight"), first(6));
  EXPECT_EQ(rows(state, "embeddings.word_embeddings.weight"), first(60));
  EXPECT_EQ(columns(state, "embeddings.word_embeddings.weight"), first(4));
  EXPECT_EQ(rows(state, "encoder.layer.0.output.LayerNorm.bias"), first(4));
  EXPECT_FALSE(state.tensors.contains("encoder.layer.2.output.dense.bias"));
  EXPECT_THAT(state.history.back(), HasSubstr("4 layers, 8 wide, 2 heads of 4, feed-forward 12 to "
                                              "2 layers, 4 wide, 2 heads of 2, feed-forward 6"));
  EXPECT_TRUE(runs(state));
}

TEST(Resize, SpreadsLayersEvenly) {
  nn::ModelState state = llama_state();
  for (int64_t i = 0; i < 4; ++i)
    state.tensors[str("layers.", i, ".input_layernorm.weight")] = torch::full({8}, i);
  edit("resize: {layers: 2}", state);
  EXPECT_EQ(tensor(state, "layers.0.input_layernorm.weight")[0].item<int64_t>(), 0);
  EXPECT_EQ(tensor(state, "layers.1.input_layernorm.weight")[0].item<int64_t>(), 2);
  EXPECT_EQ(state.config.raw["layer_types"], nn::Json({"a", "c"}));
}

TEST(Resize, KeepsGroupsAndPairsOfLlama) {
  nn::ModelState state = llama_state(false);
  edit("resize: {heads: 2, kv_heads: 2, head_size: 2, hidden_size: 6}", state);
  // One query of each group of two: heads 0 and 2; of a head's halves (0, 1), (2, 3) the first.
  EXPECT_THAT(rows(state, "layers.0.self_attn.q_proj.weight"), ElementsAre(0, 2, 8, 10));
  EXPECT_THAT(rows(state, "layers.0.self_attn.k_proj.weight"), ElementsAre(0, 2, 4, 6));
  EXPECT_THAT(columns(state, "layers.0.self_attn.o_proj.weight"), ElementsAre(0, 2, 8, 10));
  EXPECT_EQ(rows(state, "layers.0.self_attn.o_proj.weight"), first(6));
  EXPECT_EQ(columns(state, "lm_head.weight"), first(6));
  EXPECT_EQ(columns(state, "layers.0.mlp.gate_proj.weight"), first(6));
  EXPECT_TRUE(runs(state));
  state = llama_state();
  edit("resize: {heads: 2}", state);  // as many queries share a key as before: one group is left
  EXPECT_EQ(state.config.kv_heads, 1);
  EXPECT_EQ(state.config.head_width, 4);
  EXPECT_EQ(rows(state, "layers.0.self_attn.q_proj.weight"), first(8));
  EXPECT_EQ(rows(state, "layers.0.self_attn.v_proj.weight"), first(4));
  EXPECT_FALSE(state.tensors.contains("lm_head.weight"));
  EXPECT_TRUE(runs(state));
}

TEST(Resize, CutsJoinedMatricesInThree) {
  nn::ModelState state = gpt2_state();
  edit("resize: {hidden_size: 4, heads: 1}", state);
  EXPECT_THAT(rows(state, "h.0.attn.c_attn.weight"),
              ElementsAre(0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19));
  EXPECT_THAT(rows(state, "h.0.attn.c_attn.bias"),
              ElementsAre(0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19));
  EXPECT_EQ(columns(state, "h.0.attn.c_attn.weight"), first(4));
  EXPECT_EQ(state.config.intermediate_size, 32);
  EXPECT_TRUE(runs(state));
}

TEST(Resize, CutsBothStacks) {
  nn::ModelState state = t5_state();
  edit("resize: {layers: 2, decoder_layers: 1, heads: 1, hidden_size: 6}", state);
  EXPECT_EQ(state.config.decoder_heads, 1);
  const std::string bias = "block.0.layer.0.SelfAttention.relative_attention_bias.weight";
  EXPECT_THAT(tensor(state, "encoder." + bias).sizes(), ElementsAre(32, 1));
  EXPECT_THAT(tensor(state, "decoder." + bias).sizes(), ElementsAre(32, 1));
  EXPECT_EQ(rows(state, "decoder.block.0.layer.1.EncDecAttention.k.weight"), first(4));
  EXPECT_EQ(columns(state, "shared.weight"), first(6));
  EXPECT_TRUE(runs(state));
  state = bart_state();
  edit("resize: {hidden_size: 4, intermediate_size: 6, decoder_layers: 1}", state);
  EXPECT_THAT(rows(state, "decoder.layers.0.encoder_attn.q_proj.weight"), ElementsAre(0, 1, 4, 5));
  EXPECT_EQ(rows(state, "decoder.layers.0.fc1.weight"), first(6));
  EXPECT_TRUE(runs(state));
}

TEST(Resize, LeavesNarrowEmbeddings) {
  nn::ModelState state = electra_state();
  edit("resize: {hidden_size: 4}", state);
  EXPECT_EQ(state.config.embedding_size, 6);
  EXPECT_EQ(columns(state, "embeddings_project.weight"), first(6));
  EXPECT_EQ(rows(state, "embeddings_project.weight"), first(4));
  EXPECT_TRUE(runs(state));
}

TEST(Resize, WrongRequests) {
  const char* cases[][2] = {{"resize: {}", "does not say what"},
                            {"resize: {hidden_size: 16}", "is more than the model's 8"},
                            {"resize: {decoder_layers: 1}", "needs an encoder-decoder"},
                            {"resize: {hidden_size: 7}", "does not divide by 2 heads"},
                            {"resize: {heads: 1}", "are 8 wide, and the model's are 4"},
                            {"resize: {head_size: 2}", "cannot be chosen for bert"}};
  for (const auto& [text, message] : cases) {
    Error error = failure(text, bert_state());
    EXPECT_EQ(error.kind(), ErrorKind::recipe) << text;
    EXPECT_THAT(error.message(), HasSubstr(message)) << text;
    EXPECT_THAT(error.where(), HasSubstr("recipe.yaml:1")) << text;
  }
  EXPECT_THAT(failure("resize: {heads: 3}", llama_state()).message(), HasSubstr("cannot share"));
  EXPECT_THAT(failure("resize: {head_size: 3}", llama_state()).message(), HasSubstr("rotated"));
}

TEST(DropLayers, OfEveryFamily) {
  for (auto make : {bert_state, gpt2_state, bart_state, t5_state}) {
    nn::ModelState state = make();
    edit("drop_layers: {layers: [1]}", state);
    EXPECT_EQ(state.config.layers, 1);
    EXPECT_TRUE(runs(state)) << state.config.family;
  }
  nn::ModelState llama = llama_state();
  edit("drop_layers: {layers: [1, 3]}", llama);
  EXPECT_EQ(llama.config.raw["layer_types"], nn::Json({"b", "d"}));
  EXPECT_TRUE(runs(llama));
}

TEST(DropLayers, OfOneStack) {
  nn::ModelState state = t5_state();
  const std::string bias = ".block.0.layer.0.SelfAttention.relative_attention_bias.weight";
  const torch::Tensor kept = state.tensors.at("decoder" + bias);
  state.tensors["decoder.block.2.layer.2.layer_norm.weight"] = torch::full({8}, 7);
  edit("drop_layers: {layers: [2], stack: decoder}", state);
  EXPECT_EQ(state.config.layers, 4);
  EXPECT_EQ(state.config.decoder_layers, 1);
  EXPECT_TRUE(state.tensors.at("decoder" + bias).is_same(kept));
  EXPECT_EQ(tensor(state, "decoder.block.0.layer.2.layer_norm.weight")[0].item<int64_t>(), 7);
  EXPECT_EQ(state.history.back(), "drop_layers: decoder kept 2 of 3 (the first is 0)");
  EXPECT_TRUE(runs(state));
  edit("drop_layers: {drop: 2, stack: encoder}", state);
  EXPECT_EQ(state.config.layers, 2);
  EXPECT_EQ(state.config.decoder_layers, 1);
  EXPECT_TRUE(runs(state));
  EXPECT_THAT(failure("drop_layers: {keep: 1, stack: decoder}", bert_state()).message(),
              HasSubstr("needs an encoder-decoder"));
}

TEST(ResizeVocabulary, KeepsIdsAndDrawsNewRows) {
  nn::ModelState state = llama_state(false);
  const torch::Tensor before = state.tensors.at("embed_tokens.weight");
  edit("resize_vocabulary: {size: 64}", state);
  EXPECT_EQ(state.config.vocab_size, 64);
  const torch::Tensor& after = state.tensors.at("embed_tokens.weight");
  EXPECT_TRUE(torch::equal(after.narrow(0, 0, 60), before));
  const torch::Tensor fresh = after.narrow(0, 60, 4);
  EXPECT_GT(fresh.abs().max().item<double>(), 0);
  EXPECT_LT(fresh.abs().max().item<double>(), 6 * 0.02);
  EXPECT_THAT(tensor(state, "lm_head.weight").sizes(), ElementsAre(64, 8));
  EXPECT_TRUE(runs(state));
  nn::ModelState again = llama_state(false);
  edit("resize_vocabulary: {size: 64}", again);
  EXPECT_TRUE(torch::equal(after, again.tensors.at("embed_tokens.weight")));
}

TEST(ResizeVocabulary, CanTakeTheMean) {
  nn::ModelState state = bart_state();
  edit("resize_vocabulary: {size: 61, rows: mean}", state);
  EXPECT_EQ(tensor(state, "shared.weight")[60][3].item<double>(), 29503);
  EXPECT_EQ(tensor(state, "final_logits_bias")[0][60].item<double>(), 29.5);
  EXPECT_TRUE(runs(state));
  state = bart_state();
  edit("resize_vocabulary: {size: 62}", state);
  EXPECT_THAT(tensor(state, "final_logits_bias").sizes(), ElementsAre(1, 62));
  EXPECT_EQ(tensor(state, "final_logits_bias")[0][61].item<double>(), 0);
}

TEST(ResizeVocabulary, CutsTheLastOnes) {
  nn::ModelState state = gpt2_state();
  edit("resize_vocabulary: {size: 55}", state);
  EXPECT_EQ(rows(state, "wte.weight"), first(55));
  EXPECT_TRUE(runs(state));
  EXPECT_THAT(failure("resize_vocabulary: {size: 2}", llama_state()).message(),
              HasSubstr("has no token 2"));
  EXPECT_THAT(failure("resize_vocabulary: {size: 60}", llama_state()).message(),
              HasSubstr("has 60 tokens already"));
}

TEST(Projection, IsAddedAndTakenAway) {
  nn::ModelState state = bert_state();
  edit("projection: {size: 3}", state);
  nn::set_head(state, nn::HeadKind::embedding, {});
  std::unique_ptr<nn::Model> model = nn::build(state, 1);
  EXPECT_THAT(model->params().find("projection.weight")->latent.sizes(), ElementsAre(3, 8));
  state = model->state();
  EXPECT_THAT(failure("projection: {size: 3}", state).message(), HasSubstr("3 wide already"));
  edit("projection: {size: 0}", state);
  EXPECT_FALSE(state.tensors.contains("projection.weight"));
  EXPECT_TRUE(runs(state));
}

}  // namespace
}  // namespace compress::surgery
