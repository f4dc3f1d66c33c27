// What is attached to a model: adapters, low-rank additions, prefixes.

#include "compress/nn/attachment.h"

#include <gtest/gtest.h>

#include <cmath>

#include "compress/base/error.h"
#include "compress/nn/decoding.h"
#include "compress/nn/packed.h"
#include "support.h"
#include "writers.h"

namespace compress::nn {
namespace {

using torch::Tensor;

// A Llama and a BART of one or two layers.
ModelState tiny_llama(int64_t layers = 2) {
  ModelState state;
  ModelConfig& c = state.config;
  c.family = "llama";
  c.vocab_size = 50;
  c.hidden_size = 16;
  c.layers = layers;
  c.attention_heads = 4;
  c.kv_heads = 2;
  c.head_width = 4;
  c.intermediate_size = 24;
  c.max_positions = 64;
  c.activation = "silu";
  c.gated = true;
  c.hidden_dropout = c.attention_dropout = 0;
  c.raw = Json::object();
  TensorMaker add(state);
  add.matrix("embed_tokens", {50, 16});
  for (int64_t i = 0; i < layers; ++i) {
    const std::string p = str("layers.", i, ".");
    add.matrix(p + "self_attn.q_proj", {16, 16});
    add.matrix(p + "self_attn.k_proj", {8, 16});
    add.matrix(p + "self_attn.v_proj", {8, 16});
    add.matrix(p + "self_attn.o_proj", {16, 16});
    add.norm(p + "input_layernorm", 16, false);
    add.norm(p + "post_attention_layernorm", 16, false);
    add.matrix(p + "mlp.gate_proj", {24, 16});
    add.matrix(p + "mlp.up_proj", {24, 16});
    add.matrix(p + "mlp.down_proj", {16, 24});
  }
  add.norm("norm", 16, false);
  set_head(state, HeadKind::causal_lm, {});
  return state;
}

ModelState tiny_bart(int64_t layers = 1) {
  ModelState state;
  ModelConfig& c = state.config;
  c.family = "bart";
  c.vocab_size = 50;
  c.hidden_size = 16;
  c.layers = c.decoder_layers = layers;
  c.attention_heads = c.decoder_heads = 2;
  c.intermediate_size = c.decoder_intermediate_size = 24;
  c.max_positions = 64;
  c.decoder_start_token_id = 2;
  c.raw = Json::object();
  TensorMaker add(state);
  add.matrix("shared", {50, 16});
  for (const char* stack : {"encoder", "decoder"}) {
    add.matrix(str(stack, ".embed_positions"), {66, 16});
    add.norm(str(stack, ".layernorm_embedding"), 16, true);
    for (int64_t i = 0; i < layers; ++i) {
      const std::string p = str(stack, ".layers.", i, ".");
      auto attention = [&](const std::string& name) {
        for (const char* part : {"q_proj", "k_proj", "v_proj", "out_proj"})
          add.linear(p + name + "." + part, 16, 16);
        add.norm(p + name + "_layer_norm", 16, true);
      };
      attention("self_attn");
      if (std::string(stack) == "decoder") attention("encoder_attn");
      add.linear(p + "fc1", 24, 16);
      add.linear(p + "fc2", 16, 24);
      add.norm(p + "final_layer_norm", 16, true);
    }
  }
  set_head(state, HeadKind::seq2seq_lm, {});
  return state;
}

std::vector<ModelState> models() {
  return {tiny_bert(HeadKind::masked_lm), tiny_llama(), tiny_bart()};
}

std::unique_ptr<Model> built(const ModelState& state, uint64_t seed = 1) {
  auto model = build(state, seed);
  model->params().refresh(Precision::float32);
  return model;
}

data::Batch rows() {
  data::Batch batch = random_batch({3, 5, 2});
  batch.segment_ids = torch::zeros_like(batch.segment_ids);
  return batch;
}

Tensor logits(Model& model, const data::Batch& batch = rows(), const Pass& pass = {}) {
  return model.forward(batch, {}, pass).token_logits;
}

// The state with `spec`, its tensors drawn and then filled.
ModelState attached(ModelState state, const AttachmentSpec& spec, double fill = 0) {
  attach(state, spec);
  ModelState drawn = build(state, 1)->state();
  torch::NoGradGuard no_grad;
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(5);
  if (fill != 0)
    for (auto& [name, tensor] : drawn.tensors)
      if (starts_with(name, "attachments.")) {
        tensor = tensor.clone();
        tensor.normal_(0, fill, generator);
      }
  return drawn;
}

std::vector<AttachmentSpec> beginning_with_nothing() {
  return {spec_of("a", AdapterOptions{.size = 4}),
          spec_of("l", LoraOptions{.rank = 2, .targets = {"query", "value", "ffn"}})};
}

TEST(Attachments, BeginAsTheModelThatTheyStandIn) {
  for (const ModelState& state : models()) {
    const Tensor plain = logits(*built(state));
    for (const AttachmentSpec& spec : beginning_with_nothing()) {
      ModelState with = state;
      attach(with, spec);
      EXPECT_TRUE(torch::equal(logits(*built(with)), plain)) << state.config.family << spec.kind;
      EXPECT_FALSE(torch::allclose(logits(*built(attached(state, spec, 0.5))), plain))
          << state.config.family << spec.kind;
    }
  }
}

// Compacter's slow weights are small, not zero.
TEST(Attachments, CompacterBeginsNextToTheModel) {
  for (const ModelState& state : models()) {
    ModelState with = state;
    attach(with, spec_of("p", PhmAdapterOptions{.n = 2, .reduction = 2}));
    const Tensor plain = logits(*built(state));
    const double far = (logits(*built(with)) - plain).abs().max().item<double>();
    EXPECT_GT(far, 0);
    EXPECT_LT(far, 1e-3 * plain.abs().max().item<double>());
  }
}

TEST(Attachments, DoNotChangeWhatElseIsDrawn) {
  ModelState state = tiny_bert(HeadKind::classification), with = state;
  std::erase_if(state.tensors, [](const auto& e) { return starts_with(e.first, "classifier"); });
  with.tensors = state.tensors;
  attach(with, spec_of("a", AdapterOptions()));
  EXPECT_TRUE(torch::equal(build(state, 3)->params().find("classifier.weight")->latent,
                           build(with, 3)->params().find("classifier.weight")->latent));
}

TEST(Attachments, AreParametersOfARoleOfTheirOwn) {
  ModelState state = tiny_bert(HeadKind::masked_lm);
  attach(state, spec_of("a", AdapterOptions{.size = 4}));
  attach(state, spec_of("l", LoraOptions{.rank = 2}));
  attach(state, spec_of("p", PrefixOptions{.length = 3}));
  auto model = build(state, 1);
  ParamTable& table = model->params();
  int64_t own = 0;
  for (Parameter* parameter : table.select({"attachment"}, nullptr, true))
    own += parameter->numel();
  // Two layers: adapters (4 * 32 + 4 + 32 * 4 + 32) twice a layer; rank 2 of two matrices; keys and
  // values of 3 places.
  EXPECT_EQ(own, 2 * (2 * (4 * 32 + 4 + 32 * 4 + 32) + 2 * 2 * (32 + 32) + 2 * 3 * 32));
  for (const char* selector : {"encoder", "linear", "all", "*"})
    for (const Parameter* parameter : table.select({selector}, nullptr))
      EXPECT_NE(parameter->role, Role::attachment) << selector << " " << parameter->name;
  EXPECT_FALSE(table.select({"attachments.l.*"}, nullptr).empty());
  EXPECT_EQ(census(*model).encoder_linear,
            census(*build(tiny_bert(HeadKind::masked_lm), 1)).encoder_linear);
}

// A layer of sizes that can be written down.
TEST(Adapter, AddsABottleneckBehindASublayer) {
  const ModelState state = tiny_llama(1);
  const ModelState with = attached(
      state,
      spec_of("a", AdapterOptions{.size = 3, .after = {"feed_forward"}, .activation = "relu"}),
      0.4);
  struct Ours : Plugs {
    const TensorMap* t;
    Tensor sublayer_output(const Tensor& x, Place place, const RowInfo&) override {
      if (place.sublayer != Sublayer::feed_forward) return x;
      const std::string p = "attachments.a.layers.0.feed_forward.";
      const Tensor inner =
          torch::relu(torch::mm(x, t->at(p + "down.weight").t()) + t->at(p + "down.bias"));
      return x + torch::mm(inner, t->at(p + "up.weight").t()) + t->at(p + "up.bias");
    }
  } ours;
  ours.t = &with.tensors;
  auto plain = built(state);
  plain->plug(&ours);
  EXPECT_TRUE(torch::allclose(logits(*built(with)), logits(*plain), 1e-5, 1e-6));
}

TEST(Lora, AddsAProductBesideAWeight) {
  for (const ModelState& state : models()) {
    const LoraOptions options{.rank = 2, .alpha = 3, .targets = {"query", "value", "ffn_out"}};
    const ModelState with = attached(state, spec_of("l", options), 0.3);
    ModelState sum = state;
    for (auto& [name, weight] : sum.tensors) {
      const std::string module = name.substr(0, name.rfind('.'));
      const auto down = with.tensors.find("attachments.l." + module + ".down.weight");
      if (down == with.tensors.end() || !ends_with(name, ".weight")) continue;
      weight = weight + 1.5 * torch::mm(with.tensors.at("attachments.l." + module + ".up.weight"),
                                        down->second);
    }
    const Tensor expected = logits(*built(sum));
    EXPECT_TRUE(torch::allclose(logits(*built(with)), expected, 1e-4, 1e-5));
    // Merged: one product fewer and the same function.
    ModelState merged = with;
    merge(merged, "l");
    EXPECT_TRUE(merged.config.attachments.empty());
    EXPECT_EQ(merged.tensors.size(), built(state)->state().tensors.size());
    EXPECT_TRUE(torch::equal(logits(*built(merged)), expected));
    // Packed weights leave it out of nothing.
    auto model = built(with);
    torch::NoGradGuard no_grad;
    const PackedWeights packed(model->params());
    EXPECT_TRUE(torch::allclose(logits(*model), expected, 1e-4, 1e-5));
  }
}

// dL/dB = s (dL/dy)^T (A x), dL/dA = s B^T (dL/dy)^T x, as autograd of the sum of weights has it.
TEST(Lora, GetsItsGradients) {
  const ModelState with =
      attached(tiny_bert(HeadKind::masked_lm), spec_of("l", LoraOptions{.rank = 2}), 0.3);
  auto model = built(with);
  logits(*model).square().sum().backward();
  model->params().collect_gradients(false);
  const std::string module = "encoder.layer.0.attention.self.query";
  auto gradient = [&](const std::string& name) {
    return model->params().find(name)->latent.grad();
  };
  const Tensor whole = gradient(module + ".weight");
  const Tensor up = with.tensors.at("attachments.l." + module + ".up.weight"),
               down = with.tensors.at("attachments.l." + module + ".down.weight");
  EXPECT_TRUE(torch::allclose(gradient("attachments.l." + module + ".up.weight"),
                              8 * torch::mm(whole, down.t()), 1e-3, 1e-4));
  EXPECT_TRUE(torch::allclose(gradient("attachments.l." + module + ".down.weight"),
                              8 * torch::mm(up.t(), whole), 1e-3, 1e-4));
}

// The parts of an update draw what the whole would, and a replayed pass draws the same.
TEST(Lora, DropsByTheUpdatesPlaces) {
  ModelState state = tiny_bert(HeadKind::masked_lm);
  state.config.hidden_dropout = state.config.attention_dropout = 0;
  auto model = built(attached(state, spec_of("l", LoraOptions{.rank = 2, .dropout = 0.5}), 0.3));
  torch::NoGradGuard no_grad;
  const data::Batch whole = rows();
  const Pass pass{true, 9, Precision::float32};
  const Tensor all = logits(*model, whole, pass);
  EXPECT_TRUE(torch::equal(all, logits(*model, whole, pass)));
  EXPECT_FALSE(torch::equal(all, logits(*model, whole, {true, 10, Precision::float32})));
  EXPECT_FALSE(torch::equal(all, logits(*model, whole, {})));
  // Other draws would change logits by their own size; products of fewer rows round otherwise.
  const Tensor second = logits(*model, data::slice(whole, 1, 3), pass);
  EXPECT_LT((second - all.narrow(0, 3, 7)).abs().max().item<double>(),
            1e-5 * all.abs().max().item<double>());
}

TEST(Prefix, IsSeenInEveryAttentionThatItNames) {
  for (const ModelState& state : models()) {
    const Tensor plain = logits(*built(state));
    const bool both = state.config.encoder_decoder();
    for (const char* of : {"encoder", "decoder", "cross_attention"}) {
      const bool there = both || (std::string(of) == "encoder") == (state.config.family == "bert");
      ModelState with = state;
      const AttachmentSpec spec = spec_of("p", PrefixOptions{.length = 3, .of = {of}});
      if (!both && (!there || std::string(of) == "cross_attention")) {
        EXPECT_THROW(attach(with, spec), Error) << state.config.family << of;
        continue;
      }
      auto model = built(attached(state, spec, 0.5));
      const Tensor seen = logits(*model);
      EXPECT_FALSE(torch::allclose(seen, plain, 1e-3, 1e-3)) << state.config.family << of;
      seen.square().sum().backward();
      for (const Parameter* parameter : model->params().select({"attachment"}, nullptr, true))
        EXPECT_GT(parameter->latent.grad().abs().max().item<float>(), 0) << parameter->name;
    }
  }
}

// One place with keys of zero has the score 0: a row of one token with the score s gives
// (e^s v + e^0 p) / (e^s + 1). Here queries are zero, so that s = 0 and the mean is left.
TEST(Prefix, SharesTheSoftmax) {
  ModelState state = tiny_bart();
  for (const char* part : {"weight", "bias"})
    state.tensors[str("decoder.layers.0.encoder_attn.q_proj.", part)].zero_();
  ModelState with =
      attached(state, spec_of("p", PrefixOptions{.length = 1, .of = {"cross_attention"}}));
  const Tensor values = torch::linspace(-1, 1, 16).reshape({1, 16});
  with.tensors["attachments.p.decoder.layers.0.cross_attention.keys"] = torch::zeros({1, 16});
  with.tensors["attachments.p.decoder.layers.0.cross_attention.values"] = values;
  struct Mean : Plugs {
    const ModelState* state;
    Tensor values;
    // The output is linear in what attention mixed: W (v + p) / 2 + b = (W v + b) / 2 + (W p + b)
    // / 2.
    Tensor sublayer_output(const Tensor& x, Place place, const RowInfo&) override {
      if (place.sublayer != Sublayer::cross_attention) return x;
      const std::string out = "decoder.layers.0.encoder_attn.out_proj";
      return (x + torch::mm(values, state->tensors.at(out + ".weight").t()) +
              state->tensors.at(out + ".bias")) /
             2;
    }
  } mean;
  mean.state = &state;
  mean.values = values;
  const data::Batch batch = random_batch({1, 1});
  auto plain = built(state);
  plain->plug(&mean);
  EXPECT_TRUE(torch::allclose(logits(*built(with), batch), logits(*plain, batch), 1e-5, 1e-5));
}

// With a network the keys and values are out(tanh(in(table))).
TEST(Prefix, MayBeMadeByANetwork) {
  const ModelState with = attached(tiny_bert(HeadKind::masked_lm),
                                   spec_of("p", PrefixOptions{.length = 3, .hidden = 5}), 0.4);
  ModelState direct =
      attached(tiny_bert(HeadKind::masked_lm), spec_of("p", PrefixOptions{.length = 3}));
  const TensorMap& t = with.tensors;
  const Tensor inner = torch::tanh(
      torch::mm(t.at("attachments.p.encoder.table"), t.at("attachments.p.encoder.in.weight").t()) +
      t.at("attachments.p.encoder.in.bias"));
  for (int layer : {0, 1}) {
    const std::string p = str("attachments.p.encoder.layer.", layer, ".attention.");
    const Tensor both = torch::mm(inner, t.at(p + "out.weight").t()) + t.at(p + "out.bias");
    direct.tensors[p + "keys"] = both.narrow(1, 0, 32).contiguous();
    direct.tensors[p + "values"] = both.narrow(1, 32, 32).contiguous();
  }
  EXPECT_TRUE(torch::allclose(logits(*built(with)), logits(*built(direct)), 1e-5, 1e-6));
}

TEST(Prefix, IsKeptWhileTextIsWritten) {
  torch::NoGradGuard no_grad;
  auto model = built(attached(tiny_bart(2), spec_of("p", PrefixOptions{.length = 3}), 0.5));
  const data::Batch source = random_batch({4, 2});
  data::Batch read = random_batch({3, 3}, 8);
  data::Batch batch = source;
  batch.decoder = std::make_shared<data::Batch>(read);
  const Tensor expected = logits(*model, batch);
  Decoding decoding = model->begin_decoding(source, 1, 4, {});
  for (int64_t at = 0; at < 3; ++at) {
    data::Batch tokens = random_batch({1, 1});
    const int64_t* ids = read.token_ids.const_data_ptr<int64_t>();
    tokens.token_ids = at == 0 ? torch::tensor({int64_t{2}, int64_t{2}})
                               : torch::tensor({ids[at - 1], ids[3 + at - 1]});
    tokens.segment_ids = torch::zeros_like(tokens.token_ids);
    EXPECT_TRUE(torch::allclose(model->decode(decoding, tokens, {}),
                                expected.index_select(0, torch::tensor({at, 3 + at})), 1e-4, 1e-5))
        << at;
  }
}

// y = x W + b with W = sum_i A_i (x) (s_i t_i), written out.
TEST(Compacter, MultipliesWithSumsOfKroneckerProducts) {
  const ModelState state = tiny_llama(1);
  const ModelState with = attached(
      state, spec_of("p", PhmAdapterOptions{.n = 2, .reduction = 4, .after = {"attention"}}), 0.5);
  struct Ours : Plugs {
    const TensorMap* t;
    Tensor matrix(const std::string& p) const {
      Tensor sum;
      for (int64_t i = 0; i < 2; ++i) {
        const Tensor part = torch::kron(t->at("attachments.p.slow")[i],
                                        torch::mm(t->at(p + ".s")[i], t->at(p + ".t")[i]));
        sum = sum.defined() ? sum + part : part;
      }
      return sum;
    }
    Tensor sublayer_output(const Tensor& x, Place place, const RowInfo&) override {
      if (place.sublayer != Sublayer::attention) return x;
      const std::string p = "attachments.p.layers.0.attention.";
      const Tensor inner =
          at::gelu(torch::mm(x, matrix(p + "down")) + t->at(p + "down.bias"), "tanh");
      return x + torch::mm(inner, matrix(p + "up")) + t->at(p + "up.bias");
    }
  } ours;
  ours.t = &with.tensors;
  auto plain = built(state);
  plain->plug(&ours);
  EXPECT_TRUE(torch::allclose(logits(*built(with)), logits(*plain), 1e-4, 1e-5));
}

// 4L(k+d) + n^3 + 2L(k+d) for L layers with two adapters each, k the width and d the bottleneck.
TEST(Compacter, HasAsFewParametersAsThePaperCounts) {
  ModelState state = tiny_bert(HeadKind::masked_lm);
  attach(state, spec_of("p", PhmAdapterOptions{.n = 4, .reduction = 4}));
  auto model = build(state, 1);
  int64_t own = 0;
  for (Parameter* parameter : model->params().select({"attachment"}, nullptr, true))
    own += parameter->numel();
  EXPECT_EQ(own, 4 * 2 * (32 + 8) + 64 + 2 * 2 * (32 + 8));
}

TEST(Attachments, RefuseWhatDoesNotFit) {
  auto message = [](const std::function<void(ModelState&)>& act) {
    ModelState state = tiny_bert(HeadKind::masked_lm);
    try {
      act(state);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::recipe);
      return error.message() + " / " + error.hint();
    }
    return std::string("nothing");
  };
  auto says = [&](const std::function<void(ModelState&)>& act, const char* fragment) {
    const std::string said = message(act);
    EXPECT_NE(said.find(fragment), std::string::npos) << said;
  };
  says([](ModelState& s) { attach(s, spec_of("l", LoraOptions{.targets = {"querry"}})); },
       "did you mean 'query'");
  says([](ModelState& s) { attach(s, spec_of("l", LoraOptions{.targets = {"pooler*"}})); },
       "target");
  says([](ModelState& s) { attach(s, spec_of("a", AdapterOptions{.after = {"cross_attention"}})); },
       "none of its sub-layers");
  says([](ModelState& s) { attach(s, spec_of("p", PhmAdapterOptions{.n = 3})); }, "do not divide");
  says([](ModelState& s) { attach(s, spec_of("../x", AdapterOptions())); }, "letters");
  says(
      [](ModelState& s) {
        attach(s, spec_of("a", AdapterOptions()));
        attach(s, spec_of("a", LoraOptions()));
      },
      "two attachments");
  says(
      [](ModelState& s) {
        attach(s, spec_of("a", AdapterOptions()));
        merge(s, "a");
      },
      "no linear function");
  says(
      [](ModelState& s) {
        attach(s, spec_of("p", PrefixOptions()));
        merge(s, "p");
      },
      "no weight has a place");
  says([](ModelState& s) { merge(s, "l"); }, "has no attachment");
}

TEST(Attachments, OfAFileAreCheckedBeforeTheyAreBelieved) {
  auto spec = [](const char* text) { return Json::parse(text); };
  EXPECT_THROW(read_attachments(spec(R"({"kind": "lora"})")), Error);
  EXPECT_THROW(read_attachments(spec(R"([3])")), Error);
  EXPECT_THROW(read_attachments(spec(R"([{"kind": "other", "name": "a"}])")), Error);
  EXPECT_THROW(read_attachments(spec(R"([{"kind": "lora", "name": "a/b"}])")), Error);
  EXPECT_THROW(
      read_attachments(spec(R"([{"kind": "lora", "name": "a"}, {"kind": "lora", "name": "a"}])")),
      Error);
  for (const char* text : {R"([{"kind": "lora", "name": "a", "rank": -1}])",
                           R"([{"kind": "lora", "name": "a", "rank": 99999999999}])",
                           R"([{"kind": "lora", "name": "a", "rank": "two"}])",
                           R"([{"kind": "lora", "name": "a", "targets": 3}])",
                           R"([{"kind": "adapter", "name": "a", "activation": "cosine"}])",
                           R"([{"kind": "prefix", "name": "a", "length": 0}])"}) {
    ModelState state = tiny_bert(HeadKind::masked_lm);
    state.config.attachments = read_attachments(spec(text));
    EXPECT_THROW(build(state, 1), Error) << text;
  }
  ModelState state = tiny_bert(HeadKind::masked_lm);
  attach(state, spec_of("l", LoraOptions{.rank = 3}));
  const Json written = attachments_json(state.config.attachments);
  EXPECT_EQ(attachments_json(read_attachments(written)), written);
}

// What is frozen gets no gradient, also where it lies in one matrix with what is trained.
TEST(TrainOnly, FreezesTheRest) {
  for (Precision precision : {Precision::float32, Precision::bf16}) {
    auto model =
        build(attached(tiny_bert(HeadKind::masked_lm), spec_of("l", LoraOptions()), 0.2), 1);
    ParamTable& table = model->params();
    EXPECT_EQ(table.train_only({"value", "attachment", "nothing.*"}),
              std::vector<std::string>{"nothing.*"});
    table.refresh(precision);
    model->forward(rows(), {}, {false, 0, precision}).token_logits.square().sum().backward();
    table.collect_gradients(false);
    for (const Parameter& parameter : table.list()) {
      const bool trained = parameter.role == Role::value || parameter.role == Role::attachment ||
                           ends_with(parameter.name, "self.value.bias");
      EXPECT_EQ(parameter.trainable, trained) << parameter.name;
      EXPECT_EQ(parameter.latent.grad().defined(), trained) << parameter.name;
    }
    EXPECT_EQ(table.trainable().size(), 2 * 2u + 2 * 2 * 2);
  }
}

}  // namespace
}  // namespace compress::nn
