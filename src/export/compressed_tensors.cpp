// compressed-tensors, format `int-quantized` (https://github.com/vllm-project/compressed-tensors,
// read against 0.20): for each quantised module <m> an I8 <m>.weight, a float32 <m>.weight_scale
// and, with static activations, <m>.input_scale. Only keys that its readers have known for long are
// written: their argument classes refuse unknown ones.

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"
#include "compress/checkpoint/sentence.h"
#include "compress/constraint/quantize.h"
#include "compress/nn/architecture.h"
#include "formats.h"

namespace compress::exports {

namespace {

using nn::HeadKind;

constexpr std::string_view weight_suffix = ".weight";

std::string module_of(const std::string& weight) {
  return weight.substr(0, weight.size() - weight_suffix.size());
}

// The int8 form of a weight, computed when the first of its two tensors is written and let go with
// the second.
class Quantized {
 public:
  Quantized(const nn::Parameter& parameter, torch::Tensor stored_scale,
            constraint::Granularity granularity)
      : parameter_(parameter), stored_scale_(std::move(stored_scale)), granularity_(granularity) {}

  torch::Tensor values() {
    if (stored_scale_.defined()) {
      // A float32 quotient of fl(q * s) by s is nearer to q than half a step, so rounding gives q
      // back.
      result_.scale = stored_scale_;
      result_.values = (parameter_.latent.detach().cpu() / stored_scale_)
                           .round_()
                           .clamp_(-128, 127)
                           .to(torch::kInt8);
    } else {
      result_ = constraint::quantize_weight(parameter_.latent, granularity_);
    }
    return std::exchange(result_.values, {});
  }
  torch::Tensor scale() { return std::exchange(result_.scale, {}); }

