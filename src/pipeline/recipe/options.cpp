#include <algorithm>

#include "compress/base/strings.h"
#include "compress/eval/kept.h"
#include "compress/eval/metric.h"
#include "compress/pipeline/recipe.h"
#include "compress/storage/tensor.h"
#include "recipe/check.h"

namespace compress::pipeline {

const recipe::Options<StageOptions>& StageOptions::options() {
  static const auto description =
      recipe::Options<StageOptions>("stage")
          .field("name", &StageOptions::name, "how later stages and the run folder call it")
          .required()
          .component_by_key(&StageOptions::kind, stage_kinds)
          .mark(&StageOptions::mark)
          .check(
              [](const StageOptions& stage, const recipe::Mark& mark, recipe::Problems& problems) {
                if (!stage.kind)
                  problems.add(mark, "stage '" + stage.name + "' must have exactly one of " +
                                         join(stage_kinds().names(), ", "));
              });
  return description;
}

namespace {

void check_bounds(const ExpectOptions& e, const recipe::Mark& mark, recipe::Problems& problems) {
  const bool relative = e.drop_at_most || e.gain_at_least || e.within;
  const bool tested = !e.above.empty() || e.within;
  if (!e.at_least && !e.at_most && !relative && !tested)
    problems.add(mark,
                 "an expectation needs at_least, at_most, drop_at_most, gain_at_least, above or "
                 "within");
  if (relative == e.of.empty())
    problems.add(mark, "`of` goes with drop_at_most, gain_at_least or within");
  if (tested != e.p.has_value()) problems.add(mark, "`p` goes with above or within", "add p: 0.05");
  if (tested && !e.metric.empty() && eval::is_metric(e.metric.name) &&
      !eval::is_mean_over_rows(e.metric))
    problems.add(e.metric.mark, "a test needs a metric that is a mean over rows",
                 "those that are: " + eval::means_over_rows());
  if (e.published && !tested) problems.add(mark, "`published` goes with above or within");
  if (e.metric.empty() != e.number.has_value())
    problems.add(mark, "an expectation is of a metric or of a number",
                 "give exactly one of `metric` and `number`");
}

}  // namespace

const recipe::Options<ExpectOptions>& ExpectOptions::options() {
  static const auto description =
      recipe::Options<ExpectOptions>("expectation")
          .field("stage", &ExpectOptions::stage, "whose result")
          .required()
          .field("metric", &ExpectOptions::metric, "which score")
          .field(
              "number", &ExpectOptions::number,
              "instead of a metric: which number of those that the stage leaves, keys and places "
              "in lists with dots: layers.0")
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
          .field("above", &ExpectOptions::above,
                 "must be better than this stage by a paired test over seeds and rows")
          .field("within", &ExpectOptions::within,
                 "must not be worse than `of` by more than this, by the same test")
          .at_least(0)
          .field("p", &ExpectOptions::p, "level of the test: its interval has confidence 1 - p")
          .range(1e-6, 0.5)
          .field("claim", &ExpectOptions::claim, "what holds where it is reached, in words")
          .field("published", &ExpectOptions::published,
                 "with `above` or `within`: the difference that the paper reports of its own data, "
                 "in the metric's unit; tables put its sign beside the measured one")
          .mark(&ExpectOptions::mark)
          .check(check_bounds);
  return description;
}

const recipe::Options<PublishedNumber>& PublishedNumber::options() {
  static const auto description =
      recipe::Options<PublishedNumber>("published number")
          .field("what", &PublishedNumber::what, "model, data and metric")
          .required()
          .field("value", &PublishedNumber::value, "as it is printed")
          .required();
  return description;
}

const recipe::Options<PaperOptions>& PaperOptions::options() {
  static const auto description =
      recipe::Options<PaperOptions>("paper")
          .field("title", &PaperOptions::title, "of the paper")
          .required()
          .field("arxiv", &PaperOptions::arxiv, "its number there, in quotes")
          .field("table", &PaperOptions::table, "where its numbers stand")
          .field("numbers", &PaperOptions::numbers, "what it reports")
          .field("unverified", &PaperOptions::unverified,
                 "values of this recipe that the paper could not be asked about")
          .shorthand("title");
  return description;
}

std::string PaperOptions::text() const {
  std::vector<std::string> place;
  if (!arxiv.empty()) place.push_back("arXiv " + arxiv);
  if (!table.empty()) place.push_back(table);
  return title + (place.empty() ? "" : " (" + join(place, ", ") + ")");
}

bool can_name_a_folder(const std::string& name) {
  return !name.empty() && name.front() != '.' && name.size() <= 200 &&
         std::none_of(name.begin(), name.end(), [](unsigned char c) {
           return c == '/' || c == '\\' || c < ' ' || c == 0x7f;
         });
}

namespace {

// A run's folder lies in `runs`, under the recipe's name.
void check_name(const RecipeOptions& recipe, const recipe::Mark& mark, recipe::Problems& problems) {
  const std::string& name = recipe.name;
  recipe::Mark place = mark;
  if (recipe.stages.empty()) {
    place.path = "stages";
    problems.add(place, "the recipe has no stages", "`stages` lists what is to be done");
  }
  if (can_name_a_folder(name)) return;
  place.path = "name";
  problems.add(
      place, storage::shown_name(name) + " cannot name a run's folder",
      "a name of at most 200 bytes without / that does not begin with a point; `--out` says "
      "where the run writes");
}

}  // namespace

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
          .field("expect", &RecipeOptions::expect, "numbers that the run should reach")
          .check(check_name);
  return description;
}

}  // namespace compress::pipeline
