#include "quantized.h"

#include "compress/base/error.h"
#include "compress/base/strings.h"

namespace compress::checkpoint {

using storage::Dtype;
using storage::TensorView;

namespace {

constexpr std::string_view weight_suffix = ".weight";

[[noreturn]] void unsupported(const std::string& what, const std::filesystem::path& place) {
  throw Error(ErrorKind::model, "quantization_config: " + what, place.string(),
              "supported: compressed-tensors, format int-quantized, symmetric 8-bit integers, "
              "weights by channel or tensor, "
              "activations dynamic by token or static by tensor");
}

const nn::Json& member(const nn::Json& object, const char* key) {
  static const nn::Json null;
  auto found = object.find(key);
  return found == object.end() ? null : *found;
}

bool symmetric_int8(const nn::Json& args) {
  const nn::Json& symmetric = member(args, "symmetric");
  return args.is_object() && member(args, "num_bits") == 8 &&
         (member(args, "type").is_null() || args["type"] == "int") &&
         (symmetric.is_null() || symmetric == true);
}

// {"strategy": ...} of weights; asserts nothing about other keys, which only observers read.
nn::Json weights_of(const nn::Json& group) {
  return {{"strategy", member(group["weights"], "strategy") == "tensor" ? "tensor" : "channel"}};
}

nn::Json activations_of(const nn::Json& group) {
  const nn::Json& args = member(group, "input_activations");
  if (args.is_null()) return nullptr;
  bool dynamic = member(args, "dynamic") == true;
  return {{"strategy", dynamic ? "token" : "tensor"}, {"dynamic", dynamic}};
}

void check_group(const nn::Json& group, const std::filesystem::path& place) {
  if (!group.is_object()) unsupported("a config group is not an object", place);
  const nn::Json& weights = member(group, "weights");
  const nn::Json& inputs = member(group, "input_activations");
  const nn::Json& strategy = member(weights, "strategy");
  if (!symmetric_int8(weights) || (strategy != "channel" && strategy != "tensor"))
    unsupported("weights " + weights.dump(), place);
  if (!inputs.is_null() &&
      (!symmetric_int8(inputs) ||
       (member(inputs, "dynamic") == true ? member(inputs, "strategy") != "token"
                                          : member(inputs, "strategy") != "tensor")))
    unsupported("input_activations " + inputs.dump(), place);
  if (!member(group, "output_activations").is_null()) unsupported("output_activations", place);
}

const nn::Json& first_group(const nn::Json& block) {
  return member(block, "config_groups").front();
}

}  // namespace

void check_quantization(const nn::Json& block, const std::filesystem::path& place) {
  if (block.is_null()) return;
  if (!block.is_object() || member(block, "quant_method") != "compressed-tensors")
    unsupported("quant_method " + member(block, "quant_method").dump(), place);
  if (member(block, "format") != "int-quantized")
    unsupported("format " + member(block, "format").dump(), place);
  const nn::Json& groups = member(block, "config_groups");
  if (!groups.is_object() || groups.empty()) unsupported("config_groups are missing", place);
  for (const nn::Json& group : groups) {
    check_group(group, place);
    if (weights_of(group) != weights_of(groups.front()) ||
        activations_of(group) != activations_of(groups.front()))
      unsupported("config groups that differ", place);
  }
  if (!member(block, "kv_cache_scheme").is_null()) unsupported("kv_cache_scheme", place);
}

bool is_quantization_extra(const std::string& name) {
  for (const char* suffix :
       {".weight_scale", ".weight_zero_point", ".input_scale", ".input_zero_point"})
    if (ends_with(name, suffix)) return true;
  return false;
}

void attach_extras(Folder& folder,
                   const std::vector<std::pair<std::string, const TensorView*>>& extras,
                   Findings& findings) {
  if (folder.config.quantization.is_null()) return;
  const nn::Json& group = first_group(folder.config.quantization);
  const bool by_channel = weights_of(group)["strategy"] == "channel";
  const nn::Json activations = activations_of(group);
  for (const auto& [name, stored] : extras) {
    std::string weight = name.substr(0, name.rfind('.')) + std::string(weight_suffix);
    auto found = folder.weights.find(weight);
    if (found == folder.weights.end() || found->second.transposed ||
        found->second.values->dtype != Dtype::i8 || found->second.values->shape.size() != 2) {
      findings.add(str(storage::shown_name(name), " belongs to no I8 matrix"));
      continue;
    }
    if (ends_with(name, "zero_point")) continue;  // all zero: the scheme is symmetric
    bool floating =
        stored->dtype == Dtype::f32 || stored->dtype == Dtype::f16 || stored->dtype == Dtype::bf16;
    const int64_t rows = found->second.values->shape[0];
    const bool input = ends_with(name, ".input_scale");
    bool fits = !input && by_channel ? stored->shape == std::vector<int64_t>{rows, 1}
                                     : stored->elements() == 1;
    if (!floating || !fits) {
      findings.add(compress::str(
          storage::shown_name(name), " is ", storage::dtype_name(stored->dtype), " ",
          at::IntArrayRef(stored->shape), ", which does not fit its weight and the config"));
    } else if (input) {
      folder.input_scales[weight] = stored;
    } else {
      found->second.scale = stored;
    }
  }
  if (!activations.is_null() && activations["dynamic"] == false)
    for (const auto& [name, source] : folder.weights)
      if (source.scale != nullptr && !folder.input_scales.contains(name))
        findings.add(name + " has no input_scale");
}

nn::Json scheme_of(const Folder& folder) {
  if (folder.config.quantization.is_null()) return nullptr;
  const nn::Json& group = first_group(folder.config.quantization);
  nn::Json scheme = {
      {"num_bits", 8}, {"weights", weights_of(group)}, {"activations", activations_of(group)}};
  nn::Json modules = nn::Json::array(), scales = nn::Json::object();
  for (const auto& [name, source] : folder.weights) {
    if (source.scale == nullptr) continue;
    std::string module = name.substr(0, name.size() - weight_suffix.size());
    modules.push_back(module);
    if (auto scale = folder.input_scales.find(name); scale != folder.input_scales.end())
      scales[module] = view(*scale->second).to(torch::kFloat32).item<float>();
  }
  scheme["modules"] = modules;
  if (!scheme["activations"].is_null() && scheme["activations"]["dynamic"] == false)
    scheme["input_scales"] = scales;
  return scheme;
}

}  // namespace compress::checkpoint