 private:
  const nn::Parameter& parameter_;
  torch::Tensor stored_scale_;
  constraint::Granularity granularity_;
  constraint::QuantizedWeight result_;
};

// The scale of a weight that does not follow from it: of a file that was read, or of a range that
// widened. Undefined where it does.
torch::Tensor known_scale(const LoadedModel& source, const nn::Parameter& parameter) {
  auto stored = source.weight_scales.find(parameter.name);
  if (stored != source.weight_scales.end()) return stored->second;
  const nn::Json& scheme = source.scheme;
  if (!scheme.contains("weight_scales")) return {};
  const auto each = scheme["weight_scales"].at(module_of(parameter.name)).get<std::vector<float>>();
  const torch::Tensor scales = torch::tensor(each);
  return scheme["weights"]["strategy"] == "channel" ? scales.unsqueeze(1) : scales;
}

nn::Json arguments(const nn::Json& part, bool dynamic) {
  return {{"num_bits", 8},
          {"type", "int"},
          {"symmetric", true},
          {"strategy", part.at("strategy")},
          {"dynamic", dynamic}};
}

// Linear layers of the Hugging Face model that stay as they are. Those that our model has no matrix
// for (the tied decoder of a masked LM, the pooler that BertModel always makes) would be taken for
// quantised ones otherwise.
nn::Json ignored_modules(const nn::Model& model, const std::set<std::string>& quantised) {
  std::set<std::string> names;
  for (const nn::Parameter& parameter : model.params().list())
    if (parameter.is_matrix() && !quantised.contains(parameter.name) &&
        !checkpoint::is_projection(parameter.name))
      names.insert(module_of(file_name(model, parameter.name)));
  const nn::HeadPlan head = nn::architecture(model.config()).head;
  if (head.out_tied) names.insert(head.out);
  const HeadKind kind = model.config().head;
  if (!head.pooler.empty() && (kind == HeadKind::none || kind == HeadKind::embedding) &&
      !quantised.contains(head.pooler + ".weight"))
    names.insert(head.pooler);
  return names;
}

nn::Json quantization_config(const LoadedModel& source, const std::set<std::string>& quantised) {
  const nn::Json& activations = source.scheme.at("activations");
  nn::Json group = {
      {"targets", nn::Json::array({"Linear"})},
      {"weights", arguments(source.scheme.at("weights"), false)},
      {"input_activations", arguments(activations, activations.at("dynamic").get<bool>())},
      {"output_activations", nullptr}};
  nn::Json groups = nn::Json::object();
  groups["group_0"] = group;
  return {{"quant_method", "compressed-tensors"},
          {"format", "int-quantized"},
          {"quantization_status", "compressed"},
          {"config_groups", groups},
          {"ignore", ignored_modules(*source.model, quantised)},
          {"kv_cache_scheme", nullptr},
          {"global_compression_ratio", nullptr}};
}

Quantised quantised_in(const nn::Json& scheme) {
  auto has = [&](const char* key) {
    return scheme.is_object() && scheme.contains(key) && !scheme[key].is_null();
  };
  const bool affine = has("activations") && scheme["activations"].value("symmetric", true) == false;
  return {has("weights"), has("activations"), affine, has("output_scales")};
}

// Modules whose int8 weights no reader of the format would read as they are meant.
void check_modules(const LoadedModel& source, const std::set<std::string>& quantised) {
  const nn::Family& family = nn::family(source.model->config().family);
  for (const std::string& weight : quantised) {
    if (checkpoint::is_projection(weight))
      throw Error(
          ErrorKind::recipe,
          "the format compressed-tensors has no place for the int8 weights of the embedding "
          "head's projection",
          {}, "leave it out of the quantization (include: [encoder])");
    if (family.is_transposed(weight))
      throw Error(ErrorKind::recipe,
                  str("the format compressed-tensors cannot hold the int8 weights of ",
                      family.model_type, ": its layers (", module_of(weight),
                      ") are Conv1D in transformers, which compressed-tensors does not quantise"),
                  {}, "export the format huggingface: dense weights on the int8 grid");
  }
}

}  // namespace

void check_compressed_tensors(Quantised quantised) {
  if (!quantised.weights)
    throw Error(ErrorKind::recipe,
                "the format compressed-tensors needs a model with quantised weights", {},
                "train it with `quantization: {weights: int8}` or export the format huggingface");
  if (!quantised.activations)
    throw Error(ErrorKind::recipe,
                "the format compressed-tensors needs int8 activations beside int8 weights", {},
                "train with `quantization: {weights: int8, activations: int8}` or export the "
                "format huggingface");
  auto refuse = [](const std::string& what) {
    throw Error(ErrorKind::recipe, "the format compressed-tensors is written without " + what, {},
                "train with int8 activations and whole outputs, or export the format huggingface: "
                "dense weights on the int8 grid");
  };
  if (quantised.affine) refuse("affine inputs (activations: uint8)");
  if (quantised.outputs) refuse("requantised outputs (outputs: uint8)");
}

void write_compressed_tensors(const LoadedModel& source, const Target& target) {
  check_compressed_tensors(quantised_in(source.scheme));
  if (!source.model->config().attachments.empty())
    throw Error(ErrorKind::recipe,
                "the format compressed-tensors has no place for what is attached to the model", {},
                "merge it before the model is quantised");
  const nn::Json& scheme = source.scheme;
  const constraint::Granularity granularity =
      constraint::parse_granularity(scheme.at("weights").at("strategy").get<std::string>());
  const bool static_inputs = !scheme.at("activations").at("dynamic").get<bool>();
  std::set<std::string> quantised;
  for (const nn::Json& module : scheme.at("modules"))
    quantised.insert(module.get<std::string>() + std::string(weight_suffix));
  check_modules(source, quantised);
  std::vector<checkpoint::Planned> tensors;
  for (const nn::Parameter& parameter : source.model->params().list()) {
    if (checkpoint::is_projection(parameter.name)) continue;
    std::string name = file_name(*source.model, parameter.name);
    std::vector<int64_t> shape = parameter.latent.sizes().vec();
    if (!quantised.contains(parameter.name)) {
      tensors.push_back(dense(*source.model, parameter));
      continue;
    }
    auto weight =
        std::make_shared<Quantized>(parameter, known_scale(source, parameter), granularity);
    bool channel = granularity == constraint::Granularity::channel;
    tensors.push_back({name, torch::kInt8, shape, [weight] { return weight->values(); }});
    tensors.push_back({name + "_scale", torch::kFloat32,
                       channel ? std::vector<int64_t>{shape[0], 1} : std::vector<int64_t>{1},
                       [weight] { return weight->scale(); }});
    if (static_inputs) {
      auto scale = scheme.at("input_scales").at(module_of(parameter.name)).get<float>();
      tensors.push_back({module_of(name) + ".input_scale", torch::kFloat32, {1}, [scale] {
                           return torch::full({1}, scale);
                         }});
    }
  }
  nn::Json config = checkpoint::config_json(*source.model);
  config["quantization_config"] = quantization_config(source, quantised);
  checkpoint::write_folder(tensors, config, target.folder);
  checkpoint::write_sentence_modules(*source.model, target.folder, /*effective=*/true);
}

}  // namespace compress::exports
