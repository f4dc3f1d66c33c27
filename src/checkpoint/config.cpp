#include <algorithm>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/library_message.h"
#include "compress/base/lines.h"
#include "compress/base/log.h"
#include "compress/base/stand_in.h"
#include "compress/base/strings.h"
#include "compress/nn/architecture.h"
#include "compress/nn/attachment.h"
#include "compress/nn/pooling.h"
#include "compress/storage/packed.h"
#include "compress/storage/tensor_reader.h"
#include "folder.h"

namespace compress::checkpoint {

namespace fs = std::filesystem;

namespace {

constexpr const char* adapter_file = "adapter_config.json";  // PEFT's

nn::HeadKind head_kind(const std::string& name) {
  try {
    return nn::parse_head(name);
  } catch (const Error& error) {  // a mistake of the file, not of a recipe
    throw Error(ErrorKind::model, "config.json: " + error.message(), {}, error.hint());
  }
}

// Heads beside the model's own. A file that says something else of them than save_model() is not
// read at all: its tensors would be left out in silence.
void read_heads(const nn::Json& own, nn::ModelConfig& config) {
  const auto heads = own.find("heads");
  if (heads == own.end()) return;
  auto refuse = [] {
    throw Error(ErrorKind::model, "config.json: `compress.heads` is damaged", {},
                "it lists objects with name, kind, labels and layers");
  };
  if (!heads->is_array() || heads->size() > 64) refuse();
  std::vector<nn::HeadSpec> list;
  for (const nn::Json& entry : *heads) {
    if (!entry.is_object()) refuse();
    nn::HeadSpec spec;
    spec.name = entry.value("name", "");
    spec.kind = head_kind(entry.value("kind", ""));
    spec.labels = entry.value("labels", std::vector<std::string>());
    spec.layers = entry.value("layers", int64_t{0});
    spec.module = entry.value("module", "");
    const bool twice = std::any_of(list.begin(), list.end(), [&](const nn::HeadSpec& other) {
      return other.name == spec.name;
    });
    if (!nn::is_name_part(spec.name) || twice || spec.layers < 0 || spec.layers > config.layers)
      refuse();
    list.push_back(std::move(spec));
  }
  config.more_heads = std::move(list);
}

// What save_model() keeps under "compress"; unknown or misshapen content is ignored, as config.json
// belongs to others.
void read_own(ConfigFile& file) {
  auto found = file.config.raw.find("compress");
  if (found == file.config.raw.end()) return;
  if (found->is_object()) {
    const nn::Json pooling = found->value("pooling", nn::Json());
    if (pooling.is_string()) {
      file.config.pooling = pooling.get<std::string>();
      nn::pooling_list(file.config.pooling);
    }
    if (found->value("head", nn::Json()) == "embedding" && file.config.head == nn::HeadKind::none) {
      file.config.head = nn::HeadKind::embedding;
      nn::Json projection = found->value("projection", nn::Json(0));
      if (projection.is_number_integer()) file.config.projection = projection.get<int64_t>();
    }
    read_heads(*found, file.config);
    file.config.attachments = nn::read_attachments(found->value("attachments", nn::Json::array()));
    for (const nn::Json& entry : found->value("history", nn::Json::array()))
      if (entry.is_string()) file.history.push_back(entry.get<std::string>());
  }
  file.config.raw.erase("compress");
}

}  // namespace

nn::Json read_json(const fs::path& file, uint64_t limit) {
  std::error_code ignored;
  if (!fs::exists(file, ignored))
    throw Error(ErrorKind::model, "the file is missing", file.string(), "check the path");
  try {
    const std::string text = read_file(file, limit);
    if (const FileKind kind = not_text(text))
      throw Error(ErrorKind::model, str("the file is ", kind.what), file.string(), kind.remedy);
    if (const std::string what = stand_in(text); !what.empty())
      throw Error(ErrorKind::model, "the file is " + what, file.string(), fetch_again);
    return nn::Json::parse(text);
  } catch (const nlohmann::json::exception& error) {
    throw Error(ErrorKind::model, "is not valid JSON: " + library_message(error.what()),
                file.string());
  }
}

namespace {

bool has_required_keys(const nn::Family& family, const nn::Json& json) {
  return std::all_of(family.keys.begin(), family.keys.end(), [&](const nn::ConfigKey& key) {
    return !std::holds_alternative<std::monostate>(key.fallback) || json.contains(key.name);
  });
}

int64_t keys_present(const nn::Family& family, const nn::Json& json) {
  return std::count_if(family.keys.begin(), family.keys.end(),
                       [&](const nn::ConfigKey& key) { return json.contains(key.name); });
}

bool names_class_of(const nn::Family& family, const nn::Json& json) {
  const nn::Json names = json.value("architectures", nn::Json::array());
  return std::any_of(family.classes.begin(), family.classes.end(), [&](const nn::HeadClass& entry) {
    return std::find(names.begin(), names.end(), nn::Json(entry.name)) != names.end();
  });
}

// Whether a weight of the folder has the prefix of the family's tensors.
bool has_prefix_of(const nn::Family& family, const storage::TensorReader& weights) {
  const auto& tensors = weights.tensors();
  return !family.prefix.empty() &&
         std::any_of(tensors.begin(), tensors.end(), [&](const storage::TensorView& one) {
           return starts_with(one.name, family.prefix);
         });
}

// The families that a config.json without a type may be of: by its class, else by its keys and, of
// families with the same keys, by the names of the folder's weights.
std::vector<std::string> likely_types(const nn::Json& json, const fs::path& folder) {
  std::vector<const nn::Family*> named, keyed;
  for (const nn::Family& family : nn::families()) {
    if (names_class_of(family, json)) named.push_back(&family);
    if (has_required_keys(family, json)) keyed.push_back(&family);
  }
  int64_t most = 0;
  for (const nn::Family* family : keyed) most = std::max(most, keys_present(*family, json));
  std::erase_if(keyed, [&](const auto* family) { return keys_present(*family, json) < most; });
  std::vector<const nn::Family*> likely = !named.empty() ? named : keyed;
  std::error_code ignored;
  const bool weights_there = fs::exists(folder / "model.safetensors", ignored) ||
                             fs::exists(folder / "pytorch_model.bin", ignored) ||
                             fs::exists(folder / storage::packed_name, ignored);
  if (likely.size() > 1 && weights_there) {
    const auto weights = storage::open_tensors(folder);
    std::vector<const nn::Family*> prefixed = likely;
    std::erase_if(prefixed, [&](const auto* family) { return !has_prefix_of(*family, *weights); });
    if (!prefixed.empty()) likely = prefixed;
  }
  std::vector<std::string> types;
  for (const nn::Family* family : likely) types.push_back(family->model_type);
  return types;
}

[[noreturn]] void refuse_untyped(const nn::Json& json, const fs::path& place) {
  const std::vector<std::string> types =
      json.is_object() ? likely_types(json, place.parent_path()) : std::vector<std::string>{};
  std::string hint = "this is no configuration of a supported model";
  if (types.size() == 1)
    hint = str("add \"model_type\": \"", types.front(), "\", which its contents look like");
  if (types.size() > 1)
    hint = "add a \"model_type\"; its contents look like one of " + join(types, ", ");
  throw Error(ErrorKind::model, "config.json has no 'model_type'", place.string(), hint);
}

// `place`: the file to name in errors.
ConfigFile parse_config(const nn::Json& json, const std::string& place) {
  auto type = json.is_object() ? json.find("model_type") : json.end();
  if (!json.is_object() || type == json.end() || !type->is_string()) refuse_untyped(json, place);
  ConfigFile file;
  try {
    const nn::Family& family = nn::family(type->get<std::string>());
    file.config = family.read_config(json);
    for (const std::string& remark : family.remarks(json))
      log_once(log::warn, place + ": " + remark);
    if (auto block = json.find("quantization_config"); block != json.end())
      file.quantization = *block;
    file.config.raw.erase("quantization_config");
    read_own(file);
  } catch (const Error& error) {
    throw Error(error.kind(), error.message(), error.where().empty() ? place : error.where(),
                error.hint());
  } catch (const nlohmann::json::exception& error) {
    throw Error(ErrorKind::model,
                "config.json has a value of the wrong type: " + library_message(error.what()),
                place);
  }
  return file;
}

}  // namespace

ConfigFile read_config(const storage::GgufReader& reader, const fs::path& file) {
  return parse_config(gguf_config(reader, file.string()), file.string());
}

ConfigFile read_config(const fs::path& path) {
  if (const fs::path file = gguf_file(path); !file.empty())
    return read_config(storage::GgufReader(file), file);
  const fs::path place = path / "config.json";
  std::error_code ignored;
  if (!fs::is_directory(path, ignored))
    throw Error(ErrorKind::model, "there is no such model folder", path.string(), "check the path");
  if (fs::exists(path / adapter_file, ignored))
    throw Error(ErrorKind::model,
                str("the folder holds an adapter (", adapter_file, "), which is not read"),
                path.string(),
                str("merge it into its base model (PEFT: merge_and_unload) and save that, or take ",
                    adapter_file, " away"));
  if (!fs::exists(place, ignored))
    throw Error(
        ErrorKind::model, "the folder has no config.json", path.string(),
        "a model folder has config.json and model.safetensors, as Hugging Face writes them, or "
        "one GGUF file");
  ConfigFile config = parse_config(read_json(place), place.string());
  read_sentence_modules(path, config);
  return config;
}

nn::ModelConfig load_config(const fs::path& folder) {
  return read_config(folder).config;
}

}  // namespace compress::checkpoint
