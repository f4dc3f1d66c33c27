// Graphs: the wire format, the file, and that a graph computes what its model does.

#include <gmock/gmock.h>

#include "compress/constraint/quantize.h"
#include "compress/export/export.h"
#include "onnx/graph.h"
#include "onnx/lowering.h"
#include "onnx/run.h"
#include "onnx/wire.h"
#include "unit/checkpoint/tiny.h"
#include "unit/export/rows.h"

namespace compress {
namespace {

namespace fs = std::filesystem;
namespace onnx = exports::onnx;
using nn::HeadKind;
using ::testing::HasSubstr;

std::string hex(std::string_view bytes) {
  std::string out;
  for (const char byte : bytes) {
    constexpr const char* digits = "0123456789abcdef";
    out += digits[static_cast<uint8_t>(byte) >> 4];
    out += digits[static_cast<uint8_t>(byte) & 15];
  }
  return out;
}

// The examples of protobuf.dev's page on the encoding, and a float.
TEST(Wire, BytesAreThoseOfTheStandard) {
  onnx::Message message;
  EXPECT_EQ(hex(message.number(1, 150).bytes()), "089601");
  EXPECT_EQ(hex(onnx::Message().text(2, "testing").bytes()), "120774657374696e67");
  EXPECT_EQ(hex(onnx::Message().message(3, message).bytes()), "1a03089601");
  const std::vector<int64_t> numbers = {3, 270, 86942};
  EXPECT_EQ(hex(onnx::Message().numbers(6, numbers).bytes()), "3206038e029ea705");
  EXPECT_EQ(hex(onnx::Message().number(1, -2).bytes()), "08feffffffffffffffff01");
  EXPECT_EQ(hex(onnx::Message().real(2, 1.5F).bytes()), "150000c03f");
  EXPECT_EQ(hex(onnx::Message().open(16, 300).bytes()), "8201ac02");
  EXPECT_EQ(onnx::opening_size(16, 300), 4);
}

TEST(Wire, WhatWasWrittenIsRead) {
  const std::vector<int64_t> numbers = {-1, 0, int64_t{1} << 40};
  onnx::Message message;
  message.number(1, -2).real(2, -0.25F).text(3, "abc").numbers(4, numbers).number(4, 7);
  std::vector<int64_t> read;
  int64_t number = 0;
  float real = 0;
  std::string text;
  onnx::read_message(message.bytes(), "here", [&](const onnx::Field& field) {
    if (field.number == 1) number = field.value;
    if (field.number == 2) real = field.real;
    if (field.number == 3) text = field.bytes;
    if (field.number == 4) onnx::read_numbers(field, "here", read);
  });
  EXPECT_EQ(number, -2);
  EXPECT_EQ(real, -0.25F);
  EXPECT_EQ(text, "abc");
  EXPECT_EQ(read, (std::vector<int64_t>{-1, 0, int64_t{1} << 40, 7}));
  // A length beyond the end, a varint without one, and a kind that is not there any more.
  for (const std::string& bad : {message.bytes().substr(0, 17), std::string("\x08\xff", 2),
                                 std::string("\x0b", 1), std::string(12, '\xff')})
    tiny::error_of(ErrorKind::model,
                   [&] { onnx::read_message(bad, "here", [](const onnx::Field&) {}); });
}

class Onnx : public tiny::Scratch {
 protected:
  void SetUp() override {
    Scratch::SetUp();
    tiny::write_tokenizer(source());
  }
  fs::path source() const { return root_ / "source"; }

  // Every matrix inside the layers, and the classifier.
  static nn::Json scheme(const char* weights, const char* inputs, bool classifier = false) {
    nn::Json modules = nn::Json::array(), scales = nn::Json::object();
    for (const char* layer : {"encoder.layer.0.", "encoder.layer.1."})
      for (const char* part : {"attention.self.query", "attention.self.key", "attention.self.value",
                               "attention.output.dense", "intermediate.dense", "output.dense"})
        modules.push_back(std::string(layer) + part);
    if (classifier) modules.push_back("classifier");
    for (const nn::Json& module : modules) scales[module.get<std::string>()] = 0.03125;
    nn::Json json = {{"num_bits", 8}, {"weights", nullptr}, {"activations", nullptr}};
    if (*weights != 0) json["weights"] = {{"strategy", weights}};
    if (*inputs != 0)
      json["activations"] = {{"strategy", inputs}, {"dynamic", std::string(inputs) == "token"}};
    json["modules"] = modules;
    if (std::string(inputs) == "tensor") json["input_scales"] = scales;
    return json;
  }

