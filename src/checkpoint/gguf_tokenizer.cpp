// Tokenizers of models, out of folders and GGUF files.

#include <algorithm>
#include <optional>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"
#include "compress/checkpoint/delta.h"
#include "compress/storage/gguf.h"
#include "compress/text/ggml.h"
#include "gguf.h"

namespace compress::checkpoint {

namespace fs = std::filesystem;
using storage::GgufReader;

namespace {

int64_t id_of(const GgufReader& reader, const char* key) {
  return reader.find_value(key) == nullptr ? -1 : reader.integer(key);
}

std::optional<bool> flag_of(const GgufReader& reader, const char* key) {
  const storage::GgufValue* value = reader.find_value(key);
  if (value == nullptr) return std::nullopt;
  if (!std::holds_alternative<bool>(*value)) reader.integer(key);  // its error names the key
  return std::holds_alternative<bool>(*value) && std::get<bool>(*value);
}

std::vector<std::string> texts_of(const GgufReader& reader, const char* key) {
  std::vector<std::string> texts;
  if (reader.find_value(key) == nullptr) return texts;
  for (std::string_view text : reader.texts(key)) texts.emplace_back(text);
  return texts;
}

text::GgmlTokenizer tokenizer_of(const GgufReader& reader, const std::string& place) {
  if (reader.find_value("tokenizer.ggml.model") == nullptr)
    throw Error(ErrorKind::model, "the GGUF file has no tokenizer", place,
                "a file of a whole model is needed");
  text::GgmlTokenizer parts;
  parts.model = reader.text("tokenizer.ggml.model");
  if (reader.find_value("tokenizer.ggml.pre") != nullptr)
    parts.pre = reader.text("tokenizer.ggml.pre");
  parts.tokens = texts_of(reader, "tokenizer.ggml.tokens");
  parts.merges = texts_of(reader, "tokenizer.ggml.merges");
  if (reader.find_value("tokenizer.ggml.token_type") != nullptr)
    for (int64_t type : reader.numbers("tokenizer.ggml.token_type").integers())
      parts.types.push_back(static_cast<int32_t>(std::clamp<int64_t>(type, 0, 100)));
  if (reader.find_value("tokenizer.ggml.scores") != nullptr)
    for (double score : reader.numbers("tokenizer.ggml.scores").reals())
      parts.scores.push_back(static_cast<float>(score));
  parts.bos = id_of(reader, "tokenizer.ggml.bos_token_id");
  parts.eos = id_of(reader, "tokenizer.ggml.eos_token_id");
  parts.unk = id_of(reader, "tokenizer.ggml.unknown_token_id");
  parts.pad = id_of(reader, "tokenizer.ggml.padding_token_id");
  parts.cls = id_of(reader, "tokenizer.ggml.cls_token_id");
  parts.sep = id_of(reader, "tokenizer.ggml.seperator_token_id");  // as the format spells it
  if (parts.sep < 0) parts.sep = id_of(reader, "tokenizer.ggml.separator_token_id");
  parts.mask = id_of(reader, "tokenizer.ggml.mask_token_id");
  parts.add_bos = flag_of(reader, "tokenizer.ggml.add_bos_token");
  parts.add_eos = flag_of(reader, "tokenizer.ggml.add_eos_token").value_or(false);
  parts.add_space_prefix = flag_of(reader, "tokenizer.ggml.add_space_prefix").value_or(true);
  parts.lowercase = flag_of(reader, "tokenizer.ggml.normalizer.lowercase").value_or(true);
  return parts;
}

}  // namespace

fs::path gguf_file(const fs::path& path) {
  std::error_code ignored;
  if (fs::is_regular_file(path, ignored)) return path;
  if (!fs::is_directory(path, ignored) || fs::exists(path / "config.json", ignored)) return {};
  std::vector<std::string> names;
  fs::path found;
  for (const auto& entry : fs::directory_iterator(path, ignored)) {
    if (entry.path().extension() != ".gguf" || !entry.is_regular_file(ignored)) continue;
    found = entry.path();
    names.push_back(found.filename().string());
  }
  std::sort(names.begin(), names.end());
  if (names.size() > 1)
    throw Error(ErrorKind::model, "the folder has several GGUF files: " + join(names, ", "),
                path.string(), "name one of the files instead of the folder");
  return found;
}

std::unique_ptr<text::Tokenizer> load_tokenizer(const fs::path& model) {
  const fs::path file = gguf_file(model);
  if (file.empty()) return text::load_tokenizer(tokenizer_home(model));
  const GgufReader reader(file);
  return text::load_ggml_tokenizer(tokenizer_of(reader, file.string()), file.string());
}

void write_gguf_tokenizer(const fs::path& file, const fs::path& to) {
  const GgufReader reader(file);
  text::write_tokenizer(
      text::ggml_tokenizer_files(tokenizer_of(reader, file.string()), file.string()), to);
  if (reader.find_value("tokenizer.chat_template") != nullptr)
    write_file(to / "chat_template.jinja", std::string(reader.text("tokenizer.chat_template")));
}

}  // namespace compress::checkpoint
