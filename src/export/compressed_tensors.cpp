// compressed-tensors, format `int-quantized` (https://github.com/vllm-project/compressed-tensors,
// read against 0.20): for each quantised module <m> an I8 <m>.weight, a float32 <m>.weight_scale
// and, with static activations, <m>.input_scale. Embeddings are a group of their own, whose targets
// are expressions that end with the tables' names: int8 like the layers', int4 in words of 32 bits
// (`pack-quantized`) as <m>.weight_packed, <m>.weight_shape and <m>.weight_scale. Only keys that
// its readers have known for long are written: their argument classes refuse unknown ones.

#include <functional>

#include "compress/base/error.h"
#include "compress/base/log.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"
#include "compress/checkpoint/int4.h"
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

// The integers of a weight, computed when the first of its two tensors is written and let go with
// the second.
class Quantized {
 public:
  using Make = std::function<constraint::QuantizedWeight(const torch::Tensor&)>;
  // `make` where no scale is stored.
  Quantized(const nn::Parameter& parameter, torch::Tensor stored_scale, Make make)
      : parameter_(parameter), stored_scale_(std::move(stored_scale)), make_(std::move(make)) {}

  torch::Tensor values() {
    if (stored_scale_.defined()) {
      // A float32 quotient of fl(q * s) by s is nearer to q than half a step, so rounding gives q
      // back.
      result_.scale = stored_scale_;
      const torch::Tensor latent = parameter_.latent.detach().cpu();
      result_.values = (latent / stored_scale_).round_().clamp_(-128, 127).to(torch::kInt8);
    } else {
      result_ = make_(parameter_.latent);
    }
    return std::exchange(result_.values, {});
  }
  torch::Tensor scale() { return std::exchange(result_.scale, {}); }

