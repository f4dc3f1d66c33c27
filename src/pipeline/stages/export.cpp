// The kind of stage that writes a finished model in formats of the ecosystem.

#include <algorithm>
#include <chrono>

#include "compress/base/clock.h"
#include "compress/base/log.h"
#include "compress/base/place.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/delta.h"
#include "compress/export/export.h"
#include "materials/workbench.h"
#include "recipe/configs.h"
#include "recipe/planning.h"
#include "stages/kinds.h"

namespace compress::pipeline {

namespace {

bool is_known(const std::string& format) {
  const std::vector<std::string> known = exports::formats();
  return std::find(known.begin(), known.end(), format) != known.end();
}

struct ExportOptions {
  recipe::ModelReference model;
  std::vector<std::string> formats = {"huggingface"};
  recipe::ModelReference base;   // of a delta
  recipe::DataReference data;    // compared on; default: the data of the stage that made the model
  int64_t rows = 256;            // rows compared
  double tolerance = 1e-4;       // of the logits, relative to the largest
  std::string rest = "float32";  // of tensors that are no integers: float32 | bf16 | float16

  static const recipe::Options<ExportOptions>& options() {
    static const auto description =
        recipe::Options<ExportOptions>("export")
            .field("model", &ExportOptions::model, "an earlier stage, or a folder")
            .required()
            .field("formats", &ExportOptions::formats, "what to write")
            .one_of(exports::formats())
            .field("base", &ExportOptions::base,
                   "model that readers of a delta have already: a folder, or an earlier stage")
            .field("rest", &ExportOptions::rest,
                   "type of all tensors that the quantization leaves: embeddings, pooler, "
                   "classifier, norms, biases")
            .one_of(exports::rest_names())
            .field("data", &ExportOptions::data,
                   "data set to compare on; default: the one that the model's stage used")
            .field("rows", &ExportOptions::rows, "rows compared")
            .range(1, 1e9)
            .field("tolerance", &ExportOptions::tolerance,
                   "largest difference of logits, relative to the largest logit")
            .above(0)
            .check(
                [](const ExportOptions& o, const recipe::Mark& mark, recipe::Problems& problems) {
                  for (const std::string& format : o.formats)
                    if (o.rest != "float32" && is_known(format) && exports::needs_base(format))
                      problems.add(mark, "the format " + format + " holds tensors as they are",
                                   "leave `rest` out, or export another format");
                  for (const std::string& format : o.formats)
                    if (o.base.empty() && is_known(format) && exports::needs_base(format))
                      problems.add(mark, "the format " + format + " needs a `base`",
                                   "name the model that its readers have already");
                });
    return description;
  }
};

class ExportStage : public StageKind {
 public:
  explicit ExportStage(const StageOptions& stage)
      : StageKind(stage), options_(stage.kind.as<ExportOptions>()) {}

  std::vector<recipe::Referred> inputs(const RecipeOptions& recipe) const override {
    std::vector<recipe::Referred> found = StageKind::inputs(recipe);
    const recipe::DataReference data = compared_on(recipe);
    if (options_.data.empty() && !data.empty())
      found.push_back({recipe::Refers::data, "data", data});
    return found;
  }

  void check_models(Configs& configs) const override {
    const Known& model = configs.model(options_.model);
    const nn::ModelConfig& config = model.config;
    for (const std::string& format : options_.formats)
      if (model.quantised)
        with_place(options_.model.mark.text(),
                   [&] { exports::check_format(format, *model.quantised); });
    if (!options_.base.empty()) check_base(configs, config);
    const recipe::DataReference data = compared_on(configs.recipe().options);
    if (data.empty() || !nn::has_classes(config.head)) return;
    if (eval::can_score(config.head, data::task_of(configs.recipe().dataset(data))))
      configs.check_classes(config, data, data.mark);
  }

  void plan(Planning& planning) const override {
    planning.line(str("export ", options_.model, " as ", join(options_.formats, ", ")));
    const nn::ModelConfig& config = planning.model(options_.model).config;
    with_place(options_.model.mark.text(), [&] {
      for (const std::string& format : options_.formats) exports::check_model(format, config);
    });
  }

  StageResult run(Bench& bench) const override {
    const auto begin = std::chrono::steady_clock::now();
    const std::filesystem::path folder = bench.work.folder(options_.model);
    exports::LoadedModel loaded = exports::load(folder);
    StageResult result;
    result.count(*loaded.model);
    const exports::Quantised integers = exports::quantised_in(loaded.scheme);
    result.quantized = integers.weights || integers.activations;
    result.embeddings = exports::embeddings_text(loaded.scheme);
    const data::Split* check = split_of(bench, folder);
    for (const std::string& format : options_.formats) {
      bench.work.check_stop("the export '" + bench.name() + "' was complete");
      result.made.push_back(format);
      if (bench.first()) write(bench, format, loaded, folder, check, result);
    }
    result.seconds = seconds_since(begin);
    return result;
  }

 private:
  // A stage's model is a dense folder, which any model of its family may stand on.
  void check_base(Configs& configs, const nn::ModelConfig& config) const {
    const std::string& base = options_.base;
    if (configs.recipe().stage(base) == nullptr)
      with_place(options_.base.mark.text(), [&] { checkpoint::check_base(base, config); });
  }

  // The data set that was named, or that of the stage that made the model; at the place that says
  // so.
  recipe::DataReference compared_on(const RecipeOptions& recipe) const {
    if (!options_.data.empty()) return options_.data;
    recipe::DataReference found;
    for (const StageOptions& stage : recipe.stages) {
      if (stage.name == stage_.name) break;
      if (options_.model == stage.name && stage.kind) found.name = dataset_of(recipe, stage);
    }
    found.mark = options_.model.mark;
    return found;
  }

  const data::Split* split_of(Bench& bench, const std::filesystem::path& folder) const {
    const recipe::DataReference name = compared_on(bench.recipe.options);
    if (name.empty()) return nullptr;
    const data::DatasetOptions& data = bench.recipe.dataset(name);
    const char* part = !data.test.empty()         ? "test"
                       : !data.validation.empty() ? "validation"
                                                  : "train";
    return &bench.work.split(name, part, folder);
  }

  // The other processes wait at the next check.
  void write(Bench& bench, const std::string& format, exports::LoadedModel& model,
             const std::filesystem::path& folder, const data::Split* check,
             StageResult& result) const {
    exports::Report report =
        exports::write(format, model, folder, bench.folder / format, check, bench.provenance,
                       options_.tolerance, base_of(bench), exports::rest_type(options_.rest));
    log::info(str(bench.name(), ": ", format, "  ",
                  human_bytes(static_cast<double>(report.weight_bytes)),
                  " of weights on disk, re-read: largest logit difference ",
                  report.largest_difference, " on ", report.rows, " rows, ", title(report.ours),
                  " ", fixed(report.ours.value, 4), " and ", fixed(report.reread.value, 4)));
    result.bytes = report.weight_bytes;
    result.exports.push_back(std::move(report));
  }

  std::filesystem::path base_of(Bench& bench) const {
    return options_.base.empty() ? std::filesystem::path() : bench.work.folder(options_.base);
  }

  const ExportOptions& options_;
};

}  // namespace

void add_export(StageRegistry& registry) {
  add_kind<ExportStage, ExportOptions>(registry, "export", "writes a model for other programs");
}

}  // namespace compress::pipeline
