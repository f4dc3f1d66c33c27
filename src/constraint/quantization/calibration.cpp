#include "compress/constraint/calibration.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/constraint/quantize.h"
#include "quantization/quantization.h"
#include "selection.h"

namespace compress::constraint {

namespace {

using torch::Tensor;

constexpr int64_t histogram_bins = 2048;

void check_calibration(const CalibrationOptions& o, const recipe::Mark& mark,
                       recipe::Problems& problems) {
  if (o.weights == "none" && o.activations == "none" && o.embeddings == "none")
    problems.add(mark, "neither weights nor activations would be quantised",
                 "set one of them to int8");
  if (o.weights == "none" && (o.rounding != "nearest" || o.weight_range != "max"))
    problems.add(mark, "`weight_range` and `rounding` are of weights, which stay as they are",
                 "set `weights: int8`, or leave them out");
  if (o.targets.empty()) problems.add(mark, "targets is empty: nothing would be quantised");
}

}  // namespace

const recipe::Options<CalibrationOptions>& CalibrationOptions::options() {
  using C = CalibrationOptions;
  static const auto description =
      recipe::Options<C>("calibration")
          .field("weights", &C::weights, "weights of the targets")
          .one_of({"int8", "none"})
          .field("weight_granularity", &C::weight_granularity,
                 "one scale an output row, or one in all")
          .one_of({"channel", "tensor"})
          .field(
              "weight_range", &C::weight_range,
              "the largest magnitude, or the share of it with the least squared error; what lies "
              "outside is clipped")
          .one_of({"max", "mse"})
          .field("rounding", &C::rounding,
                 "each weight for itself, or column by column with the error made good by later "
                 "columns (gptq)")
          .one_of({"nearest", "gptq"})
          .field("activations", &C::activations, "what the targets read")
          .one_of({"int8", "none"})
          .field("activation_scale", &C::activation_scale,
                 "one from the rows that are read, or from each token itself")
          .one_of({"static", "dynamic"})
          .field("activation_range", &C::activation_range,
                 "static: the largest magnitude that was read, a percentile of magnitudes, or the "
                 "range with the least squared error")
          .one_of({"min_max", "percentile", "mse"})
          .field("percentile", &C::percentile, "percent of an input's magnitudes inside the range")
          .range(50, 100)
          .field("embeddings", &C::embeddings,
                 "word, position and segment tables: int8 with a scale a row, int4 with one for "
                 "every `embedding_group` values")
          .one_of({"none", "int8", "int4"})
          .field("embedding_group", &C::embedding_group,
                 "int4: values of a row that share a scale; divides the width")
          .at_least(1)
          .field("targets", &C::targets,
                 "roles, groups of roles or globs over tensor names; a task head only by name")
          .field("exclude", &C::exclude, "globs over tensor names")
          .mark(&C::mark)
          .check(check_calibration);
  return description;
}

// What one product reads: its range, how its magnitudes are spread, its second moments.
class Calibration::Watch final : public nn::InputTransform {
 public:
  enum class Looks { range, spread };

  Watch(bool spread, bool moments) : spreads_(spread), moments_wanted_(moments) {}

  Tensor apply(const Tensor& input, const nn::RowInfo& rows) override {
    const Tensor x = rows.of(input).to(torch::kFloat32);
    if (x.numel() == 0) return input;
    const Tensor magnitude = x.abs();
    if (looks == Looks::range) {
      const Tensor most = magnitude.amax().to(torch::kFloat64);
      most_ = most_.defined() ? torch::maximum(most_, most) : most;
      if (moments_wanted_) {
        const Tensor flat = x.reshape({-1, x.size(-1)});
        const Tensor more = flat.t().matmul(flat).to(torch::kFloat64);
        moments_ = moments_.defined() ? moments_.add_(more) : more;
      }
    } else if (spreads_ && most() > 0) {
      const Tensor more = torch::histc(magnitude, histogram_bins, 0, most()).to(torch::kFloat64);
      counts_ = counts_.defined() ? counts_.add_(more) : more;
    }
    return input;
  }

  bool seen() const { return most_.defined(); }
  double most() const {
    if (!known_) known_ = most_.item<double>();
    return *known_;
  }
  Tensor counts() const { return counts_.to(torch::kCPU); }
  bool spread() const { return counts_.defined(); }
  const Tensor& moments() const { return moments_; }

  Looks looks = Looks::range;

