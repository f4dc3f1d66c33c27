#include "compress/export/export.h"

#include "compress/constraint/quantize.h"
#include "compress/storage/safetensors.h"
#include "unit/checkpoint/tiny.h"
#include "unit/export/rows.h"

namespace compress {
namespace {

namespace fs = std::filesystem;

using constraint::Granularity;

class Export : public tiny::Scratch {
 protected:
  void SetUp() override {
    Scratch::SetUp();
    tiny::write_tokenizer(source());
  }
  fs::path source() const { return root_ / "source"; }

  // Every matrix inside the layers.
  static nn::Json scheme(const std::string& weights = "channel", bool dynamic = true) {
    nn::Json modules = nn::Json::array(), scales = nn::Json::object();
    for (const char* layer : {"encoder.layer.0.", "encoder.layer.1."})
      for (const char* part : {"attention.self.query", "attention.self.key", "attention.self.value",
                               "attention.output.dense", "intermediate.dense", "output.dense"}) {
        modules.push_back(std::string(layer) + part);
        scales[std::string(layer) + part] = 0.03125;
      }
    nn::Json json = {
        {"num_bits", 8},
        {"weights", {{"strategy", weights}}},
        {"activations", {{"strategy", dynamic ? "token" : "tensor"}, {"dynamic", dynamic}}},
        {"modules", modules}};
    if (!dynamic) json["input_scales"] = scales;
    return json;
  }

  static data::Split split(int64_t rows = 6) { return split_of(rows, /*pairs=*/false); }

