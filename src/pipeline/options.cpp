#include "compress/export/export.h"
#include "compress/pipeline/recipe.h"

namespace compress::pipeline {

const recipe::Options<ExportOptions>& ExportOptions::options() {
  static const auto description =
      recipe::Options<ExportOptions>("export")
          .field("model", &ExportOptions::model, "an earlier stage, or a folder")
          .required()
          .field("formats", &ExportOptions::formats, "what to write")
          .one_of(exports::formats())
          .field("data", &ExportOptions::data,
                 "data set to compare on; default: the one that the model's stage used")
          .field("rows", &ExportOptions::rows, "rows compared")
          .range(1, 1e9)
          .field("tolerance", &ExportOptions::tolerance,
                 "largest difference of logits, relative to the largest logit")
          .above(0);
  return description;
}

const recipe::Options<EvaluateStageOptions>& EvaluateStageOptions::options() {
  static const auto description =
      recipe::Options<EvaluateStageOptions>("evaluate")
          .field("model", &EvaluateStageOptions::model, "an earlier stage, or a folder")
          .required()
          .field("data", &EvaluateStageOptions::data, "name of a data set")
          .required()
          .field("metrics", &EvaluateStageOptions::metrics, "default: those of the task");
  return description;
}

const recipe::Options<StageOptions>& StageOptions::options() {
  static const auto description =
      recipe::Options<StageOptions>("stage")
          .field("name", &StageOptions::name, "how later stages and the run folder call it")
          .required()
          .field("train", &StageOptions::train, "trains a model")
          .field("evaluate", &StageOptions::evaluate, "scores a model")
          .field("export", &StageOptions::exports, "writes a model for other programs")
          .check([](const StageOptions& stage, const recipe::Mark& mark,
                    recipe::Problems& problems) {
            int kinds = (stage.train ? 1 : 0) + (stage.evaluate ? 1 : 0) + (stage.exports ? 1 : 0);
            if (kinds != 1)
              problems.add(mark, "stage '" + stage.name +
                                     "' must have exactly one of train, evaluate, export");
          });
  return description;
}

const recipe::Options<ExpectOptions>& ExpectOptions::options() {
  static const auto description =
      recipe::Options<ExpectOptions>("expectation")
          .field("stage", &ExpectOptions::stage, "whose result")
          .required()
          .field("metric", &ExpectOptions::metric, "which number")
          .required()
          .field("split", &ExpectOptions::split, "on which part of the data")
          .one_of({"test", "validation"})
          .field("at_least", &ExpectOptions::at_least, "lower bound")
          .field("at_most", &ExpectOptions::at_most, "upper bound")
          .field("of", &ExpectOptions::of, "another stage to compare with")
          .field("drop_at_most", &ExpectOptions::drop_at_most,
                 "may be lower than `of` by this much")
          .at_least(0)
          .field("gain_at_least", &ExpectOptions::gain_at_least,
                 "must be higher than `of` by this much")
          .check([](const ExpectOptions& e, const recipe::Mark& mark, recipe::Problems& problems) {
            bool relative = e.drop_at_most || e.gain_at_least;
            if (!e.at_least && !e.at_most && !relative)
              problems.add(mark,
                           "an expectation needs at_least, at_most, drop_at_most or gain_at_least");
            if (relative == e.of.empty())
              problems.add(mark, "`of` goes with drop_at_most or gain_at_least");
          });
  return description;
}

const recipe::Options<RecipeOptions>& RecipeOptions::options() {
  static const auto description =
      recipe::Options<RecipeOptions>("recipe")
          .field("name", &RecipeOptions::name, "of the experiment; also of its run folder")
          .required()
          .field("description", &RecipeOptions::description, "one line for readers")
          .field("paper", &RecipeOptions::paper, "what it reproduces")
          .field("seed", &RecipeOptions::seed, "of every random stream")
          .range(0, 9e15)
          .field("data", &RecipeOptions::data, "data sets by name")
          .field("stages", &RecipeOptions::stages, "run in this order")
          .required()
          .field("expect", &RecipeOptions::expect, "numbers that the run should reach");
  return description;
}

}  // namespace compress::pipeline
