#include "compress/checkpoint/delta.h"

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/hash.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"
#include "compress/checkpoint/sentence.h"
#include "compress/nn/architecture.h"
#include "delta.h"
#include "tensors.h"

namespace compress::checkpoint {

namespace fs = std::filesystem;
using torch::Tensor;

namespace {

constexpr const char* record_name = "delta.json";
constexpr const char* weights_name = "delta.safetensors";
constexpr const char* delta_version = "1";

// The base's tensors by canonical name.
Folder open_base(const fs::path& base, const nn::ModelConfig& config) {
  check_base(base, config);
  Folder folder;
  Findings findings;
  folder.config = read_config(base);
  folder.reader = storage::open_tensors(base);
  collect(folder, nn::family(config.family), base, findings);
  if (!findings.empty()) findings.fail(base);
  return folder;
}

Tensor values_in(const Source& source) {
  const Tensor stored = view(*source.values).to(torch::kFloat32);
  return source.transposed ? stored.t() : stored;
}

// What identifies a tensor of the base, whatever file it lies in.
void add(Sha256& hash, const std::string& name, const storage::TensorView& stored) {
  hash.update(str(name, " ", storage::dtype_name(stored.dtype)));
  for (int64_t size : stored.shape) hash.update(str(" ", size));
  hash.update("\n");
  hash.update(stored.data, stored.bytes);
}

nn::Json record_of(const fs::path& folder) {
  nn::Json record = read_json(folder / record_name);
  const std::string place = (folder / record_name).string();
  if (!record.is_object() || record.value("version", nn::Json()) != delta_version)
    throw Error(ErrorKind::model, "is no delta that this program reads", place);
  if (!record.value("base", nn::Json()).is_array() ||
      !record.value("base_sha256", nn::Json()).is_string())
    throw Error(ErrorKind::model, "names no base", place);
  return record;
}

}  // namespace

bool is_delta(const fs::path& folder) {
  std::error_code ignored;
  return fs::is_regular_file(folder / record_name, ignored);
}

fs::path delta_base(const fs::path& folder) {
  const nn::Json record = record_of(folder);
  std::vector<std::string> tried;
  for (const nn::Json& entry : record["base"]) {
    if (!entry.is_string()) continue;
    const fs::path base = (folder / entry.get<std::string>()).lexically_normal();
    tried.push_back(base.string());
    std::error_code ignored;
    if (!fs::is_regular_file(base / "config.json", ignored)) continue;
    if (is_delta(base)) throw Error(ErrorKind::model, "the base is a delta itself", base.string());
    return base;
  }
  throw Error(ErrorKind::model,
              "the base of this delta is not there; it was looked for in " + join(tried, " and "),
              folder.string(), str("put its folder into the list `base` of ", record_name));
}

fs::path tokenizer_home(const fs::path& folder) {
  return is_delta(folder) && tokenizer_files(folder).empty() ? delta_base(folder) : folder;
}

void check_base(const fs::path& base, const nn::ModelConfig& config) {
  if (is_delta(base))
    throw Error(ErrorKind::recipe, "the base '" + base.string() + "' is a delta itself", {},
                "name its base");
  if (!gguf_file(base).empty())
    throw Error(ErrorKind::recipe,
                "the base '" + base.string() + "' is a GGUF file, whose blocks no tensor equals",
                {}, "name a folder in Hugging Face's layout");
  const ConfigFile file = read_config(base);
  if (!file.quantization.is_null())
    throw Error(ErrorKind::recipe, "the base '" + base.string() + "' has int8 weights", {},
                "name the model before it was quantised");
  if (file.config.family != config.family)
    throw Error(ErrorKind::recipe,
                str("the base '", base.string(), "' is a ", file.config.family,
                    " model, and the delta would be of a ", config.family, " model"));
}

DeltaReport write_delta(const nn::Model& model, const fs::path& base, const fs::path& folder,
                        const fs::path& place) {
  torch::NoGradGuard no_grad;
  const Folder theirs = open_base(base, model.config());
  make_folder(folder);
  DeltaReport report;
  Sha256 hash;
  std::map<std::string, const nn::Parameter*> ordered, kept;
  for (const nn::Parameter& parameter : model.params().list())
    if (!is_projection(parameter.name)) ordered[parameter.name] = &parameter;
  for (const auto& [name, parameter] : ordered) {
    const auto source = theirs.weights.find(name);
    const bool same = source != theirs.weights.end() &&
                      source->second.shape() == parameter->latent.sizes().vec() &&
                      torch::equal(values_in(source->second), parameter->effective.detach().cpu());
    if (same)
      add(hash, name, *source->second.values);
    else
      kept[name] = parameter;
    ++(same ? report.taken : report.kept);
  }
  std::vector<storage::TensorInfo> infos;
  for (const auto& [name, parameter] : kept)
    infos.push_back({name, storage::Dtype::f32, parameter->latent.sizes().vec()});
  storage::SafetensorsWriter writer(folder / weights_name, std::move(infos));
  for (const auto& [name, parameter] : kept) {
    const Tensor value = parameter->effective.detach().cpu().contiguous();
    writer.write(name, bytes_of(value));
  }
  writer.commit();
  const fs::path whole = fs::absolute(base).lexically_normal();
  const nn::Json record = {
      {"version", delta_version},
      {"base",
       {whole.lexically_relative(fs::absolute(place).lexically_normal()).string(), whole.string()}},
      {"base_sha256", hash.hex()},
      {"tensors_of_the_base", report.taken},
      {"tensors_here", report.kept}};
  write_file(folder / record_name, record.dump(2) + "\n");
  write_file(folder / "config.json", config_json(model).dump(2) + "\n");
  write_sentence_modules(model, folder, /*effective=*/true);
  return report;
}

Overlay::Overlay(const fs::path& path, Folder& folder, Findings& findings)
    : path_(path), base_(delta_base(path)) {
  const nn::ModelConfig& config = folder.config.config;
  try {
    check_base(base_, config);
  } catch (const Error& error) {
    throw Error(ErrorKind::model, error.message(), path.string(), error.hint());
  }
  folder.reader = storage::open_tensors(base_);
  collect(folder, nn::family(config.family), base_, findings);
  for (const auto& [name, source] : folder.weights) taken_.insert(name);
  folder.own = std::make_unique<storage::SafetensorsReader>(path / weights_name);
  for (const storage::TensorView& stored : folder.own->tensors()) {
    folder.weights[stored.name] = {&stored, nullptr, false, {}};
    taken_.erase(stored.name);
  }
}

void Overlay::check(const Folder& folder) const {
  Sha256 hash;
  for (const auto& [name, source] : folder.weights)
    if (taken_.contains(name)) add(hash, name, *source.values);
  if (hash.hex() == record_of(path_)["base_sha256"].get<std::string>()) return;
  throw Error(ErrorKind::model,
              "the base '" + base_.string() +
                  "' is not the model that this delta was made on: its weights are others",
              path_.string(), "put the right base there, or name its folder in delta.json");
}

}  // namespace compress::checkpoint