  static exports::LoadedModel quantised(const nn::Json& how) {
    return exports::with_scheme(nn::build(tiny::state(), 1), how);
  }
  static torch::Tensor logits(exports::LoadedModel& loaded) {
    return eval::evaluate(*loaded.model, split(), {}).logits;
  }
};

const std::string matrix = "encoder.layer.1.intermediate.dense.weight";

TEST_F(Export, AStageModelComesBackWithItsQuantization) {
  exports::LoadedModel model = quantised(scheme());
  exports::save_stage_model(*model.model, model.scheme, root_ / "stage", source());
  exports::LoadedModel loaded = exports::load(root_ / "stage");
  EXPECT_EQ(loaded.scheme, model.scheme);
  EXPECT_TRUE(torch::equal(logits(loaded), logits(model)));
  EXPECT_TRUE(torch::equal(loaded.model->params().find(matrix)->latent,
                           tiny::tensors().at(matrix)));  // latent, not rounded
  // The next model in this folder has none.
  exports::save_stage_model(*model.model, nullptr, root_ / "stage", source());
  loaded = exports::load(root_ / "stage");
  EXPECT_TRUE(loaded.scheme.is_null());
  EXPECT_EQ(loaded.quantization, nullptr);
}

TEST_F(Export, QuantizationOfAnotherModelIsRefused) {
  nn::Json other = scheme();
  other["modules"].push_back("encoder.layer.7.output.dense");
  exports::save_stage_model(*nn::build(tiny::state(), 1), other, root_ / "stage", source());
  std::string text = tiny::error_of(ErrorKind::model, [&] { exports::load(root_ / "stage"); });
  EXPECT_NE(text.find("quantization.json"), std::string::npos) << text;
  write_file(root_ / "stage" / "quantization.json", "{");
  tiny::error_of(ErrorKind::model, [&] { exports::load(root_ / "stage"); });
}

TEST_F(Export, HuggingFaceKeepsZerosAndValues) {
  nn::ModelState state = tiny::state();
  state.tensors[matrix].index_put_({torch::indexing::Slice(0, 4)}, -0.0);
  exports::LoadedModel model = exports::with_scheme(nn::build(state, 1), nullptr);
  data::Split check = split();
  exports::Report report = exports::write("huggingface", model, source(), root_ / "out", &check,
                                          nn::Json{{"recipe", "made up"}});
  nn::ModelState read = checkpoint::load_model(root_ / "out");
  for (const auto& [name, tensor] : state.tensors)
    EXPECT_TRUE(torch::equal(read.tensors.at(name), tensor)) << name;
  EXPECT_FALSE(read.tensors.at(matrix).slice(0, 0, 4).signbit().any().item<bool>());
  EXPECT_EQ(report.rows, 6);
  EXPECT_EQ(report.largest_difference, 0);
  EXPECT_GT(report.scale, 0);
  EXPECT_EQ(report.ours.name, "accuracy");
  EXPECT_EQ(report.ours.value, report.reread.value);
  EXPECT_EQ(checkpoint::read_json(root_ / "out" / "compress_run.json").at("recipe"), "made up");
  EXPECT_EQ(read_file(root_ / "out" / "vocab.txt"), read_file(source() / "vocab.txt"));
  int64_t bytes = 0;
  for (const auto& entry : fs::directory_iterator(root_ / "out"))
    bytes += static_cast<int64_t>(entry.file_size());
  EXPECT_EQ(report.bytes, bytes);
  EXPECT_EQ(report.weight_bytes,
            static_cast<int64_t>(fs::file_size(root_ / "out" / "model.safetensors")));
}

TEST_F(Export, HuggingFaceOfAQuantisedModelHasGridValues) {
  exports::LoadedModel model = quantised(scheme());
  torch::Tensor before = logits(model);
  data::Split check = split();
  exports::Report report =
      exports::write("huggingface", model, source(), root_ / "out", &check, nullptr);
  EXPECT_EQ(report.largest_difference, 0);
  torch::Tensor expected = constraint::dequantize_weight(
      constraint::quantize_weight(tiny::tensors().at(matrix), Granularity::channel));
  nn::ModelState read = checkpoint::load_model(root_ / "out");
  EXPECT_TRUE(torch::equal(read.tensors.at(matrix), expected));
  EXPECT_FALSE(torch::equal(expected, tiny::tensors().at(matrix)));
  EXPECT_FALSE(fs::exists(root_ / "out" / "compress_run.json"));
  EXPECT_FALSE(
      checkpoint::read_json(root_ / "out" / "config.json").contains("quantization_config"));
  // The comparison without quantised activations left the model as it was.
  EXPECT_TRUE(torch::equal(logits(model), before));
}

// Q8BERT's scheme: weights of ranges that were wider once, affine inputs, outputs of two layers.
TEST_F(Export, AffineInputsAndRequantisedOutputsStayWithTheStageAlone) {
  nn::Json affine = scheme("tensor", false);
  affine["activations"]["symmetric"] = false;
  for (const nn::Json& module : affine["modules"]) {
    affine["input_zeros"][module.get<std::string>()] = 120;
    affine["weight_scales"][module.get<std::string>()] = {0.01};
  }
  for (const char* module :
       {"encoder.layer.0.attention.self.key", "encoder.layer.1.intermediate.dense"}) {
    affine["output_scales"][module] = 0.05;
    affine["output_zeros"][module] = 130;
  }
  exports::LoadedModel model = quantised(affine);
  const torch::Tensor before = logits(model);
  exports::save_stage_model(*model.model, affine, root_ / "stage", source());
  exports::LoadedModel again = exports::load(root_ / "stage");
  EXPECT_TRUE(torch::equal(logits(again), before));

  data::Split check = split();
  EXPECT_EQ(exports::write("huggingface", model, source(), root_ / "out", &check, nullptr)
                .largest_difference,
            0);
  EXPECT_TRUE(torch::equal(logits(model), before));  // left as it was
  torch::Tensor grid = tiny::tensors().at(matrix).clone();
  constraint::fake_quantize_weight(grid, torch::tensor({0.01f}));
  EXPECT_TRUE(torch::equal(checkpoint::load_model(root_ / "out").tensors.at(matrix), grid));

  auto refused = [&](nn::Json how) {
    exports::LoadedModel wrong = quantised(how);
    return tiny::error_of(ErrorKind::recipe, [&] {
      exports::write("compressed-tensors", wrong, source(), root_ / "int8", nullptr, nullptr);
    });
  };
  EXPECT_NE(refused(affine).find("affine inputs"), std::string::npos);
  affine["activations"].erase("symmetric");
  affine.erase("input_zeros");
  EXPECT_NE(refused(affine).find("requantised outputs"), std::string::npos);
  affine.erase("output_scales");
  affine.erase("output_zeros");
  exports::LoadedModel widened = quantised(affine);
  exports::write("compressed-tensors", widened, source(), root_ / "int8", &check, nullptr);
  storage::SafetensorsReader reader(root_ / "int8" / "model.safetensors");
  EXPECT_EQ(checkpoint::view(reader.at("bert." + matrix + "_scale")).item<float>(), 0.01f);
}

TEST_F(Export, CompressedTensorsLayout) {
  exports::LoadedModel model = quantised(scheme());
  exports::write("compressed-tensors", model, source(), root_ / "out", nullptr, nullptr);
  storage::SafetensorsReader reader(root_ / "out" / "model.safetensors");
  auto expected = constraint::quantize_weight(tiny::tensors().at(matrix), Granularity::channel);
  EXPECT_EQ(reader.at("bert." + matrix).dtype, storage::Dtype::i8);
  EXPECT_TRUE(torch::equal(checkpoint::view(reader.at("bert." + matrix)), expected.values));
  EXPECT_EQ(reader.at("bert." + matrix + "_scale").shape, (std::vector<int64_t>{16, 1}));
  EXPECT_TRUE(
      torch::equal(checkpoint::view(reader.at("bert." + matrix + "_scale")), expected.scale));
  EXPECT_EQ(reader.at("classifier.weight").dtype, storage::Dtype::f32);
  EXPECT_EQ(reader.tensors().size(), tiny::tensors().size() + 12);
  nn::Json block = checkpoint::read_json(root_ / "out" / "config.json").at("quantization_config");
  EXPECT_EQ(block.at("quant_method"), "compressed-tensors");
  EXPECT_EQ(block.at("format"), "int-quantized");
  EXPECT_EQ(block.at("quantization_status"), "compressed");
  EXPECT_EQ(block.at("ignore"), nn::Json::array({"bert.pooler.dense", "classifier"}));
  const nn::Json& group = block.at("config_groups").at("group_0");
  EXPECT_EQ(group.at("targets"), nn::Json::array({"Linear"}));
  EXPECT_EQ(group.at("weights").at("strategy"), "channel");
  EXPECT_EQ(group.at("input_activations").at("strategy"), "token");
  EXPECT_EQ(group.at("input_activations").at("dynamic"), true);
}

class Reread : public Export, public ::testing::WithParamInterface<std::pair<const char*, bool>> {};

TEST_P(Reread, CompressedTensorsComputesTheSame) {
  exports::LoadedModel model = quantised(scheme(GetParam().first, GetParam().second));
  data::Split check = split();
  exports::Report report =
      exports::write("compressed-tensors", model, source(), root_ / "out", &check, nullptr);
  EXPECT_EQ(report.largest_difference, 0);
  EXPECT_EQ(report.rows, 6);
  exports::LoadedModel loaded = exports::load(root_ / "out");
  EXPECT_TRUE(torch::equal(logits(loaded), logits(model)));
  EXPECT_EQ(loaded.scheme.at("weights"), model.scheme.at("weights"));
  EXPECT_EQ(loaded.scheme.at("activations"), model.scheme.at("activations"));
  EXPECT_EQ(loaded.weight_scales.size(), 12u);
  // Written again from what was read, every byte is the same: the stored scales are kept.
  exports::write("compressed-tensors", loaded, root_ / "out", root_ / "again", &check, nullptr);
  EXPECT_EQ(read_file(root_ / "again" / "model.safetensors"),
            read_file(root_ / "out" / "model.safetensors"));
}

INSTANTIATE_TEST_SUITE_P(Schemes, Reread,
                         ::testing::Values(std::pair("channel", true), std::pair("tensor", true),
                                           std::pair("channel", false), std::pair("tensor", false)),
                         [](const auto& test) {
                           return std::string(test.param.first) +
                                  (test.param.second ? "Dynamic" : "Static");
                         });

// The tables of the tiny BERT.
nn::Json with_tables(nn::Json how, int bits) {
  how["embeddings"] = {{"num_bits", bits}, {"strategy", bits == 8 ? "channel" : "group"}};
  if (bits == 4) how["embeddings"]["group_size"] = 4;
  for (const char* table : {"word_embeddings", "position_embeddings", "token_type_embeddings"})
    how["embeddings"]["tables"].push_back(std::string("embeddings.") + table);
  return how;
}
const std::string words = "embeddings.word_embeddings.weight";

TEST_F(Export, Int8EmbeddingsAreAGroupOfTheirOwn) {
  exports::LoadedModel model = quantised(with_tables(scheme(), 8));
  data::Split check = split();
  exports::Report report =
      exports::write("compressed-tensors", model, source(), root_ / "out", &check, nullptr);
  EXPECT_EQ(report.largest_difference, 0);
  storage::SafetensorsReader reader(root_ / "out" / "model.safetensors");
  const auto expected = constraint::quantize_table(tiny::tensors().at(words), {});
  EXPECT_TRUE(torch::equal(checkpoint::view(reader.at("bert." + words)), expected.values));
  EXPECT_TRUE(
      torch::equal(checkpoint::view(reader.at("bert." + words + "_scale")), expected.scale));
  const nn::Json block =
      checkpoint::read_json(root_ / "out" / "config.json").at("quantization_config");
  EXPECT_EQ(block.at("format"), "int-quantized");
  EXPECT_EQ(block.at("config_groups").at("group_1").at("targets"),
            (nn::Json{"re:.*word_embeddings$", "re:.*position_embeddings$",
                      "re:.*token_type_embeddings$"}));
  EXPECT_TRUE(block.at("config_groups").at("group_1").at("input_activations").is_null());
  exports::LoadedModel loaded = exports::load(root_ / "out");
  EXPECT_EQ(exports::embeddings_text(loaded.scheme), "int8");
  EXPECT_TRUE(torch::equal(logits(loaded), logits(model)));
  exports::write("compressed-tensors", loaded, root_ / "out", root_ / "again", &check, nullptr);
  EXPECT_EQ(read_file(root_ / "again" / "model.safetensors"),
            read_file(root_ / "out" / "model.safetensors"));
}

TEST_F(Export, Int4EmbeddingsLieInWords) {
  for (const bool alone : {false, true}) {
    nn::Json how = with_tables(scheme(), 4);
    if (alone) {
      how["weights"] = how["activations"] = nullptr;
      how["modules"] = nn::Json::array();
    }
    exports::LoadedModel model = quantised(how);
    data::Split check = split();
    const fs::path out = root_ / (alone ? "alone" : "both"), again = root_ / (alone ? "a2" : "b2");
    exports::Report report =
        exports::write("compressed-tensors", model, source(), out, &check, nullptr);
    EXPECT_EQ(report.largest_difference, 0);
    storage::SafetensorsReader reader(out / "model.safetensors");
    const auto expected = constraint::quantize_table(tiny::tensors().at(words), {4, 4});
    const torch::Tensor packed = checkpoint::view(reader.at("bert." + words + "_packed"));
    EXPECT_EQ(packed.sizes(), (std::vector<int64_t>{40, 1}));
    // The first of eight values lies in the lowest bits, each plus 8.
    uint32_t word = 0;
    for (int i = 0; i < 8; ++i)
      word |= static_cast<uint32_t>(expected.values[3][i].item<int>() + 8) << (4 * i);
    EXPECT_EQ(static_cast<uint32_t>(packed[3][0].item<int32_t>()), word);
    EXPECT_EQ(reader.at("bert." + words + "_scale").shape, (std::vector<int64_t>{40, 2}));
    const nn::Json block = checkpoint::read_json(out / "config.json").at("quantization_config");
    EXPECT_EQ(block.at("format"), alone ? "pack-quantized" : "mixed-precision");
    exports::LoadedModel loaded = exports::load(out);
    EXPECT_EQ(exports::embeddings_text(loaded.scheme), "int4 in groups of 4");
    EXPECT_TRUE(torch::equal(logits(loaded), logits(model)));
    exports::write("compressed-tensors", loaded, out, again, &check, nullptr);
    EXPECT_EQ(read_file(again / "model.safetensors"), read_file(out / "model.safetensors"));
  }
}

TEST_F(Export, PackedWordsThatDoNotFitAreRefused) {
  exports::LoadedModel model = quantised(with_tables(scheme(), 4));
  exports::write("compressed-tensors", model, source(), root_ / "out", nullptr, nullptr);
  const std::string file = read_file(root_ / "out" / "config.json");
  auto refused = [&](const std::function<void(nn::Json&)>& spoil) {
    nn::Json config = nn::Json::parse(file);
    spoil(config["quantization_config"]["config_groups"]["group_1"]);
    write_file(root_ / "out" / "config.json", config.dump());
    return tiny::error_of(ErrorKind::model, [&] { exports::load(root_ / "out"); });
  };
  auto has = [](const std::string& text, const char* part) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
  };
  has(refused([](auto& g) { g["weights"]["group_size"] = 2; }), "does not fit its weight");
  has(refused([](auto& g) { g["weights"]["group_size"] = "x"; }), "embeddings");
  has(refused([](auto& g) { g["format"] = "int-quantized"; }), "embeddings");
  has(refused([](auto& g) { g["weights"]["symmetric"] = false; }), "embeddings");
  has(refused([](auto& g) { g["targets"] = {"re:.*word_embeddings$", "Linear"}; }), "num_bits");
}

TEST_F(Export, WhatIsNoIntegerIsRoundedWhereAsked) {
  for (const char* format : {"huggingface", "compressed-tensors"}) {
    exports::LoadedModel model = quantised(with_tables(scheme(), 8));
    torch::Tensor before = logits(model);
    data::Split check = split();
    exports::Report report = exports::write(format, model, source(), root_ / format, &check,
                                            nullptr, 1e-4, {}, torch::kBFloat16);
    EXPECT_EQ(report.largest_difference, 0);
    storage::SafetensorsReader reader(root_ / format / "model.safetensors");
    EXPECT_EQ(reader.at("classifier.weight").dtype, storage::Dtype::bf16);
    EXPECT_EQ(reader.at("bert.embeddings.LayerNorm.bias").dtype, storage::Dtype::bf16);
    EXPECT_NE(reader.at("bert." + words).dtype, storage::Dtype::bf16);
    EXPECT_NE(reader.at("bert." + matrix).dtype, storage::Dtype::bf16);
    EXPECT_EQ(checkpoint::read_json(root_ / format / "config.json").at("dtype"), "float32");
    EXPECT_TRUE(torch::equal(logits(model), before));  // as it was
  }
  exports::LoadedModel model = quantised(nullptr);
  {
    torch::NoGradGuard no_grad;
    model.model->params().find("classifier.bias")->latent.fill_(1e6);
  }
  tiny::error_of(ErrorKind::recipe, [&] {
    exports::write("huggingface", model, source(), root_ / "large", nullptr, nullptr, 1e-4, {},
                   torch::kHalf);
  });
  EXPECT_EQ(model.model->params().find("classifier.bias")->latent[0].item<float>(), 1e6f);
}

TEST_F(Export, PackedHoldsWhatTheOtherFormatsDo) {
  for (const bool integers : {true, false}) {
    exports::LoadedModel model = quantised(integers ? with_tables(scheme(), 8) : nn::Json());
    {
      torch::NoGradGuard no_grad;
      model.model->params().find(matrix)->latent.slice(0, 0, 12).zero_();
    }
    const fs::path out = root_ / (integers ? "int8" : "dense");
    data::Split check = split();
    exports::Report report = exports::write("packed", model, source(), out, &check, nullptr);
    EXPECT_EQ(report.largest_difference, 0);
    EXPECT_FALSE(fs::exists(out / "model.safetensors"));
    EXPECT_EQ(report.weight_bytes, static_cast<int64_t>(fs::file_size(out / "model.packed")));
    exports::LoadedModel loaded = exports::load(out);
    EXPECT_TRUE(torch::equal(logits(loaded), logits(model)));
    EXPECT_TRUE(checkpoint::has_weights(out));
    const exports::Report other =
        exports::write(integers ? "compressed-tensors" : "huggingface", loaded, out,
                       root_ / (integers ? "i2" : "d2"), &check, nullptr);
    EXPECT_GT(other.zstd_bytes, 0);
    EXPECT_LT(report.weight_bytes, other.weight_bytes);
  }
}

TEST_F(Export, ActivationsAreQuantisedWhenReadBack) {
  exports::LoadedModel model = quantised(scheme());
  exports::write("compressed-tensors", model, source(), root_ / "int8", nullptr, nullptr);
  exports::write("huggingface", model, source(), root_ / "dense", nullptr, nullptr);
  exports::LoadedModel int8 = exports::load(root_ / "int8"), dense = exports::load(root_ / "dense");
  EXPECT_TRUE(torch::equal(int8.model->params().find(matrix)->latent,
                           dense.model->params().find(matrix)->latent));
  EXPECT_GT((logits(int8) - logits(dense)).abs().max().item<double>(), 0);
}

TEST_F(Export, OtherHeadsAreCompared) {
  data::Split check = split();
  for (auto [architecture, ignored] : {std::pair{"BertModel", "pooler.dense"},
                                       std::pair{"BertForMaskedLM", "cls.predictions.decoder"}}) {
    exports::LoadedModel model =
        exports::with_scheme(nn::build(tiny::state(architecture), 1), scheme());
    exports::Report report = exports::write("compressed-tensors", model, source(),
                                            root_ / architecture, &check, nullptr);
    EXPECT_EQ(report.largest_difference, 0);
    EXPECT_GT(report.scale, 0);
    EXPECT_EQ(report.rows, 6);
    EXPECT_TRUE(report.ours.name.empty());
    nn::Json names = checkpoint::read_json(root_ / architecture / "config.json")
                         .at("quantization_config")
                         .at("ignore");
    EXPECT_NE(std::find(names.begin(), names.end(), ignored), names.end()) << names.dump();
  }
}

TEST_F(Export, NothingAppearsWhenTheComparisonFails) {
  exports::LoadedModel model = exports::with_scheme(nn::build(tiny::state(), 1), nullptr);
  data::Split check = split();
  std::string text = tiny::error_of(ErrorKind::internal, [&] {
    exports::write("huggingface", model, source(), root_ / "out", &check, nullptr,
                   /*tolerance=*/-1);
  });
  EXPECT_NE(text.find("outputs differ by"), std::string::npos) << text;
  EXPECT_EQ(std::distance(fs::directory_iterator(root_), fs::directory_iterator()),
            1);  // the source alone
}

// A transform that the layout cannot know of: what a layer multiplies with is not what int8 weights
// give.
struct Doubling final : nn::WeightTransform {
  void forward(nn::Parameter&, torch::Tensor& weight) override { weight.mul_(2); }
  void backward(const nn::Parameter&, torch::Tensor&) override {}
};

TEST_F(Export, WeightsThatReadBackOtherwiseAreRefused) {
  exports::LoadedModel model = quantised(scheme());
  Doubling doubling;
  model.model->params().find(matrix)->transforms.push_back(&doubling);
  std::string text = tiny::error_of(ErrorKind::internal, [&] {
    exports::write("compressed-tensors", model, source(), root_ / "out", nullptr, nullptr);
  });
  EXPECT_NE(text.find(matrix + " differs"), std::string::npos) << text;
  EXPECT_FALSE(fs::exists(root_ / "out"));
}

TEST_F(Export, WrongRequestsAreErrorsOfTheRecipe) {
  exports::LoadedModel dense = exports::with_scheme(nn::build(tiny::state(), 1), nullptr);
  auto refused = [&](const std::string& format, exports::LoadedModel& model) {
    return tiny::error_of(ErrorKind::recipe, [&] {
      exports::write(format, model, source(), root_ / "out", nullptr, nullptr);
    });
  };
  EXPECT_NE(refused("compressed-tensors", dense).find("quantised weights"), std::string::npos);
  EXPECT_NE(refused("hugging_face", dense).find("did you mean 'huggingface'"), std::string::npos);
  nn::Json weights_only = scheme();
  weights_only["activations"] = nullptr;
  exports::LoadedModel half = quantised(weights_only);
  EXPECT_NE(refused("compressed-tensors", half).find("int8 activations"), std::string::npos);
  EXPECT_FALSE(fs::exists(root_ / "out"));
}

}  // namespace
}  // namespace compress
