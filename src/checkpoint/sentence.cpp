#include "compress/checkpoint/sentence.h"

#include <algorithm>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/log.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"
#include "compress/nn/architecture.h"
#include "compress/nn/pooling.h"
#include "folder.h"
#include "tensors.h"

namespace compress::checkpoint {

namespace fs = std::filesystem;

namespace {

constexpr const char* modules_file = "modules.json";
constexpr const char* identity = "torch.nn.modules.linear.Identity";
constexpr std::string_view prefix = "projection.";
constexpr const char* pooling_file = "1_Pooling/config.json";
constexpr const char* transformer_file = "sentence_bert_config.json";
constexpr const char* sentence_file = "config_sentence_transformers.json";
constexpr uint64_t json_limit = 1'000'000;

// What a Pooling module's older files call the modes, in the order of nn::pooling_modes().
constexpr const char* switches[] = {
    "pooling_mode_cls_token",           "pooling_mode_max_tokens",
    "pooling_mode_mean_tokens",         "pooling_mode_mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens", "pooling_mode_lasttoken"};
constexpr size_t first_switches = 4;  // which every version has

// A file that the model's folder had; null: it had none.
nn::Json kept(const nn::ModelConfig& config, const char* name) {
  if (!config.sentence.is_object()) return nullptr;
  const auto found = config.sentence.find(name);
  return found == config.sentence.end() ? nn::Json() : *found;
}

std::string module_kind(const std::string& type) {
  return type.substr(type.rfind('.') + 1);
}

// An entry of modules.json; the name of the class is the one that the folder's file used.
nn::Json module(const nn::ModelConfig& config, size_t number, const std::string& path,
                const std::string& kind) {
  std::string type = "sentence_transformers.models." + kind;
  for (const nn::Json& entry : kept(config, modules_file))
    if (const auto& name = entry.at("type").get_ref<const std::string&>();
        module_kind(name) == kind)
      type = name;
  return {{"idx", number}, {"name", str(number)}, {"path", path}, {"type", type}};
}

// In the newer spelling where the folder's file had it, or the order of several modes needs it.
nn::Json pooling_json(const nn::ModelConfig& config) {
  nn::Json json = kept(config, pooling_file);
  if (!json.is_object()) json = nn::Json::object();
  const std::vector<std::string> modes = nn::pooling_list(config.pooling);
  std::vector<std::string> joined;
  for (const std::string& mode : nn::pooling_modes())
    if (std::find(modes.begin(), modes.end(), mode) != modes.end()) joined.push_back(mode);
  const bool newer = json.contains("pooling_mode") || joined != modes;
  const bool renamed = json.contains("embedding_dimension");
  json[newer || renamed ? "embedding_dimension" : "word_embedding_dimension"] = config.hidden_size;
  if (newer && !renamed) json.erase("word_embedding_dimension");
  if (newer) {
    json["pooling_mode"] = modes.size() == 1 ? nn::Json(modes.front()) : nn::Json(modes);
    for (const char* name : switches) json.erase(name);
    return json;
  }
  for (size_t i = 0; i < std::size(switches); ++i) {
    const bool on = std::find(modes.begin(), modes.end(), nn::pooling_modes()[i]) != modes.end();
    if (on || i < first_switches || json.contains(switches[i])) json[switches[i]] = on;
  }
  return json;
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
  write_json(folder / "config.json", {{"in_features", tensors.at("linear.weight").size(1)},
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

// The modes that a Pooling module's file names, joined by '+'.
std::string pooling_of(const fs::path& place, const nn::Json& json) {
  if (!json.is_object()) refuse(place, "must be an object");
  if (json.value("include_prompt", nn::Json(true)) != true)
    refuse(place, "include_prompt " + json.at("include_prompt").dump() +
                      " is not supported: prompts are not told from texts");
  std::vector<std::string> modes;
  const auto newer = json.find("pooling_mode");
  if (newer != json.end()) {
    for (const nn::Json& mode : newer->is_array() ? *newer : nn::Json::array({*newer}))
      modes.push_back(mode.is_string() ? mode.get<std::string>() : mode.dump());
  } else {
    for (const auto& [key, value] : json.items()) {
      const bool known =
          std::find(std::begin(switches), std::end(switches), key) != std::end(switches);
      if (starts_with(key, "pooling_mode_") && !known && value == true)
        refuse(place, "the pooling " + key + " is not supported");
    }
    for (size_t i = 0; i < std::size(switches); ++i)
      if (json.value(switches[i], nn::Json()) == true) modes.push_back(nn::pooling_modes()[i]);
    if (modes.empty()) modes = {"mean"};
  }
  if (modes.empty()) refuse(place, "pooling_mode names no mode");
  for (const std::string& mode : modes)
    if (std::find(nn::pooling_modes().begin(), nn::pooling_modes().end(), mode) ==
        nn::pooling_modes().end())
      refuse(place, "the pooling " + storage::shown_name(mode) +
                        " is not supported; poolings: " + join(nn::pooling_modes(), ", "));
  return join(modes, "+");
}

void read_dense(const fs::path& folder, ConfigFile& file) {
  const fs::path place = folder / "config.json";
  const nn::Json json = read_json(place, json_limit);
  if (!json.is_object()) refuse(place, "must be an object");
  // Without the key the module takes a hyperbolic tangent.
  const nn::Json activation = json.value("activation_function", nn::Json("Tanh"));
  if (!activation.is_string() || module_kind(activation.get<std::string>()) != "Identity")
    refuse(place, "a Dense module with the activation " + activation.dump() + " is not supported");
  for (const auto& [key, usual] : {std::pair<const char*, nn::Json>{"use_residual", false},
                                   {"module_input_name", "sentence_embedding"},
                                   {"module_output_name", "sentence_embedding"}})
    if (const auto said = json.find(key); said != json.end() && !said->is_null() && *said != usual)
      refuse(place, str("a Dense module with ", key, " ", said->dump(), " is not supported"));
  const nn::Json size = json.value("out_features", nn::Json());
  if (!size.is_number_integer() || size.get<int64_t>() < 1 || size.get<int64_t>() > 1 << 24)
    refuse(place, "out_features must be a positive number");
  file.config.projection = size.get<int64_t>();
  file.dense = folder;
}

// Further files, which are kept; of what they ask for that is not done there is a line of the log.
void keep_others(const fs::path& folder, nn::Json& sentence) {
  for (const char* name : {transformer_file, sentence_file}) {
    std::error_code ignored;
    if (!fs::exists(folder / name, ignored)) continue;
    const nn::Json json = read_json(folder / name, json_limit);
    if (!json.is_object()) refuse(folder / name, "must be an object");
    sentence[name] = json;
    for (const auto& [key, usual] : {std::pair<const char*, nn::Json>{"do_lower_case", false},
                                     {"default_prompt_name", nullptr}})
      if (const auto said = json.find(key); said != json.end() && *said != usual)
        log_once(log::warn, str((folder / name).string(), ": ", key, " ", said->dump(),
                                " is kept, but texts are read as they are"));
  }
}

// Checks the order of the modules while they are read.
class Modules {
 public:
  Modules(const fs::path& folder, ConfigFile& file) : folder_(folder), file_(file) {}

  void read(const nn::Json& entry) {
    const nn::Json type = entry.is_object() ? entry.value("type", nn::Json()) : nn::Json();
    if (!type.is_string()) refuse(place(), "a module has no type");
    const std::string kind = module_kind(type.get<std::string>());
    if (kind == "Transformer") {
      if (entry.value("path", nn::Json("")) != "")
        refuse(place(), "a Transformer module in a folder of its own is not supported");
    } else if (kind == "Pooling") {
      if (pooled_) refuse(place(), "several Pooling modules are not supported");
      const fs::path config = inside(folder_, entry) / "config.json";
      const nn::Json json = read_json(config, json_limit);
      file_.config.pooling = pooling_of(config, json);
      file_.config.sentence[pooling_file] = json;
      pooled_ = true;
    } else if (kind == "Dense") {
      const fs::path dense = inside(folder_, entry);
      if (!file_.dense.empty()) refuse(place(), "several Dense modules are not supported");
      if (!pooled_ || file_.config.normalize)
        refuse(place(),
               "a Dense module that is not right behind a Pooling module is not supported");
      read_dense(dense, file_);
    } else if (kind == "Normalize") {
      if (!pooled_) refuse(place(), "a Normalize module without a Pooling module is not supported");
      file_.config.normalize = true;
    } else {
      refuse(place(), "a module " + storage::shown_name(kind) + " is not supported");
    }
  }

 private:
  fs::path place() const { return folder_ / modules_file; }

  const fs::path& folder_;
  ConfigFile& file_;
  bool pooled_ = false;
};

// Whether the model is one that modules of sentence-transformers are about.
bool has_modules(const nn::ModelConfig& config) {
  switch (config.head) {
    case nn::HeadKind::embedding:
      return true;
    case nn::HeadKind::none:
    case nn::HeadKind::masked_lm:
    case nn::HeadKind::causal_lm:
      return kept(config, pooling_file).is_object();
    default:
      return false;
  }
}

}  // namespace

bool is_projection(std::string_view canonical) {
  return starts_with(canonical, prefix);
}

bool pools_states(const nn::ModelConfig& config) {
  return config.head == nn::HeadKind::none && kept(config, pooling_file).is_object();
}

void write_sentence_modules(const nn::Model& model, const fs::path& folder, bool effective) {
  const nn::ModelConfig& config = model.config();
  if (!has_modules(config)) {
    std::error_code ignored;
    fs::remove(folder / modules_file, ignored);
    return;
  }
  nn::Json modules = nn::Json::array();
  auto add = [&](const std::string& path, const char* kind) {
    modules.push_back(module(config, modules.size(), path, kind));
  };
  add("", "Transformer");
  add("1_Pooling", "Pooling");
  make_folder(folder / "1_Pooling");
  write_json(folder / pooling_file, pooling_json(config));
  if (config.projection > 0) {
    write_dense(model, folder / "2_Dense", effective);
    add("2_Dense", "Dense");
  }
  if (config.normalize) {
    const std::string path = str(modules.size(), "_Normalize");
    make_folder(folder / path);
    add(path, "Normalize");
  }
  nn::Json how = kept(config, transformer_file);
  if (!how.is_object()) how = {{"max_seq_length", nullptr}, {"do_lower_case", false}};
  const int64_t longest = nn::longest_row(config);
  nn::Json& most = how["max_seq_length"];
  if (longest < int64_t{1} << 20 && (!most.is_number_integer() || most.get<int64_t>() > longest))
    most = longest;
  write_json(folder / transformer_file, how);
  if (const nn::Json other = kept(config, sentence_file); other.is_object())
    write_json(folder / sentence_file, other);
  write_json(folder / modules_file, modules);
}

void read_sentence_modules(const fs::path& folder, ConfigFile& file) {
  const fs::path place = folder / modules_file;
  std::error_code ignored;
  if (!fs::exists(place, ignored)) return;
  const nn::Json list = read_json(place, json_limit);
  if (!list.is_array()) refuse(place, "must be a list of modules");
  file.config.sentence = {{modules_file, list}};
  Modules modules(folder, file);
  for (const nn::Json& entry : list) modules.read(entry);
  keep_others(folder, file.config.sentence);
  if (!file.dense.empty()) file.config.head = nn::HeadKind::embedding;
}

}  // namespace compress::checkpoint
