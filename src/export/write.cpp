#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"
#include "compress/checkpoint/sentence.h"
#include "compress/nn/architecture.h"
#include "compress/storage/packed.h"
#include "compress/text/tokenizer.h"
#include "formats.h"
#include "verify.h"

namespace compress::exports {

namespace fs = std::filesystem;
using torch::Tensor;

namespace {

// What zstd makes of larger files is not worth the wait.
constexpr int64_t measured_bytes = int64_t{1} << 30;

struct Format {
  const char* name;
  void (*write)(const LoadedModel&, const Target&);
  void (*check)(Quantised);                       // null: it holds every model
  bool (*keeps_activations)(const LoadedModel&);  // whether quantised activations survive
  bool (*keeps_integers)(const LoadedModel&);     // whether they lie there as integers
  bool needs_base;
  bool coded = false;                                     // zeros cost a bit or less
  void (*check_model)(const nn::ModelConfig&) = nullptr;  // null: it holds every model
  // Of graphs: what they compute, as a model. Null: load() reads the folder.
  ReadGraph read = nullptr;
};
bool never(const LoadedModel&) {
  return false;
}
bool always(const LoadedModel&) {
  return true;
}
constexpr Format all_formats[] = {
    {"huggingface", write_huggingface, nullptr, never, never, false},
    {"compressed-tensors", write_compressed_tensors, check_compressed_tensors, always, always,
     false},
    {"packed", write_packed, nullptr, packed_keeps_activations, packed_keeps_integers, false, true},
    {"delta", write_delta, nullptr, never, never, true},
    {"onnx", write_onnx, check_onnx_integers, always, always, false, false, check_onnx, read_onnx}};

const Format& find_format(const std::string& name) {
  for (const Format& format : all_formats)
    if (name == format.name) return format;
  throw Error(ErrorKind::recipe, "unknown export format '" + name + "'", {},
              did_you_mean(name, formats(), "formats: " + join(formats(), ", ")));
}

// Computes tables with transforms as a whole, for as long as it lives, not row by row as they are
// read.
class WholeTables {
 public:
  explicit WholeTables(nn::Model& model) {
    for (nn::Parameter& parameter : model.params().list())
      if (parameter.row_gradient && !parameter.transforms.empty()) {
        parameter.row_gradient = false;
        tables_.push_back(&parameter);
      }
  }
  ~WholeTables() {
    for (nn::Parameter* table : tables_) table->row_gradient = true;
  }
  WholeTables(const WholeTables&) = delete;
  WholeTables& operator=(const WholeTables&) = delete;

 private:
  std::vector<nn::Parameter*> tables_;
};

// The source with what is no integer rounded to a type, for as long as it lives.
class RoundedRest {
 public:
  RoundedRest(LoadedModel& source, torch::ScalarType type) {
    if (type == torch::kFloat32) return;
    torch::NoGradGuard no_grad;
    const std::set<std::string> held = held_in(source.scheme);
    for (nn::Parameter& parameter : source.model->params().list()) {
      // The projection of sentence-transformers' layout is written by others.
      if (held.contains(parameter.name) || checkpoint::is_projection(parameter.name)) continue;
      const Tensor rounded = parameter.latent.detach().to(type).to(torch::kFloat32);
      if (!rounded.isfinite().all().item<bool>())
        throw Error(ErrorKind::recipe,
                    str(parameter.name, " has values that do not fit the type of `rest`"), {},
                    "rest: bf16");
      kept_.emplace_back(&parameter, rounded);
    }
    swap();
  }
  ~RoundedRest() { swap(); }
  RoundedRest(const RoundedRest&) = delete;
  RoundedRest& operator=(const RoundedRest&) = delete;

 private:
  void swap() {
    torch::NoGradGuard no_grad;
    for (auto& [parameter, values] : kept_) {
      const Tensor other = parameter->latent.detach().clone();
      parameter->latent.detach().copy_(values);
      values = other;
    }
  }

  std::vector<std::pair<nn::Parameter*, Tensor>> kept_;
};

bool same_tokenizer(const fs::path& a, const fs::path& b) {
  return checkpoint::load_tokenizer(a)->hash() == checkpoint::load_tokenizer(b)->hash();
}

void count_bytes(Report& report) {
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(report.folder)) {
    if (!entry.is_regular_file()) continue;
    auto bytes = static_cast<int64_t>(entry.file_size());
    report.bytes += bytes;
    const fs::path kind = entry.path().extension();
    if (kind == ".safetensors" || kind == ".packed" || kind == ".onnx" || kind == ".onnx_data")
      report.weight_bytes += bytes;
    if ((kind == ".safetensors" || kind == ".onnx") && bytes < measured_bytes)
      report.zstd_bytes += static_cast<int64_t>(storage::zstd_size(entry.path()));
  }
}

}  // namespace

std::string file_name(const nn::Model& model, const std::string& canonical) {
  return nn::family(model.config().family).file_name(canonical, model.config().head);
}

checkpoint::Planned dense(const nn::Model& model, const nn::Parameter& parameter,
                          torch::ScalarType type) {
  const bool turned = nn::family(model.config().family).is_transposed(parameter.name);
  const std::vector<int64_t> shape = parameter.latent.sizes().vec();
  return {file_name(model, parameter.name), type,
          turned ? std::vector<int64_t>{shape[1], shape[0]} : shape, [&parameter, turned, type] {
            const Tensor value = parameter.effective.detach().to(type);
            return turned ? value.t() : value;
          }};
}

void check_format(const std::string& format, Quantised quantised) {
  if (const Format& found = find_format(format); found.check != nullptr) found.check(quantised);
}

void check_model(const std::string& format, const nn::ModelConfig& config) {
  if (const Format& found = find_format(format); found.check_model != nullptr)
    found.check_model(config);
}

bool needs_base(const std::string& format) {
  return find_format(format).needs_base;
}

std::vector<std::string> formats() {
  std::vector<std::string> names;
  for (const Format& format : all_formats) names.emplace_back(format.name);
  return names;
}

Report write(const std::string& format_name, LoadedModel& source, const fs::path& source_folder,
             const fs::path& folder, const data::Split* check, const nn::Json& provenance,
             double tolerance, const fs::path& base, torch::ScalarType rest) {
  const Format& format = find_format(format_name);
  if (rest != torch::kFloat32 && format.needs_base)
    throw Error(ErrorKind::recipe, str("the format ", format.name, " holds tensors as they are"),
                {}, "leave `rest` out, or export another format");
  Report report;
  report.format = format.name;
  report.folder = folder;
  report.rest = rest_text(rest);
  const WholeTables whole(*source.model);
  const RoundedRest rounded(source, rest);
  source.model->params().refresh(nn::Precision::float32);
  AtomicFolder work(folder);
  if (format.needs_base && base.empty())
    throw Error(ErrorKind::recipe, str("the format ", format.name, " needs a base"), {},
                "name the model that readers have already: `base`");
  format.write(source, {work.path(), folder, base, rest});
  report.savings = savings(source, rest, format.keeps_integers(source), format.coded);
  if (!format.needs_base || !same_tokenizer(source_folder, base))
    checkpoint::copy_tokenizer(source_folder, work.path());
  if (!provenance.is_null())
    write_file(work.path() / "compress_run.json", provenance.dump(2) + "\n");
  const Check how{source, work.path(), check, tolerance};
  if (format.read != nullptr)
    verify_graph(how, format.read, report);
  else
    verify_folder(how, format.keeps_activations(source), report);
  work.commit();
  count_bytes(report);
  return report;
}

}  // namespace compress::exports