 private:
  const nn::Parameter& parameter_;
  torch::Tensor stored_scale_;
  Make make_;
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

// A group of tables. The expressions end with a table's name, as readers know the modules with a
// prefix of the family or without.
nn::Json embedding_group(const LoadedModel& source, const nn::Json& embeddings) {
  nn::Json targets = nn::Json::array();
  for (const nn::Json& table : embeddings.at("tables")) {
    const std::string module =
        module_of(file_name(*source.model, table.get<std::string>() + std::string(weight_suffix)));
    targets.push_back("re:.*" + module.substr(module.rfind('.') + 1) + "$");
  }
  nn::Json how = {{"num_bits", embeddings.at("num_bits")},
                  {"type", "int"},
                  {"symmetric", true},
                  {"strategy", embeddings.at("strategy")},
                  {"dynamic", false}};
  if (embeddings.at("num_bits") == 4) how["group_size"] = embeddings.at("group_size");
  // Without a format readers take integers without integer inputs for packed ones.
  return {{"targets", targets},
          {"weights", how},
          {"input_activations", nullptr},
          {"output_activations", nullptr},
          {"format", embeddings.at("num_bits") == 4 ? "pack-quantized" : "int-quantized"}};
}

nn::Json quantization_config(const LoadedModel& source, const std::set<std::string>& quantised) {
  const nn::Json &weights = source.scheme.at("weights"),
                 &activations = source.scheme.at("activations");
  nn::Json groups = nn::Json::object();
  if (!weights.is_null())
    groups["group_0"] = {
        {"targets", nn::Json::array({"Linear"})},
        {"weights", arguments(weights, false)},
        {"input_activations", activations.is_null()
                                  ? nn::Json()
                                  : arguments(activations, activations.at("dynamic").get<bool>())},
        {"output_activations", nullptr}};
  std::string format = "int-quantized";
  if (const nn::Json embeddings = source.scheme.value("embeddings", nn::Json());
      !embeddings.is_null()) {
    nn::Json& group = groups[weights.is_null() ? "group_0" : "group_1"];
    group = embedding_group(source, embeddings);
    if (embeddings.at("num_bits") == 4) {
      format = weights.is_null() ? "pack-quantized" : "mixed-precision";
      if (!weights.is_null()) groups["group_0"]["format"] = "int-quantized";
    }
  }
  return {{"quant_method", "compressed-tensors"},
          {"format", format},
          {"quantization_status", "compressed"},
          {"config_groups", groups},
          {"ignore", ignored_modules(*source.model, quantised)},
          {"kv_cache_scheme", nullptr},
          {"global_compression_ratio", nullptr}};
}

// int4 or int8 of an embedding as the tensors that stand for it.
void add_table(const LoadedModel& source, const nn::Parameter& parameter,
               std::vector<checkpoint::Planned>& tensors) {
  const constraint::RowGrid grid = table_grid(source.scheme);
  auto table = std::make_shared<Quantized>(
      parameter, torch::Tensor(),
      [&source, &parameter](const torch::Tensor&) { return table_integers(source, parameter); });
  const std::string name = file_name(*source.model, parameter.name);
  const std::vector<int64_t> shape = parameter.latent.sizes().vec();
  const int64_t rows = shape[0], width = shape[1];
  if (grid.bits == 8) {
    tensors.push_back({name, torch::kInt8, shape, [table] { return table->values(); }});
  } else {
    tensors.push_back({name + "_packed", torch::kInt32, {rows, (width + 7) / 8}, [table] {
                         return checkpoint::pack_int4(table->values());
                       }});
    tensors.push_back({name + "_shape", torch::kInt64, {2}, [rows, width] {
                         return torch::tensor({rows, width}, torch::kInt64);
                       }});
  }
  tensors.push_back(
      {name + "_scale", torch::kFloat32, {rows, grid.bits == 8 ? 1 : width / grid.group}, [table] {
         return table->scale();
       }});
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
  if (quantised.embeddings && !quantised.weights && !quantised.activations) return;
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
  if (const std::string why = unread_embeddings(source); !why.empty())
    log::warn(
        str("transformers loads the integers of this model's embeddings and fails in the first "
            "forward pass (compressed-tensors 0.20): ",
            why, ". This program reads the folder; for others export huggingface, too"));
  write_integers(source, target);
}

void write_integers(const LoadedModel& source, const Target& target) {
  if (!source.model->config().attachments.empty())
    throw Error(ErrorKind::recipe,
                "the format compressed-tensors has no place for what is attached to the model", {},
                "merge it before the model is quantised");
  const nn::Json& scheme = source.scheme;
  const nn::Json &weights = scheme.at("weights"), &activations = scheme.at("activations");
  const auto granularity = constraint::parse_granularity(
      weights.is_null() ? "channel" : weights.at("strategy").get<std::string>());
  const bool static_inputs = !activations.is_null() && !activations.at("dynamic").get<bool>();
  const std::set<std::string> tables = tables_in(scheme);
  std::set<std::string> quantised;
  for (const nn::Json& module : weights.is_null() ? nn::Json::array() : scheme.at("modules"))
    quantised.insert(module.get<std::string>() + std::string(weight_suffix));
  check_modules(source, quantised);
  std::vector<checkpoint::Planned> tensors;
  for (const nn::Parameter& parameter : source.model->params().list()) {
    if (checkpoint::is_projection(parameter.name)) continue;
    std::string name = file_name(*source.model, parameter.name);
    std::vector<int64_t> shape = parameter.latent.sizes().vec();
    if (tables.contains(parameter.name)) {
      add_table(source, parameter, tensors);
      continue;
    }
    if (!quantised.contains(parameter.name)) {
      tensors.push_back(dense(*source.model, parameter, target.rest));
      continue;
    }
    auto weight = std::make_shared<Quantized>(
        parameter, known_scale(source, parameter), [granularity](const torch::Tensor& matrix) {
          return constraint::quantize_weight(matrix, granularity);
        });
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
  nn::Json config = config_of(source, target);
  config["quantization_config"] = quantization_config(source, quantised);
  checkpoint::write_folder(tensors, config, target.folder);
  checkpoint::write_sentence_modules(*source.model, target.folder, /*effective=*/true);
}

}  // namespace compress::exports
