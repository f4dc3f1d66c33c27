// How much each layer changes its input.

#include <algorithm>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/nn/architecture.h"
#include "stages/measure/arithmetic.h"
#include "stages/measure/measurement.h"

namespace compress::pipeline {

using torch::Tensor;

namespace {

// Packed positions of the first or last tokens of a batch's rows; undefined: all.
Tensor positions_of(const data::Batch& batch, const std::string& which) {
  if (which == "all") return {};
  const Tensor ends = torch::tensor(batch.row_offsets);
  const Tensor at = which == "first" ? ends.slice(0, 0, -1) : ends.slice(0, 1) - 1;
  return at.to(batch.token_ids.device());
}

// Sums over tokens of how alike the states before and behind each layer are.
struct Similarities {
  Tensor sums, tokens = torch::zeros({1}, torch::kFloat64);

  void add(const std::vector<Tensor>& hidden, const data::Batch& batch, const std::string& which) {
    const Tensor at = positions_of(batch, which);
    const Tensor found = contribution_sums(hidden, at);
    sums = sums.defined() ? sums + found : found;
    tokens += at.defined() ? at.size(0) : batch.tokens();
  }
};

class Contribution final : public Measurement {
 public:
  using Measurement::Measurement;

  bool stores() const override { return false; }

  nn::Json names(const Planning& planning, const nn::ModelConfig& model,
                 data::Task task) const override {
    if (planning.is_open(options_.model)) return nullptr;
    const auto layers = [](int64_t count) {
      return std::vector<double>(static_cast<size_t>(count));
    };
    nn::Json numbers = {{"layers", layers(std::max<int64_t>(model.layers, 1))}, {"tokens", 0}};
    if (has_second(model, task)) numbers["decoder_layers"] = layers(model.decoder_layers);
    return numbers;
  }

  void plan(Planning& planning, const nn::ModelConfig& model) const override {
    const nn::Architecture stacks = nn::architecture(model);
    if (options_.token == "first" && stacks.encoder.layers == 0 && stacks.decoder.layers > 0)
      planning.line("note          the first token of a row sees itself alone: `token: last`");
    if (!planning.is_open(options_.model))
      planning.line(str("leaves        ", numbers_name, ": layers.0 to layers.",
                        std::max<int64_t>(model.layers, 1) - 1));
  }

  // The layers of the model's one stack or of its encoder, and those of a decoder behind it where
  // rows have a text for it.
  nn::Json take(Bench& bench, Asked& asked, const data::Split& split, StageResult&) const override {
    Similarities first, second;
    asked.each(split, share_of(split.rows(), bench.processes),
               {.hidden = true, .decoder_hidden = true},
               [&](const std::vector<int64_t>&, const data::Batch& batch, const nn::Outputs& out) {
                 first.add(out.hidden, batch, options_.token);
                 if (!out.decoder_hidden.empty() && batch.decoder)
                   second.add(out.decoder_hidden, *batch.decoder, options_.token);
               });
    const nn::ModelConfig& config = asked.config();
    nn::Json numbers = {{"layers", means(bench, first, config.layers)},
                        {"tokens", static_cast<int64_t>(first.tokens.item<double>())}};
    if (has_second(config, split.task))
      numbers["decoder_layers"] = means(bench, second, config.decoder_layers);
    return numbers;
  }

  std::string summary(const nn::Json& numbers) const override {
    std::vector<std::string> parts;
    for (const nn::Json& number : numbers.at("layers"))
      parts.push_back(fixed(number.get<double>(), 4));
    return "cosine of a layer's input and output, from the first layer: " + join(parts, ", ");
  }

 private:
  // A decoder behind an encoder reads texts that only such rows have.
  static bool has_second(const nn::ModelConfig& model, data::Task task) {
    return task == data::Task::sequence_to_sequence && model.decoder_layers > 0;
  }

  std::vector<double> means(Bench& bench, Similarities& found, int64_t layers) const {
    if (!found.sums.defined()) found.sums = torch::zeros({layers}, torch::kFloat64);
    if (bench.processes != nullptr) {
      bench.processes->sum(found.sums);
      bench.processes->sum(found.tokens);
    }
    const Tensor mean = (found.sums / found.tokens).contiguous();
    if (!torch::isfinite(mean).all().item<bool>())
      throw Error(ErrorKind::diverged, "the model's states are not finite",
                  options_.model.mark.text());
    const auto* values = mean.const_data_ptr<double>();
    return {values, values + mean.numel()};
  }
};

}  // namespace

std::unique_ptr<Measurement> contribution(const MeasureOptions& options) {
  return std::make_unique<Contribution>(options);
}

}  // namespace compress::pipeline
