// What a recipe may name, and what it says of itself.

#include <gmock/gmock.h>

#include <set>

#include "compress/train/options.h"
#include "recipe/configs.h"
#include "unit/pipeline/folder.h"

namespace compress::pipeline {
namespace {

using testing::HasSubstr;
using namespace std::string_literals;

class Recipes : public Folder {
 protected:
  std::string refused(const std::string& yaml) const {
    return tiny::error_of(ErrorKind::recipe, [&] { load(yaml); });
  }
};

TEST_F(Recipes, AreResolvedWithEveryDefault) {
  const Recipe recipe = load(text(stage("a", base(), 2)), {"stages.a.train.batch=8"});
  EXPECT_THAT(recipe.resolved, HasSubstr("batch: 8"));
  EXPECT_THAT(recipe.resolved, HasSubstr("max_target_length: 128"));
  EXPECT_EQ(recipe.options.seed, 13);
  EXPECT_EQ(recipe.stage("a")->kind.as<train::TrainOptions>().length, Duration::steps(2));
  EXPECT_EQ(recipe.stage("b"), nullptr);
  EXPECT_EQ(recipe.dataset("films").label, "label");
  EXPECT_THAT(tiny::error_of(ErrorKind::recipe, [&] { (void)recipe.dataset("x"); }),
              HasSubstr("no data set 'x'"));
  // Read again, the resolved recipe is the same one.
  EXPECT_EQ(load(recipe.resolved).resolved, recipe.resolved);
}

TEST_F(Recipes, MayNameEarlierStagesAndFoldersAlone) {
  EXPECT_THAT(refused(text(stage("a", "b", 1) + stage("b", base(), 1))),
              HasSubstr("stage 'b' comes later"));
  EXPECT_THAT(refused(text(stage("a", "a", 1))), HasSubstr("stage 'a' comes later"));
  EXPECT_THAT(refused(text(stage("first", base(), 1) + stage("b", "frist", 1))),
              HasSubstr("did you mean 'first'?"));
  EXPECT_THAT(refused(text(stage("a", "nowhere", 1))),
              testing::AllOf(HasSubstr("neither an earlier stage nor a folder"),
                             HasSubstr("no earlier stage makes a model")));
  EXPECT_THAT(refused(text(stage("first", base(), 1) + stage("b", "nothing-like-it", 1))),
              HasSubstr("earlier stages: first"));
  EXPECT_THAT(refused(text(stage("a", base(), 1) +
                           "  - name: s\n    evaluate: {model: a, data: "
                           "films}\n" +
                           stage("b", "s", 1))),
              HasSubstr("stage 's' makes no model"));
  EXPECT_THAT(refused(text(stage("a", base(), 1, ", teacher: {from: b}"))),
              HasSubstr("'b' is neither"));
}

TEST_F(Recipes, NameTheirStagesOnce) {
  EXPECT_THAT(refused(text(stage("a", base(), 1) + stage("a", base(), 1))),
              HasSubstr("a second stage is named 'a'"));
  for (const std::string& name : {"a/b"s, ".a"s, "\"a b\""s, "\"\""s, "\"a\\nb\""s, "\"*\""s,
                                  "\"$(id)\""s, "\"-a\""s, std::string(201, 'x')})
    EXPECT_THAT(refused(text(stage(name, base(), 1))), HasSubstr("cannot name a folder")) << name;
  EXPECT_THAT(refused(text("  - name: a\n")), HasSubstr("exactly one of train, evaluate, export"));
  EXPECT_THAT(refused(text("  - name: a\n    evaluate: {model: " + base() +
                           ", data: films}\n    export: {model: " + base() + "}\n")),
              HasSubstr("export beside evaluate"));
}

TEST_F(Recipes, WriteUnderTheirNameInTheFolderOfRuns) {
  for (const char* name : {"\"\"", "a/../../x", "/tmp/x", "..", "\"a\\tb\""})
    EXPECT_THAT(refused("name: " + std::string(name) +
                        text(stage("a", base(), 1)).substr(text(stage("a", base(), 1)).find('\n'))),
                HasSubstr("cannot name a run's folder"))
        << name;
}

TEST_F(Recipes, PathsForAShellAreToldFor) {
  for (const char* path : {"~/model", "$HOME/model"})
    EXPECT_THAT(refused(text(stage("a", path, 1))), HasSubstr("write the path out")) << path;
}

TEST_F(Recipes, AreCheckedAgainstTheirData) {
  const std::string scored = "  - name: s\n    evaluate: {model: " + base() + ", data: ";
  EXPECT_THAT(refused(text(scored + "flims}\n")), HasSubstr("did you mean 'films'?"));
  EXPECT_THAT(refused(text(scored + "something}\n")), HasSubstr("data sets: films"));
  EXPECT_THAT(refused("name: x\nstages:\n" + scored + "films}\n"), HasSubstr("data sets: none"));
  fs::remove(root_ / "dev.tsv");
  EXPECT_THAT(refused(text(stage("a", base(), 1))),
              testing::AllOf(HasSubstr("dev.tsv' does not exist"), HasSubstr("recipe.yaml:3")));
  const std::string at = (root_ / "test.tsv").string();
  const std::string untrained = "name: x\ndata:\n  films: {test: " + at +
                                ", text: text, label: "
                                "label}\nstages:\n";
  EXPECT_THAT(refused(untrained + stage("a", base(), 1)), HasSubstr("has no training part"));
  EXPECT_THAT(
      refused(untrained + stage("a", base(), 1, ", teacher: {from: " + base() + ", floor: 0.5}")),
      HasSubstr("a floor needs a validation part"));
  EXPECT_THAT(
      refused(untrained + "  - name: o\n    export: {model: " + base() + ", data: movies}\n"),
      HasSubstr("there is no data set 'movies'"));
}

TEST_F(Recipes, MixturesAreCheckedWithTheirPlaces) {
  const std::string at = root_.string() + "/";
  const std::string more = "  scores: {train: " + at +
                           "train.tsv, text: text, label: label, task: regression}\n  "
                           "others: {train: " +
                           at + "others.tsv, text: text, label: label}\n  untrained: {test: " + at +
                           "test.tsv, text: text, label: label}\n";
  write_file(root_ / "others.tsv", "text\tlabel\nthe film\tgood\nthe plot\tbad\n");
  auto mixed = [&](const std::string& data) {
    return text(
        "  - name: a\n    train: {model: " + base() + ", for: 1 step, data: " + data + "}\n", more);
  };
  EXPECT_THAT(refused(mixed("{mix: {films: 1, flims: 1}}")), HasSubstr("did you mean 'films'?"));
  EXPECT_THAT(refused(mixed("{mix: {films: 1}}")), HasSubstr("less than two data sets"));
  EXPECT_THAT(refused(mixed("{mix: {films: 1, others: 0}}")), HasSubstr("weight 0 is not above 0"));
  EXPECT_THAT(refused(mixed("{mix: {films: 1, others: 1}, validation: scores}")),
              HasSubstr("'scores' is no data set of the mixture"));
  EXPECT_THAT(refused(mixed("{mix: {films: 1, scores: 1}}")),
              testing::AllOf(HasSubstr("data for classification and for regression"),
                             HasSubstr("recipe.yaml:9")));
  EXPECT_THAT(refused(mixed("{mix: {films: 1, untrained: 1}}")),
              HasSubstr("data set 'untrained' has no training part"));
  const Recipe recipe = load(mixed("{mix: {films: 1, others: 1}}"));
  EXPECT_THAT(
      tiny::error_of(ErrorKind::data, [&] { check_models(recipe); }),
      testing::AllOf(HasSubstr("'films' has {negative, positive}, 'others' has {bad, good}"),
                     HasSubstr("recipe.yaml:9")));
}

TEST_F(Recipes, HaveStagesAndANameThatAFolderCanHave) {
  EXPECT_THAT(refused("name: x\nstages: []\n"), HasSubstr("the recipe has no stages"));
  EXPECT_THAT(refused("name: " + std::string(201, 'x') + "\nstages:\n" + stage("a", base(), 1)),
              HasSubstr("of at most 200 bytes"));
  const std::string there = (root_ / "dev.tsv").string();
  EXPECT_THAT(refused(text(stage("a", base(), 1), "  d: {train: '=x | " + there + " | none.txt + " +
                                                      there + "', text: text, label: label}\n")),
              HasSubstr("the file 'none.txt' does not exist"));
  EXPECT_THAT(refused(text(stage("a", base(), 1, ", length_window: 0"))),
              HasSubstr("between 1 and 1000000000"));
}

TEST_F(Recipes, AreCheckedForMetricsAndExpectations) {
  EXPECT_THAT(refused(text(stage("a", base(), 1, ", evaluate: {metrics: [acuracy]}"))),
              HasSubstr("did you mean 'accuracy'?"));
  EXPECT_THAT(refused(text(stage("a", base(), 1, ", evaluate: {select: beauty}"))),
              testing::AllOf(HasSubstr("unknown metric 'beauty'"), HasSubstr("metrics: ")));
  auto expecting = [&](const std::string& expectation) {
    return refused(text(stage("first", base(), 1), "expect:\n  - {" + expectation + "}\n"));
  };
  EXPECT_THAT(expecting("stage: frist, metric: accuracy, at_least: 0"),
              HasSubstr("did you mean 'first'?"));
  EXPECT_THAT(expecting("stage: nothing, metric: accuracy, at_least: 0"),
              HasSubstr("stages: first"));
  EXPECT_THAT(expecting("stage: first, metric: accuracy"), HasSubstr("an expectation needs"));
  EXPECT_THAT(expecting("stage: first, metric: accuracy, drop_at_most: 1"),
              HasSubstr("`of` goes with"));
  EXPECT_THAT(expecting("stage: first, metric: accuracy, at_least: 0, of: first"),
              HasSubstr("`of` goes with"));
}

TEST_F(Recipes, MayReadTheRowsOfEarlierStagesThatLeaveSome) {
  const std::string label = "  - name: label\n    annotate: {model: " + base() + ", data: films}\n";
  auto silver = [&](const std::string& columns) {
    return "  silver: {train: {stage: label}, " + columns + "}\n";
  };
  const std::string train =
      "  - name: b\n    train: {model: " + base() + ", data: silver, for: 1 step}\n";
  const std::string whole = "text: text, soft_labels: [negative, positive]";
  auto recipe = [&](const std::string& stages, const std::string& columns) {
    return text(stages, silver(columns));
  };
  const Recipe good = load(recipe(label + train, whole));
  EXPECT_EQ(good.dataset("silver").train.stage, "label");
  EXPECT_EQ(load(good.resolved).resolved, good.resolved);
  EXPECT_THAT(refused(recipe(train + label, whole)), HasSubstr("stage 'label' comes later"));
  EXPECT_THAT(refused(recipe(train, whole)), HasSubstr("there is no stage 'label'"));
  EXPECT_THAT(refused(recipe(stage("label", base(), 1) + train, whole)),
              testing::AllOf(HasSubstr("stage 'label' leaves no rows"),
                             HasSubstr("(data.silver.train.stage)")));
  EXPECT_THAT(refused(recipe(label + train, "format: tsv, " + whole)),
              HasSubstr("rows that a stage leaves are jsonl"));
  auto planned = [&](const std::string& columns) {
    return tiny::error_of(ErrorKind::recipe,
                          [&] { plan_text(load(recipe(label + train, columns))); });
  };
  EXPECT_THAT(planned("text: text, soft_labels: [negativ, positive]"),
              testing::AllOf(HasSubstr("the rows of stage 'label' have no column 'negativ'"),
                             HasSubstr("did you mean 'negative'?"), HasSubstr("recipe.yaml:4:")));
  EXPECT_THAT(planned("text: text, label: label"),
              HasSubstr("the classes of rows that a stage makes are not known yet"));
}

TEST_F(Recipes, ExpectNumbersOfStagesThatLeaveSome) {
  auto expecting = [&](const std::string& expectation) {
    return refused(text(
        "  - name: m\n    measure: {model: " + base() + ", data: films}\n" + stage("a", base(), 1),
        "expect:\n  - {" + expectation + "}\n"));
  };
  EXPECT_THAT(expecting("stage: a, number: layers.0, at_least: 0"),
              HasSubstr("stage 'a' leaves no numbers"));
  EXPECT_THAT(expecting("stage: m, at_least: 0"),
              HasSubstr("exactly one of `metric` and `number`"));
  EXPECT_THAT(expecting("stage: m, metric: accuracy, number: rows, at_least: 0"),
              HasSubstr("exactly one of `metric` and `number`"));
}

TEST(RecipeDocuments, TellEveryComponentAndSection) {
  std::set<std::string> names;
  const std::string methods = methods_document(), sections = recipe_document();
  for (const recipe::ComponentInfo* info : all_components()) {
    EXPECT_TRUE(names.insert(info->name).second) << info->name;
    EXPECT_THAT(methods, HasSubstr("### `" + info->name + "`"));
    EXPECT_FALSE(info->summary.empty()) << info->name;
  }
  EXPECT_TRUE(names.contains("soft_labels"));
  for (const recipe::ComponentInfo& info : recipe_sections())
    EXPECT_THAT(sections, HasSubstr("`" + info.name + "`"));
  const recipe::Json schema = recipe_schema();
  EXPECT_EQ(schema.at("required"), (recipe::Json{"name", "stages"}));
  EXPECT_EQ(schema.at("title"), "A recipe of compress");
}

}  // namespace
}  // namespace compress::pipeline
