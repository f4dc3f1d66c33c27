#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "unit/surgery/workshop.h"

namespace compress::surgery {
namespace {

using testing::HasSubstr;

nn::ModelState drawn(const std::string& text, nn::ModelState state, uint64_t seed = 7) {
  Answers workshop(seed);
  edit(text, state, workshop);
  return state;
}

double deviation(const torch::Tensor& values) {
  return values.to(torch::kFloat64).pow(2).mean().sqrt().item<double>();
}

nn::ModelState wide_bert() {
  nn::ModelState state = bert_state();
  state.config.raw["pad_token_id"] = 3;
  state.config.pad_token_id = 3;
  return state;
}

TEST(Initialise, SizesAndWeights) {
  const nn::ModelState state = drawn(
      "initialise: {layers: 2, hidden_size: 96, heads: 4, intermediate_size: 200}", wide_bert());
  EXPECT_EQ(state.config.layers, 2);
  EXPECT_EQ(state.config.hidden_size, 96);
  EXPECT_EQ(state.config.embedding_size, 96);
  EXPECT_EQ(state.config.attention_heads, 4);
  EXPECT_EQ(state.config.kv_heads, 4);
  EXPECT_EQ(state.config.head_width, 24);
  const nn::TensorMap& t = state.tensors;
  EXPECT_EQ(t.at("embeddings.word_embeddings.weight").sizes(), torch::IntArrayRef({60, 96}));
  EXPECT_EQ(t.at("embeddings.token_type_embeddings.weight").sizes(), torch::IntArrayRef({2, 96}));
  EXPECT_EQ(t.at("encoder.layer.1.intermediate.dense.weight").sizes(),
            torch::IntArrayRef({200, 96}));
  EXPECT_FALSE(t.contains("encoder.layer.2.intermediate.dense.weight"));
  EXPECT_TRUE(t.at("embeddings.LayerNorm.weight").equal(torch::ones({96})));
  EXPECT_TRUE(t.at("encoder.layer.0.output.LayerNorm.bias").equal(torch::zeros({96})));
  EXPECT_TRUE(t.at("encoder.layer.0.output.dense.bias").equal(torch::zeros({96})));
  const torch::Tensor& matrix = t.at("encoder.layer.1.intermediate.dense.weight");
  EXPECT_NEAR(deviation(matrix), 0.02, 0.0005);
  EXPECT_NEAR(matrix.mean().item<double>(), 0, 0.0005);
  EXPECT_EQ(deviation(t.at("embeddings.word_embeddings.weight")[3]), 0) << "the padding token";
  EXPECT_GT(deviation(t.at("embeddings.word_embeddings.weight")[4]), 0);
  EXPECT_EQ(state.history.back(),
            "initialise: 2 layers, 96 wide, 4 heads of 24, feed-forward 200, drawn");
  EXPECT_TRUE(runs(state));
}

// A model without layers begins without weights: the table, the dense layer, no head.
TEST(Initialise, AModelWithoutLayers) {
  nn::ModelState empty;
  empty.config = nn::family("dan").read_config(
      nn::Json{{"vocab_size", 500}, {"embedding_size", 64}, {"hidden_size", 16}});
  const nn::ModelState state = drawn("initialise: {hidden_size: 32}", empty);
  EXPECT_EQ(state.config.hidden_size, 32);
  ASSERT_EQ(state.tensors.size(), 3u);
  const torch::Tensor& table = state.tensors.at("embeddings.weight");
  EXPECT_EQ(table.sizes(), torch::IntArrayRef({500, 64}));
  EXPECT_NEAR(deviation(table), 0.1, 0.003);
  EXPECT_EQ(deviation(table[0]), 0) << "the padding token";
  EXPECT_NEAR(deviation(state.tensors.at("dense.0.weight")), 1. / 8, 0.01);
  EXPECT_EQ(deviation(state.tensors.at("dense.0.bias")), 0);
  EXPECT_EQ(state.history.back(), "initialise: 500 tokens, embeddings 64, 32 wide, drawn");
  EXPECT_EQ(drawn("resize_vocabulary: {size: 510}", state).config.vocab_size, 510);
  EXPECT_THAT(failure([&] { drawn("initialise: {layers: 2}", empty); }).message(),
              HasSubstr("widths alone"));
  EXPECT_THAT(failure([&] { drawn("resize: {hidden_size: 8}", state); }).message(),
              HasSubstr("resize edits layers"));
}

// The paper's table says 14.5M parameters; written out, embeddings, encoder and pooler have so
// many.
TEST(Initialise, TinyBertsStudent) {
  nn::ModelState bert = StateMaker({{"model_type", "bert"},
                                    {"architectures", {"BertModel"}},
                                    {"vocab_size", 30522},
                                    {"hidden_size", 24},
                                    {"num_hidden_layers", 12},
                                    {"num_attention_heads", 12},
                                    {"intermediate_size", 48},
                                    {"max_position_embeddings", 512}})
                            .make();
  bert.tensors["pooler.dense.weight"] = places({24, 24});
  bert.tensors["pooler.dense.bias"] = places({24});
  const nn::ModelState student =
      drawn("initialise: {layers: 4, hidden_size: 312, heads: 12, intermediate_size: 1200}", bert);
  int64_t parameters = 0;
  for (const auto& [name, tensor] : student.tensors) parameters += tensor.numel();
  EXPECT_EQ(parameters, 14'350'248);
}

TEST(Initialise, ConfigSaysTheSizes) {
  const nn::ModelState state = drawn(
      "initialise: {layers: 2, hidden_size: 24, heads: 3, intermediate_size: 20}", bert_state());
  const nn::Json json = nn::family("bert").write_config(state.config);
  EXPECT_EQ(json["num_hidden_layers"], 2);
  EXPECT_EQ(json["hidden_size"], 24);
  EXPECT_EQ(json["num_attention_heads"], 3);
  EXPECT_EQ(json["intermediate_size"], 20);
}

TEST(Initialise, TheSeedDecides) {
  const std::string text = "initialise: {layers: 2}";
  const char* name = "encoder.layer.1.output.dense.weight";
  const torch::Tensor first = drawn(text, bert_state()).tensors.at(name);
  EXPECT_TRUE(first.equal(drawn(text, bert_state()).tensors.at(name)));
  EXPECT_FALSE(first.equal(drawn(text, bert_state(), 8).tensors.at(name)));
  EXPECT_TRUE(first.equal(drawn("initialise: {layers: 3}", bert_state()).tensors.at(name)))
      << "a tensor's draw depends on no other";
}

TEST(Initialise, SizesThatAreNotNamedStay) {
  const nn::ModelState state = drawn("initialise: {}", bert_state());
  EXPECT_EQ(state.tensors.size(), bert_state().tensors.size());
  EXPECT_EQ(state.config.hidden_size, 8);
  EXPECT_LT(state.tensors.at("embeddings.word_embeddings.weight").abs().max().item<double>(), 0.2);
}

TEST(Initialise, EveryFamilyRuns) {
  EXPECT_TRUE(runs(drawn("initialise: {layers: 3, hidden_size: 12, heads: 3}", gpt2_state())));
  EXPECT_TRUE(runs(drawn("initialise: {layers: 6, heads: 8}", llama_state())));
  EXPECT_TRUE(
      runs(drawn("initialise: {layers: 2, hidden_size: 16, heads: 4}", llama_state(false))));
  EXPECT_TRUE(
      runs(drawn("initialise: {layers: 2, decoder_layers: 1, hidden_size: 16}", t5_state())));
  EXPECT_TRUE(
      runs(drawn("initialise: {layers: 1, decoder_layers: 3, hidden_size: 12, heads: 4, "
                 "intermediate_size: 20}",
                 bart_state())));
  EXPECT_TRUE(runs(drawn("initialise: {hidden_size: 16, embedding_size: 4}", electra_state())));
  EXPECT_TRUE(
      runs(drawn("initialise: {hidden_size: 6, heads: 2, embedding_size: 6}", electra_state())));
}

TEST(Initialise, ListsWithAnEntryALayerFollow) {
  const nn::ModelState state = drawn("initialise: {layers: 6}", llama_state());
  EXPECT_EQ(state.config.raw["layer_types"], nn::Json({"a", "a", "b", "c", "c", "d"}));
}

TEST(Initialise, RulesOfFamilies) {
  const nn::ModelState gpt = drawn("initialise: {layers: 8, hidden_size: 64}", gpt2_state());
  EXPECT_NEAR(deviation(gpt.tensors.at("h.0.mlp.c_proj.weight")), 0.02 / 4, 0.0005);
  EXPECT_NEAR(deviation(gpt.tensors.at("h.0.mlp.c_fc.weight")), 0.02, 0.001);
  const nn::ModelState t5 = drawn(
      "initialise: {hidden_size: 64, heads: 4, head_size: 16, intermediate_size: 100}", t5_state());
  auto of = [&](const char* name) { return deviation(t5.tensors.at(name)); };
  const std::string layer = "encoder.block.0.layer.";
  EXPECT_NEAR(of("shared.weight"), 1, 0.05);
  EXPECT_NEAR(of((layer + "0.SelfAttention.q.weight").c_str()), 1 / std::sqrt(64.0 * 16), 0.002);
  EXPECT_NEAR(of((layer + "0.SelfAttention.k.weight").c_str()), 1 / 8.0, 0.007);
  EXPECT_NEAR(of((layer + "0.SelfAttention.o.weight").c_str()), 1 / 8.0, 0.007);
  EXPECT_NEAR(of((layer + "1.DenseReluDense.wo.weight").c_str()), 1 / 10.0, 0.005);
}

TEST(Initialise, LayersOfAModelOfAnotherFamily) {
  nn::ModelState student = StateMaker({{"model_type", "distilbert"},
                                       {"architectures", {"DistilBertModel"}},
                                       {"vocab_size", 60},
                                       {"dim", 8},
                                       {"n_layers", 2},
                                       {"n_heads", 2},
                                       {"hidden_dim", 12},
                                       {"max_position_embeddings", 16}})
                               .make();
  nn::ModelState teacher = bert_state();
  for (int64_t i = 0; i < 4; ++i)
    teacher.tensors[str("encoder.layer.", i, ".attention.self.key.weight")].add_(
        100000 * static_cast<double>(i));
  Answers workshop;
  workshop.models["teacher"] = teacher;
  nn::ModelState state = student;
  edit("initialise: {from: teacher, map: [1, 3]}", state, workshop);
  EXPECT_TRUE(state.tensors.at("transformer.layer.1.attention.k_lin.weight")
                  .equal(teacher.tensors.at("encoder.layer.3.attention.self.key.weight")));
  EXPECT_TRUE(state.tensors.at("transformer.layer.0.ffn.lin2.weight")
                  .equal(teacher.tensors.at("encoder.layer.1.output.dense.weight")));
  EXPECT_TRUE(
      state.tensors.at("embeddings.position_embeddings.weight")
          .equal(teacher.tensors.at("embeddings.position_embeddings.weight").narrow(0, 0, 16)));
  EXPECT_TRUE(state.tensors.at("embeddings.word_embeddings.weight")
                  .equal(teacher.tensors.at("embeddings.word_embeddings.weight")));
  EXPECT_EQ(state.history.back(),
            "initialise: 2 layers, 8 wide, 2 heads of 4, feed-forward 12, from teacher (bert, "
            "layers 1, 3 of 4)");
  EXPECT_EQ(recipe::references_of(component_of("initialise: {from: teacher}")).at(0).to,
            recipe::Refers::model);
  // By default they are spread evenly, and leading dimensions are taken.
  state = student;
  edit("initialise: {from: teacher, hidden_size: 4, intermediate_size: 5}", state, workshop);
  const torch::Tensor key = state.tensors.at("transformer.layer.1.attention.k_lin.weight");
  const torch::Tensor whole = teacher.tensors.at("encoder.layer.2.attention.self.key.weight");
  // Two heads of 2 of the 4 dimensions each: rows 0, 1 and 4, 5.
  EXPECT_TRUE(key.equal(whole.index_select(0, torch::tensor({0, 1, 4, 5})).narrow(1, 0, 4)));
  EXPECT_EQ(state.tensors.at("transformer.layer.0.ffn.lin1.weight").sizes(),
            torch::IntArrayRef({5, 4}));
}

// DistilBERT's student from BERT alone: without token types and pooler, with the masked LM's head.
TEST(Initialise, AnotherFamily) {
  nn::ModelState bert = bert_state();
  bert.config.head = nn::HeadKind::masked_lm;
  bert.tensors["cls.predictions.transform.dense.weight"] = places({8, 8}) + 5;
  bert.tensors["cls.predictions.transform.dense.bias"] = places({8}) + 6;
  bert.tensors["cls.predictions.transform.LayerNorm.weight"] = places({8}) + 7;
  bert.tensors["cls.predictions.transform.LayerNorm.bias"] = places({8}) + 8;
  bert.tensors["cls.predictions.bias"] = places({60}) + 9;
  bert.tensors["pooler.dense.weight"] = places({8, 8});
  Answers workshop;
  workshop.models["bert"] = bert;
  nn::ModelState state = bert;
  edit("initialise: {family: distilbert, layers: 2, frozen_positions: true, from: bert}", state,
       workshop);
  EXPECT_EQ(state.config.family, "distilbert");
  EXPECT_TRUE(state.config.frozen_positions);
  EXPECT_EQ(state.config.layers, 2);
  EXPECT_EQ(state.config.head, nn::HeadKind::masked_lm);
  auto same = [&](const char* ours, const char* theirs) {
    return state.tensors.at(ours).equal(bert.tensors.at(theirs));
  };
  EXPECT_TRUE(same("transformer.layer.1.attention.q_lin.weight",
                   "encoder.layer.2.attention.self.query.weight"));
  EXPECT_TRUE(
      same("embeddings.position_embeddings.weight", "embeddings.position_embeddings.weight"));
  EXPECT_TRUE(same("vocab_transform.weight", "cls.predictions.transform.dense.weight"));
  EXPECT_TRUE(same("vocab_layer_norm.bias", "cls.predictions.transform.LayerNorm.bias"));
  EXPECT_TRUE(same("vocab_projector.bias", "cls.predictions.bias"));
  for (const auto& [name, tensor] : state.tensors) {
    EXPECT_THAT(name, testing::Not(HasSubstr("pooler")));
    EXPECT_THAT(name, testing::Not(HasSubstr("token_type")));
  }
  EXPECT_TRUE(runs(state));
  const nn::Json json = nn::family("distilbert").write_config(state.config);
  EXPECT_EQ(json.at("n_layers"), 2);
  EXPECT_EQ(json.at("dim"), 8);
  EXPECT_EQ(json.at("sinusoidal_pos_embds"), true);
  EXPECT_EQ(json.at("architectures"), nn::Json::array({"DistilBertForMaskedLM"}));
  EXPECT_FALSE(json.contains("hidden_size"));
  // Without a model to begin from, positions are sines and cosines.
  state = bert;
  edit("initialise: {family: distilbert, frozen_positions: true}", state, workshop);
  const torch::Tensor& waves = state.tensors.at("embeddings.position_embeddings.weight");
  EXPECT_NEAR(waves[3][0].item<double>(), std::sin(3.0), 1e-6);
  for (const auto& [text, what] : {std::pair("initialise: {family: gpt2}", "directions"),
                                   {"initialise: {family: dan}", "no family 'dan' with layers"},
                                   {"initialise: {frozen_positions: true}", "no option of bert"}})
    EXPECT_THAT(failure([&, text = text] {
                  nn::ModelState other = bert;
                  edit(text, other, workshop);
                }).message(),
                HasSubstr(what));
}

TEST(Initialise, AnotherTokenizersWordsAreDrawn) {
  Answers workshop;
  workshop.shared_tokenizer = false;
  workshop.models["teacher"] = bert_state();
  nn::ModelState state = bert_state();
  edit("initialise: {from: teacher, layers: 2}", state, workshop);
  EXPECT_LT(state.tensors.at("embeddings.word_embeddings.weight").abs().max().item<double>(), 0.2);
  EXPECT_THAT(state.history.back(), HasSubstr("drawn: embeddings.word_embeddings.weight"));
  EXPECT_TRUE(state.tensors.at("embeddings.position_embeddings.weight")
                  .equal(bert_state().tensors.at("embeddings.position_embeddings.weight")));
}

TEST(Initialise, PositionsBeginWhereTheFamilySays) {
  nn::ModelState student = StateMaker({{"model_type", "roberta"},
                                       {"architectures", {"RobertaModel"}},
                                       {"vocab_size", 60},
                                       {"hidden_size", 8},
                                       {"num_hidden_layers", 2},
                                       {"num_attention_heads", 2},
                                       {"intermediate_size", 12},
                                       {"max_position_embeddings", 12},
                                       {"type_vocab_size", 1}})
                               .make();
  Answers workshop;
  workshop.models["teacher"] = bert_state();
  edit("initialise: {from: teacher}", student, workshop);
  const torch::Tensor& rows = student.tensors.at("embeddings.position_embeddings.weight");
  const torch::Tensor theirs = bert_state().tensors.at("embeddings.position_embeddings.weight");
  EXPECT_TRUE(rows.narrow(0, 2, 10).equal(theirs.narrow(0, 0, 10)));
  EXPECT_LT(rows[1].abs().max().item<double>(), 0.2) << "drawn";
  EXPECT_TRUE(
      student.tensors.at("embeddings.token_type_embeddings.weight")
          .equal(
              bert_state().tensors.at("embeddings.token_type_embeddings.weight").narrow(0, 0, 1)));
}

TEST(Initialise, WrongOptions) {
  Answers workshop;
  workshop.models["bert"] = bert_state();
  workshop.models["gpt2"] = gpt2_state();
  const char* cases[][2] = {
      {"initialise: {layers: 0}", ""},
      {"initialise: {map: [0, 1]}", "needs a model to take them from"},
      {"initialise: {hidden_size: 9}", "hidden_size 9 does not divide by 2 heads"},
      {"initialise: {head_size: 4}", "head_size cannot be chosen for bert"},
      {"initialise: {kv_heads: 1}", "kv_heads cannot be chosen for bert"},
      {"initialise: {embedding_size: 4}", "embeddings of 4 dimensions do not fit states of 8"},
      {"initialise: {decoder_layers: 1}", "no decoder behind an encoder"},
      {"initialise: {from: bert, map: [0]}", "map names 1 layers, and the new model has 4"},
      {"initialise: {from: bert, layers: 1, map: [4]}", "there is no layer 4 to take"},
      {"initialise: {from: bert, hidden_size: 16}", "hidden_size 16 is more than the 8"},
      {"initialise: {from: gpt2}", "layers of gpt2 and bert have other directions of attention"}};
  for (const auto& [text, message] : cases) {
    nn::ModelState state = bert_state();
    const Error error = failure([&, text = text] { edit(text, state, workshop); });
    EXPECT_EQ(error.kind(), ErrorKind::recipe) << text;
    EXPECT_THAT(error.message(), HasSubstr(message)) << text;
    EXPECT_THAT(error.where(), HasSubstr("recipe.yaml:1")) << text;
    EXPECT_EQ(state.history.size(), 0u);
  }
}

TEST(Initialise, APlanHasShapes) {
  Answers workshop;
  workshop.plan = true;
  nn::ModelState state = bert_state();
  edit("initialise: {layers: 2, hidden_size: 24, heads: 3}", state, workshop);
  EXPECT_EQ(state.tensors.at("embeddings.word_embeddings.weight").sizes(),
            torch::IntArrayRef({60, 24}));
}

}  // namespace
}  // namespace compress::surgery
