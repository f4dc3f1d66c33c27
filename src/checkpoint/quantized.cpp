#include "quantized.h"

#include <algorithm>
#include <set>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "quantized_config.h"

namespace compress::checkpoint {

using storage::Dtype;
using storage::TensorView;

namespace {

constexpr std::string_view weight_suffix = ".weight";

}  // namespace

bool is_quantization_extra(const std::string& name) {
  for (const char* suffix : {".weight_scale", ".weight_zero_point", ".input_scale",
                             ".input_zero_point", ".weight_packed", ".weight_shape"})
    if (ends_with(name, suffix)) return true;
  return false;
}

namespace {

std::string weight_of(const std::string& extra) {
  return extra.substr(0, extra.rfind('.')) + std::string(weight_suffix);
}

using Extras = std::vector<std::pair<std::string, const TensorView*>>;

// The embeddings whose integers of four bits lie in words.
void add_packed(Folder& folder, const Extras& extras, const std::set<std::string>& tables,
                Findings& findings) {
  for (const auto& [name, words] : extras) {
    if (!ends_with(name, ".weight_packed")) continue;
    const std::string weight = weight_of(name);
    const auto shape =
        std::find_if(extras.begin(), extras.end(),
                     [stem = weight + "_shape"](const auto& extra) { return extra.first == stem; });
    if (!tables.contains(weight) || folder.weights.contains(weight) || shape == extras.end() ||
        shape->second->dtype != Dtype::i64 || shape->second->elements() != 2 ||
        words->dtype != Dtype::i32 || words->shape.size() != 2) {
      findings.add(storage::shown_name(name) + " is no embedding of four bits with its shape");
      continue;
    }
    const torch::Tensor sizes = view(*shape->second).flatten();
    const auto rows = sizes[0].item<int64_t>(), width = sizes[1].item<int64_t>();
    const int64_t count = words->shape[1];
    if (rows != words->shape[0] || width < 1 || width > 8 * count || width <= 8 * (count - 1)) {
      findings.add(compress::str(storage::shown_name(name), " is ", at::IntArrayRef(words->shape),
                                 ", which does not hold the [", rows, ", ", width,
                                 "] of its weight_shape"));
      continue;
    }
    folder.weights[weight] = {words, nullptr, false, {}, width};
  }
}

}  // namespace

void attach_extras(Folder& folder,
                   const std::vector<std::pair<std::string, const TensorView*>>& extras,
                   Findings& findings) {
  if (folder.config.quantization.is_null()) return;
  const Groups groups = groups_of(folder.config);
  const bool by_channel =
      groups.layers == nullptr || weights_of(*groups.layers)["strategy"] == "channel";
  const nn::Json activations =
      groups.layers == nullptr ? nn::Json() : activations_of(*groups.layers);
  const nn::Json rows_as = groups.embeddings == nullptr ? nn::Json() : rows_of(*groups.embeddings);
  std::set<std::string> tables;
  for (const std::string& table : tables_of(folder.config.config))
    if (!rows_as.is_null()) tables.insert(table + std::string(weight_suffix));
  if (!rows_as.is_null() && rows_as["num_bits"] == 4) add_packed(folder, extras, tables, findings);
  for (const auto& [name, stored] : extras) {
    if (ends_with(name, ".weight_packed") || ends_with(name, ".weight_shape")) {
      if (!folder.weights.contains(weight_of(name)))
        findings.add(storage::shown_name(name) + " belongs to no embedding of four bits");
      continue;
    }
    std::string weight = weight_of(name);
    auto found = folder.weights.find(weight);
    const bool packed = found != folder.weights.end() && found->second.width > 0;
    if (found == folder.weights.end() || found->second.transposed ||
        (found->second.values->dtype != Dtype::i8 && !packed) ||
        found->second.values->shape.size() != 2) {
      findings.add(str(storage::shown_name(name), " belongs to no I8 matrix"));
      continue;
    }
    if (ends_with(name, "zero_point")) continue;  // all zero: the scheme is symmetric
    bool floating =
        stored->dtype == Dtype::f32 || stored->dtype == Dtype::f16 || stored->dtype == Dtype::bf16;
    const int64_t rows = found->second.values->shape[0];
    const bool input = ends_with(name, ".input_scale"), table = tables.contains(weight);
    bool fits = !input && (by_channel || table) ? stored->shape == std::vector<int64_t>{rows, 1}
                                                : stored->elements() == 1;
    if (packed)
      fits = !input && stored->shape.size() == 2 && stored->shape[0] == rows &&
             stored->shape[1] * rows_as["group_size"].get<int64_t>() == found->second.width;
    else if (table && rows_as["num_bits"] == 4)
      fits = false;
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
      if (source.scale != nullptr && !tables.contains(name) && !folder.input_scales.contains(name))
        findings.add(name + " has no input_scale");
}

nn::Json scheme_of(const Folder& folder) {
  if (folder.config.quantization.is_null()) return nullptr;
  const Groups groups = groups_of(folder.config);
  nn::Json scheme = {{"num_bits", 8}, {"weights", nullptr}, {"activations", nullptr}};
  if (groups.layers != nullptr) {
    scheme["weights"] = weights_of(*groups.layers);
    scheme["activations"] = activations_of(*groups.layers);
  }
  const std::vector<std::string> names = tables_of(folder.config.config);
  const std::set<std::string> tables(names.begin(), names.end());
  nn::Json modules = nn::Json::array(), scales = nn::Json::object(), held = nn::Json::array();
  for (const auto& [name, source] : folder.weights) {
    if (source.scale == nullptr) continue;
    std::string module = name.substr(0, name.size() - weight_suffix.size());
    if (groups.embeddings != nullptr && tables.contains(module)) {
      held.push_back(module);
      continue;
    }
    modules.push_back(module);
    if (auto scale = folder.input_scales.find(name); scale != folder.input_scales.end())
      scales[module] = view(*scale->second).to(torch::kFloat32).item<float>();
  }
  scheme["modules"] = modules;
  if (!held.empty()) {
    scheme["embeddings"] = rows_of(*groups.embeddings);
    scheme["embeddings"]["tables"] = held;
  }
  if (!scheme["activations"].is_null() && scheme["activations"]["dynamic"] == false)
    scheme["input_scales"] = scales;
  return scheme;
}

}  // namespace compress::checkpoint
