#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/lines.h"
#include "compress/base/strings.h"
#include "compress/nn/architecture.h"
#include "folder.h"

namespace compress::checkpoint {

namespace fs = std::filesystem;

namespace {

// "[json.exception.parse_error.101] parse error at line 3, column 5: ..." without its own prefix.
std::string parse_message(const nlohmann::json::exception& error) {
  std::string text = error.what();
  size_t end = text.find("] ");
  return "is not valid JSON: " + (end == std::string::npos ? text : text.substr(end + 2));
}

// What save_model() keeps under "compress"; unknown or misshapen content is ignored, as config.json
// belongs to others.
void read_own(ConfigFile& file) {
  auto found = file.config.raw.find("compress");
  if (found == file.config.raw.end()) return;
  if (found->is_object()) {
    if (found->value("head", nn::Json()) == "embedding" && file.config.head == nn::HeadKind::none) {
      file.config.head = nn::HeadKind::embedding;
      nn::Json pooling = found->value("pooling", nn::Json("mean"));
      file.config.pooling = pooling == "cls" ? "cls" : "mean";
      nn::Json projection = found->value("projection", nn::Json(0));
      if (projection.is_number_integer()) file.config.projection = projection.get<int64_t>();
    }
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
    if (is_utf16(text))
      throw Error(ErrorKind::model, "the file is UTF-16", file.string(), "convert it to UTF-8");
    return nn::Json::parse(text);
  } catch (const nlohmann::json::exception& error) {
    throw Error(ErrorKind::model, parse_message(error), file.string());
  }
}

namespace {

// `place`: the file to name in errors.
ConfigFile parse_config(const nn::Json& json, const std::string& place) {
  auto type = json.is_object() ? json.find("model_type") : json.end();
  if (!json.is_object() || type == json.end() || !type->is_string())
    throw Error(ErrorKind::model, "config.json has no 'model_type'", place);
  ConfigFile file;
  try {
    file.config = nn::family(type->get<std::string>()).read_config(json);
    if (auto block = json.find("quantization_config"); block != json.end())
      file.quantization = *block;
    file.config.raw.erase("quantization_config");
    read_own(file);
  } catch (const Error& error) {
    throw Error(error.kind(), error.message(), error.where().empty() ? place : error.where(),
                error.hint());
  } catch (const nlohmann::json::exception& error) {
    throw Error(ErrorKind::model, str("config.json has a value of the wrong type: ", error.what()),
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