  static data::Split split(int64_t rows = 6) { return split_of(rows, /*pairs=*/true); }
  static data::Batch batch() {
    const data::Split rows = split();
    std::vector<int64_t> all = {0, 1, 2, 3, 4, 5};
    data::Batch batch = data::pack(rows, all);
    batch.targets = {};
    return batch;
  }

  // What the model and its graph say of padded rows.
  std::pair<nn::Outputs, nn::Outputs> both(exports::LoadedModel& loaded) {
    torch::NoGradGuard no_grad;
    nn::Model& model = *loaded.model;
    model.params().refresh(nn::Precision::float32);
    onnx::save(onnx::lower(loaded), root_ / "graph");
    onnx::GraphModel graph(model.config(), root_ / "graph");
    nn::Capture capture;
    capture.hidden = capture.pooled = true;
    for (const nn::HeadSpec& head : model.config().more_heads) capture.heads.insert(head.name);
    return {model.forward(batch(), capture, {}), graph.forward(batch(), capture, {})};
  }
  static void expect_same(const nn::HeadOutputs& ours, const nn::HeadOutputs& graph,
                          const std::string& what) {
    for (const auto& [one, other] :
         {std::pair(ours.logits, graph.logits), std::pair(ours.token_logits, graph.token_logits),
          std::pair(ours.pooled, graph.pooled)}) {
      if (!one.defined() || (!other.defined() && ours.logits.defined())) continue;
      ASSERT_TRUE(other.defined()) << what;
      ASSERT_EQ(one.sizes(), other.sizes()) << what;
      EXPECT_LT((one - other).abs().max().item<float>(), 1e-5) << what;
    }
  }
};

TEST_F(Onnx, GraphsOfEveryHeadComputeWhatTheModelDoes) {
  const std::vector<std::string> classes = {"a", "b", "c"};
  for (const auto& [head, labels] : {std::pair(HeadKind::none, std::vector<std::string>()),
                                     {HeadKind::classification, classes},
                                     {HeadKind::regression, {"LABEL_0"}},
                                     {HeadKind::multi_label, classes},
                                     {HeadKind::token_classification, classes},
                                     {HeadKind::span, {}},
                                     {HeadKind::masked_lm, {}}}) {
    nn::ModelState state = tiny::state();
    nn::set_head(state, head, labels);
    exports::LoadedModel loaded = exports::with_scheme(nn::build(state, 1), nullptr);
    const auto [ours, graph] = both(loaded);
    expect_same(ours, graph, nn::head_name(head));
    const bool answers = ours.logits.defined() || ours.token_logits.defined();
    EXPECT_EQ(answers, head != HeadKind::none);
    if (answers) continue;
    EXPECT_LT((ours.hidden.back() - graph.hidden.back()).abs().max().item<float>(), 1e-5);
  }
}

TEST_F(Onnx, EmbeddingsArePooledProjectedAndNormalised) {
  for (const char* pooling :
       {"cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken", "mean+max+cls"})
    for (const bool projected : {false, true}) {
      nn::ModelState state = tiny::state();
      nn::set_head(state, HeadKind::embedding, {}, pooling);
      if (projected) state.config.projection = 5;
      state.config.normalize = projected;
      exports::LoadedModel loaded = exports::with_scheme(nn::build(state, 1), nullptr);
      const auto [ours, graph] = both(loaded);
      ASSERT_TRUE(graph.pooled.defined());
      expect_same(ours, graph, pooling);
    }
}

TEST_F(Onnx, FurtherHeadsAreFurtherOutputs) {
  nn::ModelState state = tiny::state();
  nn::set_more_heads(
      state,
      {{.name = "early", .kind = HeadKind::classification, .labels = {"x", "y"}, .layers = 1},
       {.name = "marks", .kind = HeadKind::token_classification, .labels = {"u", "v", "w"}}});
  exports::LoadedModel loaded = exports::with_scheme(nn::build(state, 1), nullptr);
  const auto [ours, graph] = both(loaded);
  expect_same(ours, graph, "own");
  ASSERT_EQ(graph.more.size(), 2);
  for (const char* name : {"early", "marks"}) expect_same(ours.of(name), graph.of(name), name);
  EXPECT_EQ(graph.of("marks").token_logits.size(1), 3);
}

TEST_F(Onnx, ActivationsAreThoseOfTheModel) {
  for (const char* name : {"gelu", "gelu_new", "relu", "silu"}) {
    nn::ModelState state = tiny::state();
    state.config.activation = name;
    exports::LoadedModel loaded = exports::with_scheme(nn::build(state, 1), nullptr);
    const auto [ours, graph] = both(loaded);
    expect_same(ours, graph, name);
  }
}

int64_t count(const onnx::Read& graph, const std::string& op) {
  return std::count_if(graph.nodes.begin(), graph.nodes.end(),
                       [&](const onnx::Node& node) { return node.op == op; });
}

// The classifier is one layer, whose input is the same on both sides: what it computes in integers
// must be equal but for the order of two products.
TEST_F(Onnx, IntegersAreTheModels) {
  for (const char* weights : {"channel", "tensor", ""})
    for (const char* inputs : {"token", "tensor", ""}) {
      if (*weights == 0 && *inputs == 0) continue;
      nn::Json how = scheme(weights, inputs, true);
      how["modules"] = nn::Json::array({"classifier"});
      exports::LoadedModel loaded = exports::with_scheme(nn::build(tiny::state(), 1), how);
      const auto [ours, graph] = both(loaded);
      expect_same(ours, graph, str(weights, "/", inputs));
      const onnx::Read read = onnx::load(root_ / "graph");
      EXPECT_EQ(count(read, "MatMulInteger"), *weights != 0 && std::string(inputs) == "token");
      EXPECT_EQ(count(read, "QuantizeLinear"), std::string(inputs) == "tensor");
      const torch::Tensor stored = read.weights.at("classifier.weight");
      EXPECT_EQ(stored.scalar_type(), *weights != 0 ? torch::kInt8 : torch::kFloat32);
      // Without rounding it is another function, that of the dense model.
      onnx::GraphModel smooth(loaded.model->config(), root_ / "graph");
      smooth.set_rounding(false);
      nn::InputTransform* input =
          std::exchange(loaded.model->params().find("classifier.weight")->input, nullptr);
      const nn::Outputs dense = loaded.model->forward(batch(), {}, {});
      loaded.model->params().find("classifier.weight")->input = input;
      EXPECT_LT((smooth.forward(batch(), {}, {}).logits - dense.logits).abs().max().item<float>(),
                1e-5);
      const float rounding = (ours.logits - dense.logits).abs().max().item<float>();
      EXPECT_EQ(rounding > 1e-5, *inputs != 0);
    }
}

TEST_F(Onnx, TablesOnAGridAreGatheredAsIntegers) {
  exports::LoadedModel loaded;
  nn::ModelState state = tiny::state();
  nn::set_head(state, HeadKind::masked_lm, {});
  loaded.model = nn::build(state, 1);
  for (const char* table :
       {"embeddings.word_embeddings.weight", "embeddings.position_embeddings.weight",
        "embeddings.token_type_embeddings.weight"}) {
    torch::NoGradGuard no_grad;
    nn::Parameter& parameter = *loaded.model->params().find(table);
    torch::Tensor values = parameter.latent.detach();
    parameter.steps = constraint::fake_quantize_weight(values, constraint::Granularity::channel);
  }
  const auto [ours, graph] = both(loaded);
  expect_same(ours, graph, "tables");
  const onnx::Read read = onnx::load(root_ / "graph");
  EXPECT_EQ(read.weights.at("embeddings.word_embeddings.weight").scalar_type(), torch::kInt8);
  EXPECT_EQ(count(read, "DequantizeLinear"), 1);  // of the tied output
}

// Tables of a quantization as training leaves it, whose integers follow from the weights.
TEST_F(Onnx, QuantisedTablesAreGatheredInTheirBits) {
  for (const auto& [bits, head] : {std::pair(8, HeadKind::classification),
                                   {4, HeadKind::classification},
                                   {8, HeadKind::masked_lm},
                                   {4, HeadKind::masked_lm}}) {
    nn::Json how = {{"num_bits", bits}, {"strategy", bits == 8 ? "channel" : "group"}};
    if (bits == 4) how["group_size"] = 4;
    how["tables"] = {"embeddings.word_embeddings", "embeddings.position_embeddings",
                     "embeddings.token_type_embeddings"};
    nn::ModelState state = tiny::state();
    nn::set_head(state, head,
                 head == HeadKind::masked_lm ? std::vector<std::string>()
                                             : std::vector<std::string>{"a", "b"});
    exports::LoadedModel loaded =
        exports::with_scheme(nn::build(state, 1), {{"num_bits", 8},
                                                   {"weights", nullptr},
                                                   {"activations", nullptr},
                                                   {"modules", nn::Json::array()},
                                                   {"embeddings", how}});
    for (nn::Parameter& parameter : loaded.model->params().list()) parameter.row_gradient = false;
    const auto [ours, graph] = both(loaded);
    expect_same(ours, graph, str("int", bits, " ", nn::head_name(head)));
    const onnx::Read read = onnx::load(root_ / "graph");
    const torch::Tensor words = read.weights.at("embeddings.word_embeddings.weight");
    EXPECT_EQ(static_cast<int64_t>(words.nbytes()), 40 * bits);
    EXPECT_EQ(words.scalar_type(), bits == 8 ? torch::kInt8 : torch::kUInt8);
    EXPECT_EQ(read.weights.at("embeddings.word_embeddings.weight_scale").numel(),
              bits == 8 ? 40 : 40 * 2);
    EXPECT_EQ(count(read, "Floor"), bits == 8 ? 0 : head == HeadKind::masked_lm ? 4 : 3);
  }
}

// Byte j has the integers j and j + width / 2, 8 higher each.
TEST_F(Onnx, Int4LiesInHalvesOfBytes) {
  nn::ModelState state = tiny::state();
  torch::Tensor& table = state.tensors.at("embeddings.word_embeddings.weight");
  // Of largest magnitude 7.5, so that the scale is 1.
  table[3] = torch::tensor({-7.5F, 0.F, 1.F, 2.F, 7.5F, -1.F, 3.F, 4.F});
  exports::LoadedModel loaded = exports::with_scheme(
      nn::build(state, 1), {{"num_bits", 8},
                            {"weights", nullptr},
                            {"activations", nullptr},
                            {"modules", nn::Json::array()},
                            {"embeddings",
                             {{"num_bits", 4},
                              {"strategy", "group"},
                              {"group_size", 4},
                              {"tables", nn::Json::array({"embeddings.word_embeddings"})}}}});
  loaded.model->params().refresh(nn::Precision::float32);
  onnx::save(onnx::lower(loaded), root_ / "graph");
  const torch::Tensor row =
      onnx::load(root_ / "graph").weights.at("embeddings.word_embeddings.weight")[3];
  // -8 8 | 0 -> 7 (clipped), 0 -1, 1 3, 2 4
  const std::vector<uint8_t> expected = {0 + 16 * 15, 8 + 16 * 7, 9 + 16 * 11, 10 + 16 * 12};
  for (int64_t j = 0; j < 4; ++j)
    EXPECT_EQ(row[j].item<uint8_t>(), expected[static_cast<size_t>(j)]);
}

// A folder of sentence-transformers without a Dense module is a base model that says how it pools.
TEST_F(Onnx, ABaseModelThatPoolsSaysItsEmbedding) {
  nn::ModelState state = tiny::state();
  nn::set_head(state, HeadKind::none, {});
  state.config.sentence = {{"1_Pooling/config.json", {{"pooling_mode", "mean"}}}};
  state.config.pooling = "mean";
  state.config.normalize = true;
  exports::LoadedModel loaded = exports::with_scheme(nn::build(state, 1), nullptr);
  loaded.model->params().refresh(nn::Precision::float32);
  onnx::save(onnx::lower(loaded), root_ / "graph");
  const torch::Tensor mask = torch::tensor({1, 1, 1, 1, 1, 1, 0, 0}, torch::kInt64).view({2, 4});
  const auto said =
      onnx::run(onnx::load(root_ / "graph"),
                {{"input_ids", torch::tensor({3, 5, 7, 9, 4, 6, 0, 0}, torch::kInt64).view({2, 4})},
                 {"attention_mask", mask},
                 {"token_type_ids", torch::zeros({2, 4}, torch::kInt64)}});
  const torch::Tensor weights = mask.to(torch::kFloat32).unsqueeze(2);
  torch::Tensor mean = (said.at("last_hidden_state") * weights).sum(1) / weights.sum(1);
  mean = mean / mean.norm(2, 1, true);
  EXPECT_LT((said.at("sentence_embedding") - mean).abs().max().item<float>(), 1e-6);
  EXPECT_TRUE(said.contains("pooler_output"));
}

TEST_F(Onnx, TheRestLiesInHalfPrecision) {
  const data::Split check = split();
  exports::LoadedModel loaded =
      exports::with_scheme(nn::build(tiny::state(), 1), scheme("channel", "token"));
  const exports::Report whole =
      exports::write("onnx", loaded, source(), root_ / "whole", &check, nullptr);
  for (const torch::ScalarType type : {torch::kBFloat16, torch::kHalf}) {
    const fs::path out = root_ / exports::rest_text(type);
    const exports::Report half =
        exports::write("onnx", loaded, source(), out, &check, nullptr, 1e-4, {}, type);
    EXPECT_LT(half.largest_difference, 1e-5);
    EXPECT_LT(half.weight_bytes, whole.weight_bytes);
    EXPECT_GT(half.zstd_bytes, 0);
    EXPECT_EQ(half.rest, exports::rest_text(type));
    EXPECT_EQ(onnx::load(out).weights.at("classifier.weight").scalar_type(), type);
  }
}

TEST_F(Onnx, ExportsAreReReadWithTheirMetric) {
  data::Split check = split();
  exports::LoadedModel loaded = exports::with_scheme(nn::build(tiny::state(), 1), nullptr);
  exports::Report report =
      exports::write("onnx", loaded, source(), root_ / "out", &check, nn::Json::object());
  EXPECT_EQ(report.rows, 6);
  EXPECT_LT(report.largest_difference, 1e-5);
  EXPECT_EQ(report.ours.name, "accuracy");
  EXPECT_EQ(report.ours.value, report.reread.value);
  EXPECT_EQ(report.weight_bytes, static_cast<int64_t>(fs::file_size(root_ / "out/model.onnx")));
  for (const char* file : {"config.json", "vocab.txt", "compress_run.json"})
    EXPECT_TRUE(fs::exists(root_ / "out" / file)) << file;
  for (const char* inputs : {"token", "tensor"}) {
    exports::LoadedModel int8 =
        exports::with_scheme(nn::build(tiny::state(), 1), scheme("channel", inputs));
    report = exports::write("onnx", int8, source(), root_ / inputs, &check, nullptr);
    EXPECT_LT(report.largest_difference, 1e-5);
    EXPECT_EQ(report.rows, 6);
    EXPECT_EQ(report.reread.name, "accuracy");
    exports::write("onnx", int8, source(), root_ / inputs, nullptr, nullptr);
  }
}

TEST_F(Onnx, LargeWeightsLieOutside) {
  exports::LoadedModel loaded = exports::with_scheme(nn::build(tiny::state(), 1), nullptr);
  loaded.model->params().refresh(nn::Precision::float32);
  const onnx::Graph graph = onnx::lower(loaded);
  onnx::save(graph, root_ / "in");
  onnx::save(graph, root_ / "apart", 2000);
  EXPECT_FALSE(fs::exists(root_ / "in" / onnx::data_name));
  EXPECT_EQ(fs::file_size(root_ / "apart" / onnx::data_name), 40 * 8 * 4);  // the table of words
  const onnx::Read in = onnx::load(root_ / "in"), apart = onnx::load(root_ / "apart");
  ASSERT_EQ(in.weights.size(), apart.weights.size());
  for (const auto& [name, weight] : in.weights)
    EXPECT_TRUE(torch::equal(weight, apart.weights.at(name))) << name;
  EXPECT_EQ(in.opset, 17);
  // What is cut off is told, wherever that is.
  const std::string whole = read_file(root_ / "in/model.onnx");
  for (size_t cut = 1; cut < whole.size(); cut += 997) {
    write_file(root_ / "in/model.onnx", whole.substr(0, cut));
    tiny::error_of(ErrorKind::model, [&] { onnx::load(root_ / "in"); });
  }
  write_file(root_ / "apart" / onnx::data_name, "short");
  tiny::error_of(ErrorKind::model, [&] { onnx::load(root_ / "apart"); });
}

TEST_F(Onnx, WhatHasNoGraphIsRefusedByName) {
  auto refused = [](const std::function<void(nn::ModelConfig&)>& change) {
    nn::ModelConfig config = tiny::state().config;
    change(config);
    return tiny::error_of(ErrorKind::recipe, [&] { exports::check_model("onnx", config); });
  };
  EXPECT_THAT(refused([](auto& c) { c.head = HeadKind::multiple_choice; }),
              HasSubstr("multiple_choice"));
  EXPECT_THAT(refused([](auto& c) { c.attachments = {{"lora", "mine", {}}}; }), HasSubstr("mine"));
  EXPECT_THAT(refused([](auto& c) { c.family = "llama"; }), HasSubstr("decoder of llama"));
  EXPECT_THAT(refused([](auto& c) {
                c.family = "t5";
                c.decoder_layers = 1;
              }),
              HasSubstr("t5"));
  EXPECT_THAT(refused([](auto& c) { c.family = "dan"; }), HasSubstr("dan"));
  exports::check_model("onnx", tiny::state().config);
  exports::check_model("huggingface", nn::ModelConfig());
}

}  // namespace
}  // namespace compress
