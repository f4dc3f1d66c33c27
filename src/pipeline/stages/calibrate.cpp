// The kind of stage that quantises a finished model without training it.

#include <algorithm>
#include <chrono>
#include <numeric>

#include "compress/base/clock.h"
#include "compress/base/error.h"
#include "compress/base/log.h"
#include "compress/base/place.h"
#include "compress/base/random.h"
#include "compress/base/strings.h"
#include "compress/base/work_line.h"
#include "compress/constraint/calibration.h"
#include "compress/eval/evaluate.h"
#include "compress/train/train.h"
#include "materials/asking.h"
#include "materials/score.h"
#include "materials/workbench.h"
#include "recipe/configs.h"
#include "recipe/planning.h"
#include "run/record.h"
#include "stages/kinds.h"

namespace compress::pipeline {

namespace {

// Always in float32.
struct CalibrateOptions : AskOptions {
  CalibrateOptions() { batch = 32; }

  recipe::DataReference data;
  std::string part = "train";
  int64_t rows = 512;
  constraint::CalibrationOptions quantization;
  std::vector<recipe::MetricReference> metrics;
  std::optional<int64_t> seed;

  static const recipe::Options<CalibrateOptions>& options() {
    using C = CalibrateOptions;
    static const auto description =
        recipe::Options<C>("calibrate")
            .field("model", static_cast<recipe::ModelReference C::*>(&C::model),
                   "an earlier stage, or a folder; not quantised yet")
            .required()
            .field("data", &C::data, "name of a data set")
            .required()
            .field("part", &C::part, "of the data set, whose rows are read")
            .one_of({"train", "validation"})
            .field("rows", &C::rows, "that are read, drawn with the seed")
            .at_least(1)
            .field("batch", static_cast<int64_t C::*>(&C::batch), "rows at a time")
            .range(1, 65536)
            .field("quantization", &C::quantization, "what becomes int8, and how")
            .field("metrics", &C::metrics, "default: those of the task")
            .field("seed", &C::seed, "of the drawn rows; default: the recipe's")
            .at_least(0)
            .field("device", static_cast<recipe::Placed<std::string> C::*>(&C::device),
                   "auto, cpu, cuda or cuda:<n>");
    return description;
  }
};

// A draw of `count` of `rows` rows without replacement, the longest first.
std::vector<int64_t> drawn_rows(const data::Split& split, int64_t count, uint64_t seed) {
  std::vector<int64_t> rows(static_cast<size_t>(split.rows()));
  std::iota(rows.begin(), rows.end(), 0);
  Random random(stream_seed(seed, "calibrate"));
  for (size_t i = 0; i + 1 < rows.size() && static_cast<int64_t>(i) < count; ++i)
    std::swap(rows[i], rows[i + random.below(rows.size() - i)]);
  rows.resize(std::min(rows.size(), static_cast<size_t>(count)));
  std::stable_sort(rows.begin(), rows.end(), [&](int64_t a, int64_t b) {
    return data::packed_length(split, a) > data::packed_length(split, b);
  });
  return rows;
}

class CalibrateStage : public StageKind {
 public:
  explicit CalibrateStage(const StageOptions& stage)
      : StageKind(stage), options_(stage.kind.as<CalibrateOptions>()) {}

  Leaves leaves() const override { return {.model = true}; }
  std::optional<int64_t> seed() const override { return options_.seed; }
  std::vector<std::vector<std::string>> indifferent() const override {
    return {{"device"}, {"seed"}};
  }

  void check(const RecipeOptions& recipe, recipe::Problems& problems) const override {
    check_asking(options_, problems);
    check_part(recipe, options_.data, options_.part, problems);
  }

  void check_models(Configs& configs) const override {
    Known model = configs.model(options_.model);
    const exports::Quantised how = {options_.quantization.weights != "none",
                                    options_.quantization.activations != "none",
                                    options_.quantization.embeddings != "none"};
    if (model.quantised &&
        (model.quantised->weights || model.quantised->activations || model.quantised->embeddings))
      refuse_quantised();
    configs.check_scored(model.config, options_.data);
    configs.check_classes(model.config, options_.data, options_.data.mark);
    configs.check_metrics(options_.metrics, model.config, options_.data);
    model.quantised = how;
    configs.leave(stage_.name, std::move(model));
  }

  void plan(Planning& planning) const override {
    nn::ModelState state = planning.model(options_.model);
    const std::unique_ptr<nn::Model> model = nn::build(state, 0);
    const constraint::Calibration calibration(options_.quantization, *model);
    planning.line(str("calibrate ", options_.model, ": ", calibration.report()));
    planning.line(str("reads         ", with_commas(options_.rows), " rows of ", options_.data,
                      " (", options_.part, ") ",
                      calibration.passes() == 0   ? "only to be scored"
                      : calibration.passes() == 1 ? "once"
                                                  : "twice"));
    if (const int64_t bytes = calibration.moment_bytes(); bytes > 0)
      planning.line(str("memory        ", human_bytes(bytes), " of second moments of inputs"));
    const data::DatasetOptions& data = planning.recipe().dataset(options_.data);
    planning.promise(stage_.name,
                     promised_scores(data, reported_metrics(options_.metrics, state.config, data)));
    planning.leave_zeros(stage_.name);  // small weights are rounded to 0
    planning.leave_model(stage_.name, options_.model, std::move(state),
                         planning.is_open(options_.model));
  }

