#include <algorithm>
#include <tuple>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"
#include "compress/checkpoint/sentence.h"
#include "compress/nn/architecture.h"
#include "compress/storage/packed.h"
#include "compress/text/tokenizer.h"
#include "formats.h"

namespace compress::exports {

namespace fs = std::filesystem;
using nn::HeadKind;
using torch::Tensor;

namespace {

constexpr int64_t check_rows = 256;
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
  std::unique_ptr<nn::Model> (*read)(const LoadedModel&, const fs::path&, bool) = nullptr;
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

// Takes the quantisation of what layers read and say out of the model for as long as it lives.
class WithoutActivations {
 public:
  explicit WithoutActivations(nn::Model& model) : model_(model) {
    for (nn::Parameter& parameter : model_.params().list())
      taken_.emplace_back(std::exchange(parameter.input, nullptr),
                          std::exchange(parameter.output, nullptr));
  }
  ~WithoutActivations() {
    auto taken = taken_.begin();
    for (nn::Parameter& parameter : model_.params().list())
      std::tie(parameter.input, parameter.output) = *taken++;
  }
  WithoutActivations(const WithoutActivations&) = delete;
  WithoutActivations& operator=(const WithoutActivations&) = delete;

 private:
  nn::Model& model_;
  std::vector<std::pair<nn::InputTransform*, nn::OutputTransform*>> taken_;
};

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

struct Measured {
  Tensor outputs;  // [rows, ...] float32 on the CPU
  Metric metric;   // empty name: none
  int64_t rows = 0;
};

// Whether the evaluator has a metric for this head on this split.
bool scored(const nn::ModelConfig& config, const data::Split& split) {
  return (config.head == HeadKind::classification && split.task == data::Task::classification &&
          !split.classes.empty()) ||
         (config.head == HeadKind::multi_label && split.task == data::Task::multi_label) ||
         (config.head == HeadKind::regression && split.task == data::Task::regression);
}

// The model's outputs in file order: what its head computes, else the last hidden states.
Tensor outputs_of(nn::Model& model, const data::Split& split, int64_t rows) {
  std::vector<Tensor> parts;
  for (int64_t row = 0; row < rows; ++row) {
    data::Batch batch = data::pack(split, std::span<const int64_t>(&row, 1)).to(model.device());
    batch.targets = {};
    // Rows without a text to be written are written as they are.
    if (model.config().encoder_decoder() && batch.decoder == nullptr)
      batch.decoder = std::make_shared<data::Batch>(batch);
    nn::Capture capture;
    capture.hidden = true;
    nn::Outputs out = model.forward(batch, capture, {});
    const Tensor& result = out.logits.defined()         ? out.logits
                           : out.token_logits.defined() ? out.token_logits
                           : out.pooled.defined()       ? out.pooled
                                                        : out.hidden.back();
    parts.push_back(result.to(torch::kCPU, torch::kFloat32));
  }
  return torch::cat(parts);
}

Measured measure(nn::Model& model, const data::Split& split) {
  torch::NoGradGuard no_grad;
  Measured result;
  eval::check_rows(split, model.config(), nullptr);
  if (scored(model.config(), split)) {
    eval::EvaluateOptions options;
    options.limit = check_rows;
    eval::Evaluation evaluation = eval::evaluate(model, split, options);
    result.outputs = evaluation.logits;
    result.metric = evaluation.metrics.front();
    result.rows = evaluation.rows;
  } else {
    // Token logits are a vocabulary wide: fewer rows say the same.
    result.rows =
        std::min<int64_t>(split.rows(), nn::predicts_tokens(model.config().head) ? 8 : check_rows);
    model.params().refresh(nn::Precision::float32);
    result.outputs = outputs_of(model, split, result.rows);
  }
  return result;
}

[[noreturn]] void differs(const std::string& format, const std::string& what) {
  throw Error(
      ErrorKind::internal,
      "the folder that was written as " + format + " does not read back as the model: " + what, {},
      "nothing was exported; please report this");
}

void compare_weights(const std::string& format, const nn::Model& ours, const nn::Model& reread) {
  if (ours.params().list().size() != reread.params().list().size())
    differs(format, "another number of tensors");
  for (const nn::Parameter& parameter : ours.params().list()) {
    const nn::Parameter* other = reread.params().find(parameter.name);
    if (other == nullptr) differs(format, parameter.name + " is missing");
    // allclose with no tolerance: equal bits but for the sign of zero, and NaN equal to NaN.
    if (!torch::allclose(parameter.effective.cpu(), other->effective.cpu(), 0, 0,
                         /*equal_nan=*/true))
      differs(format,
              str(parameter.name, " differs by up to ",
                  (parameter.effective.cpu() - other->effective.cpu()).abs().max().item<float>()));
  }
}

void compare_outputs(const Measured& ours, const Measured& reread, double tolerance,
                     Report& report) {
  report.rows = ours.rows;
  report.ours = ours.metric;
  report.reread = reread.metric;
  if (ours.outputs.numel() == 0) return;
  report.largest_difference = (ours.outputs - reread.outputs).abs().max().item<double>();
  report.scale = ours.outputs.abs().max().item<double>();
  // Written so that a NaN fails.
  if (!(report.largest_difference <= tolerance * report.scale))
    differs(report.format, str("outputs differ by up to ", report.largest_difference, ", ",
                               tolerance * report.scale, " is allowed"));
}

// Reads `folder` again and compares it with the source, which may be changed in between but is left
// as it was.
void verify(const Format& format, LoadedModel& source, const fs::path& folder,
            const data::Split* check, double tolerance, Report& report) {
  LoadedModel reread = load(folder);
  reread.model->to(source.model->device());
  reread.model->params().refresh(nn::Precision::float32);
  compare_weights(report.format, *source.model, *reread.model);
  if (check == nullptr || check->rows() == 0) return;
  Measured ours;
  if (format.keeps_activations(source)) {
    ours = measure(*source.model, *check);
  } else {
    WithoutActivations dense(*source.model);
    ours = measure(*source.model, *check);
  }
  compare_outputs(ours, measure(*reread.model, *check), tolerance, report);
}

// The same for a graph. Where it rounds what its products read, a last bit decides now and then
// between two integers, and the numbers behind it differ by a step; so outputs are compared without
// that rounding on both sides, and the metric with it.
void verify_graph(const Format& format, LoadedModel& source, const fs::path& folder,
                  const data::Split* check, double tolerance, Report& report) {
  const bool rounds = quantised_in(source.scheme).activations;
  if (check == nullptr || check->rows() == 0) {
    format.read(source, folder, true);
    return;
  }
  if (rounds) {
    WithoutActivations dense(*source.model);
    const Measured ours = measure(*source.model, *check);
    compare_outputs(ours, measure(*format.read(source, folder, false), *check), tolerance, report);
  }
  const Measured ours = measure(*source.model, *check);
  const Measured reread = measure(*format.read(source, folder, true), *check);
  if (!rounds) compare_outputs(ours, reread, tolerance, report);
  report.ours = ours.metric;
  report.reread = reread.metric;
}

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
  (format.read != nullptr ? verify_graph : verify)(format, source, work.path(), check, tolerance,
                                                   report);
  work.commit();
  count_bytes(report);
  return report;
}

}  // namespace compress::exports
