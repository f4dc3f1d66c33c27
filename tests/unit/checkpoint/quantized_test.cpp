#include "unit/checkpoint/tiny.h"

namespace compress {
namespace {

const std::string module_name = "encoder.layer.1.output.dense";

class Quantized : public tiny::Scratch {
 protected:
  nn::Json args(const std::string& strategy, bool dynamic) {
    return {{"num_bits", 8},
            {"type", "int"},
            {"symmetric", true},
            {"strategy", strategy},
            {"dynamic", dynamic}};
  }
  nn::Json block(const std::string& weights = "channel", bool dynamic = true) {
    nn::Json group = {{"targets", nn::Json::array({"Linear"})},
                      {"weights", args(weights, false)},
                      {"input_activations", args(dynamic ? "token" : "tensor", dynamic)},
                      {"output_activations", nullptr}};
    nn::Json groups = nn::Json::object();
    groups["group_0"] = group;
    return {{"quant_method", "compressed-tensors"},
            {"format", "int-quantized"},
            {"config_groups", groups}};
  }
  // The tiny model with one matrix of int8 values.
  nn::TensorMap tensors(torch::Tensor scale) {
    nn::TensorMap named = tiny::tensors();
    named[module_name + ".weight"] = values_;
    named[module_name + ".weight_scale"] = std::move(scale);
    return named;
  }
  void write(const nn::TensorMap& named, const nn::Json& quantization) {
    nn::Json json = tiny::config();
    json["quantization_config"] = quantization;
    tiny::write(root_, named, json);
  }
  std::string failure() {
    return tiny::error_of(ErrorKind::model, [&] { checkpoint::load_model(root_); });
  }
  static bool has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  }

  torch::Tensor values_ = (torch::arange(128).reshape({8, 16}) - 64).to(torch::kInt8);
};

TEST_F(Quantized, WeightsAreValuesTimesScale) {
  torch::Tensor scale = torch::arange(1, 9).to(torch::kFloat32).unsqueeze(1) /
                        64;  // powers of two keep products exact
  write(tensors(scale), block());
  nn::ModelState state = checkpoint::load_model(root_);
  // Row 2, column 3: value 2 * 16 + 3 - 64 = -29, scale 3 / 64.
  EXPECT_EQ((state.tensors.at(module_name + ".weight")[2][3].item<float>()), -29 * 3 / 64.0f);
  EXPECT_TRUE(
      torch::equal(state.tensors.at(module_name + ".weight"), values_.to(torch::kFloat32) * scale));
  EXPECT_TRUE(torch::equal(state.weight_scales.at(module_name + ".weight"), scale));
  EXPECT_EQ(state.tensors.size(), tiny::tensors().size());
  EXPECT_FALSE(state.config.raw.contains("quantization_config"));
  EXPECT_EQ(state.quantization,
            (nn::Json{{"num_bits", 8},
                      {"weights", {{"strategy", "channel"}}},
                      {"activations", {{"strategy", "token"}, {"dynamic", true}}},
                      {"modules", nn::Json::array({module_name})}}));
}

TEST_F(Quantized, ReadsTensorScalesAndStaticInputs) {
  nn::TensorMap named = tensors(torch::full({1}, 0.25));
  named[module_name + ".input_scale"] = torch::full({1}, 0.5);
  write(named, block("tensor", false));
  nn::ModelState state = checkpoint::load_model(root_);
  EXPECT_TRUE(
      torch::equal(state.tensors.at(module_name + ".weight"), values_.to(torch::kFloat32) * 0.25));
  EXPECT_EQ(state.quantization.at("activations"),
            (nn::Json{{"strategy", "tensor"}, {"dynamic", false}}));
  EXPECT_EQ(state.quantization.at("input_scales").at(module_name), 0.5);
}

TEST_F(Quantized, RefusesWhatDoesNotFit) {
  write(tensors(torch::ones({4, 1})), block());
  EXPECT_TRUE(has(failure(), "weight_scale' is F32 [4, 1]"));
  write(tensors(torch::ones({8, 1})), block("tensor"));
  EXPECT_TRUE(has(failure(), "does not fit its weight"));
  write(tensors(torch::ones({1})), block("tensor", false));
  EXPECT_TRUE(has(failure(), "has no input_scale"));
  nn::TensorMap named = tensors(torch::ones({8, 1}));
  named.erase(module_name + ".weight_scale");
  write(named, block());
  EXPECT_TRUE(has(failure(), "has type I8"));
  named = tiny::tensors();
  write(named, block());
  EXPECT_TRUE(has(failure(), "no weight has a weight_scale"));
  named[module_name + ".weight_scale"] = torch::ones({8, 1});
  write(named, block());
  EXPECT_TRUE(has(failure(), "belongs to no I8 matrix"));
}

TEST_F(Quantized, RefusesOtherSchemes) {
  nn::TensorMap named = tensors(torch::ones({8, 1}));
  auto expect_refused = [&](const nn::Json& quantization, const std::string& part) {
    write(named, quantization);
    std::string text = failure();
    EXPECT_TRUE(has(text, part) && has(text, "int-quantized")) << text;
  };
  nn::Json other = block();
  other["quant_method"] = "gptq";
  expect_refused(other, "gptq");
  other = block();
  other["format"] = "pack-quantized";
  expect_refused(other, "pack-quantized");
  other = block();
  other["config_groups"]["group_0"]["weights"]["num_bits"] = 4;
  expect_refused(other, "num_bits");
  other = block();
  other["config_groups"]["group_0"]["weights"]["symmetric"] = false;
  expect_refused(other, "symmetric");
  other = block();
  other["config_groups"]["group_0"]["input_activations"]["strategy"] = "group";
  expect_refused(other, "input_activations");
  other = block();
  other["config_groups"]["group_1"] = block("tensor")["config_groups"]["group_0"];
  expect_refused(other, "groups that differ");
  other = block();
  other["config_groups"] = nn::Json::object();
  expect_refused(other, "config_groups");
  expect_refused(nn::Json("int8"), "quant_method");
}

}  // namespace
}  // namespace compress
