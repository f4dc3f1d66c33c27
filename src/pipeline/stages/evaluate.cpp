// The kind of stage that scores a model without training it.

#include <chrono>

#include "compress/base/clock.h"
#include "compress/base/error.h"
#include "compress/base/place.h"
#include "compress/base/strings.h"
#include "compress/eval/evaluate.h"
#include "materials/score.h"
#include "materials/workbench.h"
#include "recipe/configs.h"
#include "recipe/planning.h"
#include "run/record.h"
#include "stages/kinds.h"

namespace compress::pipeline {

namespace {

struct EvaluateStageOptions {
  recipe::ModelReference model;
  recipe::DataReference data;
  recipe::Placed<std::string> head;
  std::vector<recipe::MetricReference> metrics;
  std::optional<int64_t> max_new_tokens, num_beams, no_repeat_ngram;
  std::optional<double> length_penalty, null_threshold;

  static const recipe::Options<EvaluateStageOptions>& options() {
    using W = generate::WritingOptions;
    static const auto description =
        recipe::Options<EvaluateStageOptions>("evaluate")
            .field("model", &EvaluateStageOptions::model, "an earlier stage, or a folder")
            .required()
            .field("data", &EvaluateStageOptions::data, "name of a data set")
            .required()
            .field(
                "head", &EvaluateStageOptions::head,
                "the head that is scored, one of the model's `heads`; mean: its own and all that "
                "predict the same classes, whose answers are averaged; default: its own")
            .field("metrics", &EvaluateStageOptions::metrics, "default: those of the task")
            .field("max_new_tokens", &EvaluateStageOptions::max_new_tokens, W::docs[0])
            .at_least(1)
            .field("num_beams", &EvaluateStageOptions::num_beams, W::docs[1])
            .at_least(1)
            .field("no_repeat_ngram_size", &EvaluateStageOptions::no_repeat_ngram, W::docs[2])
            .at_least(0)
            .field("length_penalty", &EvaluateStageOptions::length_penalty, W::docs[3])
            .field("null_threshold", &EvaluateStageOptions::null_threshold,
                   "span: no answer where its score is more than this above the best answer's; "
                   "default: 0");
    return description;
  }
};

class EvaluateStage : public StageKind {
 public:
  explicit EvaluateStage(const StageOptions& stage)
      : StageKind(stage), options_(stage.kind.as<EvaluateStageOptions>()) {}

  void check_models(Configs& configs) const override {
    const nn::ModelConfig config = with_place(options_.head.mark.text(), [&] {
      return nn::with_head(configs.model(options_.model).config, options_.head);
    });
    check_parts(configs.recipe().dataset(options_.data), config);
    configs.check_scored(config, options_.data);
    configs.check_classes(config, options_.data, options_.data.mark);
    configs.check_metrics(options_.metrics, config, options_.data);
  }

  void plan(Planning& planning) const override {
    planning.line(str("evaluate ", options_.model, " on ", options_.data));
    const data::DatasetOptions& data = planning.recipe().dataset(options_.data);
    const nn::ModelConfig scored =
        nn::with_head(planning.model(options_.model).config, options_.head);
    planning.promise(stage_.name,
                     promised_scores(data, reported_metrics(options_.metrics, scored, data)));
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
    result.bytes = static_cast<int64_t>(weight_bytes(folder));
    score_model(bench, loaded,
                {options_.data,
                 options_.head,
                 recipe::names_of(options_.metrics),
                 nn::Precision::float32,
                 folder,
                 bench.stop,
                 {options_.max_new_tokens, options_.num_beams, options_.no_repeat_ngram,
                  options_.length_penalty},
                 options_.null_threshold.value_or(0)},
                result);
    result.seconds = seconds_since(begin);
    return result;
  }

 private:
  // There are rows to score, and what is said of how has something to act on.
  void check_parts(const data::DatasetOptions& data, const nn::ModelConfig& config) const {
    const auto refuse = [this](const std::string& what, const char* hint) {
      throw Error(ErrorKind::recipe, what, options_.data.mark.text(), hint);
    };
    if (data.validation.empty() && data.test.empty())
      refuse("the data set has neither a validation nor a test part to score", "name their files");
    const bool writes = options_.max_new_tokens || options_.num_beams || options_.no_repeat_ngram ||
                        options_.length_penalty;
    if (writes && !eval::need_texts(recipe::names_of(options_.metrics), config))
      refuse("how a model writes is said, but no metric reads what it writes",
             "name such a metric, or leave max_new_tokens, num_beams and their like out");
    if (options_.null_threshold && config.head != nn::HeadKind::span)
      refuse("null_threshold is for questions with a passage", "leave it out");
  }

  const EvaluateStageOptions& options_;
};

}  // namespace

void add_evaluate(StageRegistry& registry) {
  add_kind<EvaluateStage, EvaluateStageOptions>(registry, "evaluate",
                                                "scores a model without training it");
}

}  // namespace compress::pipeline
