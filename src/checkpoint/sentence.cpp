#include "compress/checkpoint/sentence.h"

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"
#include "compress/nn/architecture.h"
#include "folder.h"
#include "tensors.h"

namespace compress::checkpoint {

namespace fs = std::filesystem;

namespace {

constexpr const char* modules_file = "modules.json";
constexpr const char* identity = "torch.nn.modules.linear.Identity";
constexpr std::string_view prefix = "projection.";
constexpr uint64_t json_limit = 1'000'000;

nn::Json module(int number, const std::string& path, const std::string& type) {
  return {{"idx", number},
          {"name", str(number)},
          {"path", path},
          {"type", "sentence_transformers.models." + type}};
}

nn::Json pooling_json(const nn::ModelConfig& config) {
  return {{"word_embedding_dimension", config.hidden_size},
          {"pooling_mode_cls_token", config.pooling == "cls"},
          {"pooling_mode_mean_tokens", config.pooling == "mean"},
          {"pooling_mode_max_tokens", false},
          {"pooling_mode_mean_sqrt_len_tokens", false}};
}

void write_json(const fs::path& file, const nn::Json& json) {
  write_file(file, json.dump(2) + "\n");
}

void write_dense(const nn::Model& model, const fs::path& folder, bool effective) {
  torch::NoGradGuard no_grad;
  make_folder(folder);
  nn::TensorMap tensors;
  for (const nn::Parameter& parameter : model.params().list())
    if (is_projection(parameter.name))
      tensors["linear." + parameter.name.substr(prefix.size())] =
          ((effective ? parameter.effective : parameter.latent).detach().cpu() + 0).contiguous();
  std::vector<storage::TensorInfo> infos;
  for (const auto& [name, tensor] : tensors)
    infos.push_back({name, storage::Dtype::f32, tensor.sizes().vec()});
  storage::SafetensorsWriter writer(folder / "model.safetensors", std::move(infos));
  for (const auto& [name, tensor] : tensors) writer.write(name, bytes_of(tensor));
  writer.commit();
  write_json(folder / "config.json", {{"in_features", model.config().hidden_size},
                                      {"out_features", model.config().projection},
                                      {"bias", tensors.contains("linear.bias")},
                                      {"activation_function", identity}});
}

[[noreturn]] void refuse(const fs::path& place, const std::string& what) {
  throw Error(ErrorKind::model, what, place.string(),
              str("to use the transformer alone, take ", modules_file, " away"));
}

// A module's folder inside the model's: one name, not a way out.
fs::path inside(const fs::path& folder, const nn::Json& entry) {
  const auto path = entry.find("path");
  const std::string name = path != entry.end() && path->is_string() ? path->get<std::string>() : "";
  if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos ||
      name.find('\0') != std::string::npos)
    refuse(folder / modules_file, "a module's path is not a folder of the model");
  return folder / name;
}

// "mean", "cls", or nothing for another kind of pooling.
std::string pooling_of(const nn::Json& json) {
  if (!json.is_object()) return "";
  if (auto mode = json.find("pooling_mode"); mode != json.end() && mode->is_string())
    return *mode == "mean" || *mode == "cls" ? mode->get<std::string>() : "";
  std::vector<std::string> on;
  for (const auto& [key, value] : json.items())
    if (starts_with(key, "pooling_mode_") && value == true) on.push_back(key);
  if (on == std::vector<std::string>{"pooling_mode_mean_tokens"}) return "mean";
  if (on == std::vector<std::string>{"pooling_mode_cls_token"}) return "cls";
  return "";
}

void read_dense(const fs::path& folder, ConfigFile& file) {
  const fs::path place = folder / "config.json";
  const nn::Json json = read_json(place, json_limit);
  const nn::Json activation =
      json.is_object() ? json.value("activation_function", nn::Json(identity)) : nn::Json();
  if (!activation.is_string() || !ends_with(activation.get<std::string>(), "Identity"))
    refuse(place, "a Dense module with the activation " + activation.dump() + " is not supported");
  const nn::Json size = json.value("out_features", nn::Json());
  if (!size.is_number_integer() || size.get<int64_t>() < 1 || size.get<int64_t>() > 1 << 24)
    refuse(place, "out_features must be a positive number");
  file.config.projection = size.get<int64_t>();
  file.dense = folder;
}

}  // namespace

bool is_projection(std::string_view canonical) {
  return starts_with(canonical, prefix);
}

void write_sentence_modules(const nn::Model& model, const fs::path& folder, bool effective) {
  const nn::ModelConfig& config = model.config();
  if (config.head != nn::HeadKind::embedding) {
    std::error_code ignored;
    fs::remove(folder / modules_file, ignored);
    return;
  }
  nn::Json modules = {module(0, "", "Transformer"), module(1, "1_Pooling", "Pooling")};
  make_folder(folder / "1_Pooling");
  write_json(folder / "1_Pooling" / "config.json", pooling_json(config));
  if (config.projection > 0) {
    write_dense(model, folder / "2_Dense", effective);
    modules.push_back(module(2, "2_Dense", "Dense"));
  }
  const int64_t longest = nn::longest_row(config);
  nn::Json how = {{"max_seq_length", nullptr}, {"do_lower_case", false}};
  if (longest < int64_t{1} << 20) how["max_seq_length"] = longest;
  write_json(folder / "sentence_bert_config.json", how);
  write_json(folder / modules_file, modules);
}

void read_sentence_modules(const fs::path& folder, ConfigFile& file) {
  const fs::path place = folder / modules_file;
  std::error_code ignored;
  const nn::HeadKind head = file.config.head;
  if ((head != nn::HeadKind::none && head != nn::HeadKind::embedding) ||
      !fs::exists(place, ignored))
    return;
  const nn::Json modules = read_json(place, json_limit);
  if (!modules.is_array()) refuse(place, "must be a list of modules");
  std::string pooling;
  for (const nn::Json& entry : modules) {
    const nn::Json type = entry.is_object() ? entry.value("type", nn::Json()) : nn::Json();
    if (!type.is_string()) refuse(place, "a module has no type");
    const auto name = type.get<std::string>();
    if (ends_with(name, ".Pooling"))
      pooling = pooling_of(read_json(inside(folder, entry) / "config.json", json_limit));
    if (!ends_with(name, ".Dense")) continue;
    if (!file.dense.empty()) refuse(place, "several Dense modules are not supported");
    read_dense(inside(folder, entry), file);
  }
  if (!pooling.empty()) file.config.pooling = pooling;
  if (file.dense.empty()) return;
  if (pooling.empty()) refuse(place, "of poolings mean and cls are supported");
  file.config.head = nn::HeadKind::embedding;
}

}  // namespace compress::checkpoint