  StageResult run(Bench& bench) const override {
    const auto begin = std::chrono::steady_clock::now();
    const std::filesystem::path source = bench.work.folder(options_.model);
    exports::LoadedModel loaded = exports::load(source);
    if (!loaded.scheme.is_null()) refuse_quantised();
    StageResult result;
    const nn::Json scheme = calibrate(bench, *loaded.model, source, result);
    result.count(*loaded.model);
    result.quantized = true;
    exports::LoadedModel finished = exports::with_scheme(std::move(loaded.model), scheme);
    score_model(bench, finished,
                {options_.data, "", recipe::names_of(options_.metrics), nn::Precision::float32,
                 source, nullptr},
                result);
    const std::filesystem::path folder = bench.folder / model_name;
    parallel::first_only(bench.processes, [&] {
      exports::save_stage_model(*finished.model, scheme, folder, source);
    });
    result.made.push_back(model_name);
    result.bytes = static_cast<int64_t>(weight_bytes(folder));
    result.seconds = seconds_since(begin);
    log::info(str(bench.name(), ": done in ", human_seconds(result.seconds)));
    return result;
  }

 private:
  // Each process reads all rows: they are few.
  nn::Json calibrate(Bench& bench, nn::Model& model, const std::filesystem::path& source,
                     StageResult& result) const {
    torch::NoGradGuard no_grad;
    model.to(train::resolve_device(options_.device, bench.processes, options_.device.mark.text()));
    model.params().refresh(nn::Precision::float32);
    constraint::Calibration calibration(options_.quantization, model);
    result.notes.push_back(calibration.report());
    log::info(bench.name() + ": " + calibration.report());
    const data::Split& split = bench.work.split(options_.data, options_.part, source);
    eval::check_rows(split, model.config(), &bench.work.tokenizer(source));
    const std::vector<int64_t> rows =
        drawn_rows(split, options_.rows, stage_seed(bench.recipe, stage_));
    WorkLine line(bench.name() + "  " + options_.part,
                  calibration.passes() * static_cast<int64_t>(rows.size()));
    int64_t done = 0;
    const nn::Json scheme = calibration.run([&] {
      for (size_t at = 0; at < rows.size(); at += static_cast<size_t>(options_.batch)) {
        if (bench.processes == nullptr)
          bench.work.check_stop("stage '" + bench.name() + "' was done");
        const size_t end = std::min(rows.size(), at + static_cast<size_t>(options_.batch));
        const std::vector<int64_t> part(rows.begin() + static_cast<std::ptrdiff_t>(at),
                                        rows.begin() + static_cast<std::ptrdiff_t>(end));
        model.forward(data::pack(split, part).to(model.device()), {}, {});
        line.update(done += static_cast<int64_t>(part.size()));
      }
    });
    model.to(torch::kCPU);
    return scheme;
  }

  [[noreturn]] void refuse_quantised() const {
    throw Error(ErrorKind::recipe, str("model '", options_.model, "' is quantised already"),
                options_.model.mark.text(), "calibrate the model that it was made of");
  }

  const CalibrateOptions& options_;
};

}  // namespace

void add_calibrate(StageRegistry& registry) {
  add_kind<CalibrateStage, CalibrateOptions>(
      registry, "calibrate", "quantises a finished model to int8 without training it",
      "static inputs: scale = r / 127.5, r of min_max: max |x|;  percentile: that many percent of "
      "|x| are at most r;  mse: the r of k max|x| / 128 with the least sum (Q(x) - x)^2\n"
      "weights: max, or clipped to the share of 1, 0.99, ..., 0.5 of max |w| with the least sum "
      "(Q(w) - w)^2;  gptq: q_j = Q(w_j),  w_k <- w_k - (w_j - q_j) U_jk / U_jj for k > j,  "
      "U^T U = (X^T X + 0.01 mean diag)^-1",
      "Migacz 2017 (calibration by ranges); Nagel et al. 2021, arXiv 2106.08295, section 3; "
      "Frantar "
      "et al. 2022 (GPTQ), arXiv 2210.17323; zeros: Frantar and Alistarh 2023, arXiv 2301.00774",
      "The baseline beside quantisation-aware training (`train` with `quantization`): minutes, the "
      "same arithmetic, scheme and exports. Rows are read by the float32 model, up to twice; "
      "zeros of a pruned model stay zeros. It leaves `model/`.");
}

}  // namespace compress::pipeline
