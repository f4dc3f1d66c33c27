// The kind of stage that measures a model over data: numbers for later stages.

#include <chrono>

#include "compress/augment/augment.h"
#include "compress/base/clock.h"
#include "compress/base/files.h"
#include "compress/base/log.h"
#include "compress/base/strings.h"
#include "materials/workbench.h"
#include "recipe/configs.h"
#include "recipe/planning.h"
#include "stages/kinds.h"
#include "stages/measure/measurement.h"

namespace compress::pipeline {

const recipe::Options<MeasureOptions>& MeasureOptions::options() {
  static const auto description = [] {
    recipe::Options<MeasureOptions> o("measure");
    add_model(o);
    o.field("data", &MeasureOptions::data, "name of a data set").required();
    o.field("part", &MeasureOptions::part, "of the data set")
        .one_of({"train", "validation", "test"});
    o.field("what", &MeasureOptions::what,
            "how much each layer changes its input, the loss of each token of a language model, or "
            "which tokens a masked language model has not learnt, or how often each of its "
            "tokenizer's tokens is in the data, special ones included (the model is not asked)")
        .one_of({"contribution", "token_losses", augment::hard_tokens, augment::token_counts});
    o.field("token", &MeasureOptions::token,
            "contribution: of each row's first token ([CLS]), of its last (of a decoder, whose "
            "first token sees itself alone), or of all tokens")
        .one_of({"first", "last", "all"});
    o.field("rule", &MeasureOptions::rule,
            "hard_tokens: those that the model reads and takes for another (wrong), or whose "
            "loss is above `above` (loss)")
        .one_of({"wrong", "loss"});
    o.field("above", &MeasureOptions::above, "hard_tokens: loss in nats").at_least(0);
    add_asking(o);
    return o;
  }();
  return description;
}

std::unique_ptr<Measurement> measurement(const MeasureOptions& options) {
  if (options.what == "token_losses") return losses_of_tokens(options);
  if (options.what == augment::hard_tokens) return hard_tokens(options);
  if (options.what == augment::token_counts) return counts_of_tokens(options);
  return contribution(options);
}

namespace {

class MeasureStage : public StageKind {
 public:
  explicit MeasureStage(const StageOptions& stage)
      : StageKind(stage), options_(stage.kind.as<MeasureOptions>()) {}

  Leaves leaves() const override {
    return {.store = measurement(options_)->stores(), .numbers = true};
  }
  std::vector<std::vector<std::string>> indifferent() const override {
    return {{"batch"}, {"device"}};
  }

  void check(const RecipeOptions& recipe, recipe::Problems& problems) const override {
    check_asking(options_, problems);
    check_part(recipe, options_.data, options_.part, problems);
  }

  void check_models(Configs& configs) const override {
    measurement(options_)->check(configs.model(options_.model).config,
                                 data::task_of(configs.recipe().dataset(options_.data)));
  }

  void plan(Planning& planning) const override {
    const nn::ModelConfig& config = planning.model(options_.model).config;
    planning.line(str("measure ", options_.what, " of ", options_.model, " on ", options_.data,
                      " (", options_.part, ")"));
    const std::unique_ptr<Measurement> what = measurement(options_);
    what->plan(planning, config);
    nn::Json names =
        what->names(planning, config, data::task_of(planning.recipe().dataset(options_.data)));
    if (names.is_null()) return;
    names["rows"] = 0;
    planning.promise(stage_.name, {.metrics = {}, .numbers = std::move(names)});
  }

  StageResult run(Bench& bench) const override {
    const auto begin = std::chrono::steady_clock::now();
    Asked asked(bench, options_);
    StageResult result;
    result.count(asked.model());
    const data::Split& split = bench.work.split(options_.data, options_.part, asked.folder());
    const std::unique_ptr<Measurement> what = measurement(options_);
    result.numbers = what->take(bench, asked, split, result);
    result.numbers["rows"] = split.rows();
    parallel::first_only(bench.processes, [&] {
      write_file(bench.folder / numbers_name, result.numbers.dump(2) + "\n");
    });
    result.made.push_back(numbers_name);
    result.notes.push_back(what->summary(result.numbers));
    log::info(bench.name() + ": " + result.notes.back());
    result.seconds = seconds_since(begin);
    return result;
  }

 private:
  const MeasureOptions& options_;
};

}  // namespace

void add_measure(StageRegistry& registry) {
  add_kind<MeasureStage, MeasureOptions>(
      registry, "measure", "measures a model over data, for later stages",
      "contribution: c_l = mean over tokens of cos(state before layer l, state after layer l)\n"
      "token_losses: -log p(token | those before it), of each predicted token\n"
      "hard_tokens: the t with argmax z_t != x_t (wrong), or -log softmax(z_t)[x_t] > above "
      "(loss), "
      "z = f(x) of rows that hide nothing\n"
      "token_counts: count(v) = how often token v is in the rows",
      "Sajjad et al. 2023, arXiv 2004.03844, section 3 (contribution); Zhong et al. 2022, arXiv "
      "2212.01853 (hard_tokens)",
      "It leaves `numbers.json`: of `contribution` \"layers\", a list with a number for each layer "
      "of "
      "the encoder (or of the one stack), the first one first; a number near 1 says that the layer "
      "changes little. Of an encoder-decoder on `task: sequence_to_sequence` there is "
      "\"decoder_layers\" beside it, of the target's tokens. Sajjad et al. take the first token "
      "([CLS]) on the development set. Where a "
      "family has a norm behind its last layer, the last number is of the state behind that norm. "
      "Of "
      "`token_losses`: \"loss\", \"perplexity\", and in `store/token_losses.safetensors` "
      "\"losses\" "
      "[M] and \"offsets\" [rows + 1]: those of row r are offsets[r] to offsets[r + 1]. Of "
      "`hard_tokens`: \"tokens\" (without special ones), \"hard\", \"share\", and in "
      "`store/hard_tokens.safetensors` \"values\" [M] int32, positions in the row, with "
      "\"offsets\"; `masking: {sets: STAGE}` hides them. Of `token_counts`: \"tokens\", \"seen\", "
      "and in "
      "`store/token_counts.safetensors` \"counts\" [tokens of the tokenizer] int64; `masking: "
      "{draw: update, counts: STAGE}` draws by them. `expect:` "
      "reads numbers by `number: layers.0`.");
}

}  // namespace compress::pipeline