 private:
  bool spreads_, moments_wanted_;
  Tensor most_, counts_, moments_;
  mutable std::optional<double> known_;  // in the second pass
};

Calibration::Calibration(const CalibrationOptions& options, nn::Model& model) : options_(options) {
  const roles::Scene scene{
      .student = model.config(), .weights = model.params(), .helpers = model.params()};
  QuantizationOptions held;
  held.embeddings = options_.embeddings;
  held.embedding_group = options_.embedding_group;
  held.exclude = options_.exclude;
  if (options_.weights != "none" || options_.activations != "none")
    parameters_ = select(scene.weights, {options_.targets, excluded_matrices(scene, held), true},
                         options_.mark);
  tables_ = select_tables(scene, held, options_.mark);
}

Calibration::~Calibration() {
  unwatch();
}

bool Calibration::static_inputs() const {
  return options_.activations != "none" && options_.activation_scale == "static";
}

int Calibration::passes() const {
  if (static_inputs() && options_.activation_range != "min_max") return 2;
  return static_inputs() || options_.rounding == "gptq" ? 1 : 0;
}

// Layers of a fused product read one input, where all of them are calibrated.
void Calibration::watch() {
  std::map<const nn::Fused*, Watch*> shared;
  for (nn::Parameter* parameter : parameters_) {
    const nn::Fused* group = parameter->fused;
    const bool whole = holds_group(*parameter, parameters_);
    Watch* known = whole ? shared[group] : nullptr;
    if (known == nullptr) {
      watches_.push_back(std::make_unique<Watch>(passes() == 2, options_.rounding == "gptq"));
      known = watches_.back().get();
      if (whole) shared[group] = known;
    }
    watched_[parameter] = known;
    parameter->input = known;
  }
}

void Calibration::unwatch() {
  for (nn::Parameter* parameter : parameters_)
    if (watched_.contains(parameter) && parameter->input == watched_.at(parameter))
      parameter->input = nullptr;
}

int64_t Calibration::moment_bytes() const {
  if (options_.rounding != "gptq") return 0;
  int64_t bytes = 0;
  for (const nn::Parameter* parameter : parameters_)
    bytes += 8 * parameter->latent.size(1) * parameter->latent.size(1);
  return bytes;
}

void Calibration::change_weights() {
  torch::NoGradGuard no_grad;
  if (options_.weights == "none") return;
  const Granularity granularity = parse_granularity(options_.weight_granularity);
  for (nn::Parameter* parameter : parameters_) {
    Tensor latent = parameter->latent.detach();
    if (options_.weight_range == "mse") clip_to_mse(latent, granularity);
    if (options_.rounding == "gptq")
      round_by_moments(latent, watched_.at(parameter)->moments(), granularity);
  }
}

nn::Json Calibration::run(const std::function<void()>& read) {
  if (passes() > 0) {
    watch();
    read();
    for (nn::Parameter* parameter : parameters_) {
      const Watch& seen = *watched_.at(parameter);
      const std::string module = module_name(parameter->name);
      if (!seen.seen())
        throw Error(ErrorKind::recipe, "the input of " + module + " was never read",
                    options_.mark.text(), "exclude the layer");
      if (!std::isfinite(seen.most()))
        throw Error(ErrorKind::diverged, "the input of " + module + " is not finite",
                    options_.mark.text());
    }
    if (passes() == 2) {
      for (const auto& seen : watches_) seen->looks = Watch::Looks::spread;
      read();
    }
    unwatch();
  }
  change_weights();

  nn::Json scheme =
      scheme_of(options_.weights == "none" ? "none" : options_.weight_granularity,
                options_.activations == "none" ? "none" : options_.activation_scale, parameters_);
  if (!tables_.empty())
    scheme["embeddings"] =
        table_scheme(table_grid(options_.embeddings, options_.embedding_group), tables_);
  if (!static_inputs()) return scheme;
  std::map<const Watch*, double> ranges;
  nn::Json& scales = scheme["input_scales"] = nn::Json::object();
  for (const nn::Parameter* parameter : parameters_) {
    const Watch* seen = watched_.at(parameter);
    auto [known, fresh] = ranges.try_emplace(seen, seen->most());
    if (fresh && seen->spread())
      known->second = options_.activation_range == "mse"
                          ? mse_range(seen->counts(), seen->most())
                          : percentile_range(seen->counts(), seen->most(), options_.percentile);
    const auto scale = static_cast<float>(known->second / 127.5);
    scales[module_name(parameter->name)] =
        static_cast<double>(scale > 0 ? scale : std::numeric_limits<float>::epsilon());
  }
  return scheme;
}

std::string Calibration::report() const {
  std::vector<std::string> parts;
  if (options_.weights != "none")
    parts.push_back(str("int8 per ", options_.weight_granularity, " (range ", options_.weight_range,
                        ", rounding ", options_.rounding, ")"));
  if (options_.activations != "none")
    parts.push_back(
        options_.activation_scale == "dynamic"
            ? "activations per token"
            : str("activations per tensor (", options_.activation_range,
                  options_.activation_range == "percentile" ? str(" ", options_.percentile) : "",
                  ")"));
  if (!tables_.empty())
    parts.push_back("embeddings " +
                    table_text(table_grid(options_.embeddings, options_.embedding_group)));
  int64_t count = 0;
  for (const nn::Parameter* parameter : parameters_) count += parameter->numel();
  return str(with_commas(count), " weights in ", parameters_.size(),
             " layers: ", join(parts, ", "));
}

}  // namespace compress::constraint
