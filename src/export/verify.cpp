#include "verify.h"

#include <algorithm>
#include <tuple>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/eval/evaluate.h"

namespace compress::exports {

namespace fs = std::filesystem;
using nn::HeadKind;
using torch::Tensor;

namespace {

constexpr int64_t most_rows = 256;

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
    options.limit = most_rows;
    eval::Evaluation evaluation = eval::evaluate(model, split, options);
    result.outputs = evaluation.logits;
    result.metric = evaluation.metrics.front();
    result.rows = evaluation.rows;
  } else {
    // Token logits are a vocabulary wide: fewer rows say the same.
    result.rows =
        std::min<int64_t>(split.rows(), nn::predicts_tokens(model.config().head) ? 8 : most_rows);
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

bool has_rows(const Check& check) {
  return check.rows != nullptr && check.rows->rows() > 0;
}

}  // namespace

void verify_folder(const Check& check, bool activations, Report& report) {
  LoadedModel& source = check.source;
  LoadedModel reread = load(check.folder);
  reread.model->to(source.model->device());
  reread.model->params().refresh(nn::Precision::float32);
  compare_weights(report.format, *source.model, *reread.model);
  if (!has_rows(check)) return;
  Measured ours;
  if (activations) {
    ours = measure(*source.model, *check.rows);
  } else {
    WithoutActivations dense(*source.model);
    ours = measure(*source.model, *check.rows);
  }
  compare_outputs(ours, measure(*reread.model, *check.rows), check.tolerance, report);
}

void verify_graph(const Check& check, ReadGraph read, Report& report) {
  LoadedModel& source = check.source;
  const bool rounds = quantised_in(source.scheme).activations;
  if (!has_rows(check)) {
    read(source, check.folder, true);
    return;
  }
  if (rounds) {
    WithoutActivations dense(*source.model);
    const Measured ours = measure(*source.model, *check.rows);
    compare_outputs(ours, measure(*read(source, check.folder, false), *check.rows), check.tolerance,
                    report);
  }
  const Measured ours = measure(*source.model, *check.rows);
  const Measured reread = measure(*read(source, check.folder, true), *check.rows);
  if (!rounds) compare_outputs(ours, reread, check.tolerance, report);
  report.ours = ours.metric;
  report.reread = reread.metric;
}

}  // namespace compress::exports
