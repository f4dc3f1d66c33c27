#include "unit/recipe/helpers.h"
#include "unit/recipe/sample.h"

namespace compress::recipe {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

TEST(Struct, ReadsTheSample) {
  Recipe recipe = read_as<Recipe>(sample_recipe);
  ASSERT_EQ(recipe.stages.size(), 2u);
  const Train& train = *recipe.stages[1].train;
  EXPECT_EQ(train.batch, 64);
  EXPECT_EQ(train.length, Duration::epochs(1));
  EXPECT_EQ(train.seeds, (std::vector<int64_t>{1, 2}));
  ASSERT_EQ(train.objectives.size(), 2u);
  EXPECT_EQ(train.objectives[0].as<SoftLabels>().temperature, 2);
  EXPECT_EQ(train.objectives[0].as<SoftLabels>().weight.to, 0);
  EXPECT_FALSE(train.objectives[1].as<Labels>().weight.has_value());
  EXPECT_EQ(train.pruning.as<Magnitude>().sparsity.value, 0.8);
  EXPECT_EQ(train.pruning.mark.line, 15);
  EXPECT_FALSE(recipe.stages[0].train->pruning);
}

TEST(Struct, UnknownKey) {
  EXPECT_THAT(problems_of<SoftLabels>("temprature: 2"),
              AllOf(HasSubstr("a.yaml:1:1 (temprature): unknown key 'temprature' in soft_labels"),
                    HasSubstr("did you mean 'temperature'?")));
  EXPECT_THAT(problems_of<SoftLabels>("zzz: 2"),
              HasSubstr("valid keys: temperature, weight, reduction"));
}

TEST(Struct, MissingKey) {
  EXPECT_THAT(
      problems_of<Train>("batch: 2"),
      AllOf(HasSubstr("missing required key 'model' in train"), HasSubstr("what to train")));
  // A misspelt required key is one mistake, not two.
  EXPECT_THAT(problems_of<Train>("modle: x"),
              AllOf(HasSubstr("unknown key 'modle'"), Not(HasSubstr("missing"))));
}

TEST(Struct, WrongNodeKind) {
  EXPECT_THAT(problems_of<SoftLabels>("[1]"),
              AllOf(HasSubstr("expected a map"), HasSubstr("found a list")));
  EXPECT_THAT(problems_of<SoftLabels>("temperature: {a: 1}"),
              HasSubstr("expected a number, found a map"));
}

TEST(Struct, Ranges) {
  EXPECT_THAT(problems_of<SoftLabels>("temperature: 0"),
              HasSubstr("a.yaml:1:14 (temperature): 'temperature' must be above 0, found '0'"));
  EXPECT_THAT(problems_of<SoftLabels>("weight: -1"), HasSubstr("'weight' must be at least 0"));
  EXPECT_THAT(problems_of<SoftLabels>("weight: {from: 1, to: -2}"),
              HasSubstr("a.yaml:1:23 (weight.to)"));
  EXPECT_EQ(problems_of<SoftLabels>("weight: {from: 1, to: 0, begin: 0%}"), "");
  EXPECT_THAT(problems_of<Labels>("weight: -1"), HasSubstr("at least 0"));
  EXPECT_THAT(problems_of<Train>("{model: x, for: 0 epochs}"),
              HasSubstr("'for' must be above 0, found '0 epochs'"));
  EXPECT_THAT(problems_of<Train>("{model: x, batch: 0}"),
              HasSubstr("'batch' must be at least 1, found '0'"));
  EXPECT_THAT(problems_of<Train>("{model: x, seeds: [1, -1, 2, -3]}"),
              AllOf(HasSubstr("2 problems"), HasSubstr("(seeds[1])"), HasSubstr("(seeds[3])")));
  EXPECT_THAT(problems_of<Train>("{model: x, seeds: -1}"), HasSubstr("(seeds)"));
  EXPECT_THAT(problems_of<Magnitude>("sparsity: 1.2"), HasSubstr("between 0 and 1"));
  EXPECT_THAT(problems_of<Magnitude>("sparsity: 100%"),
              HasSubstr("'sparsity' must be between 0 and 0.99, found '100%'"));
}

TEST(Struct, OneOf) {
  EXPECT_THAT(problems_of<SoftLabels>("reduction: maen"),
              AllOf(HasSubstr("must be one of mean, sum, found 'maen'"),
                    HasSubstr("did you mean 'mean'?")));
  EXPECT_THAT(problems_of<Train>("{model: x, formats: [gguf, onnnx]}"), HasSubstr("(formats[1])"));
}

TEST(Struct, ChecksRunOnlyOnSoundStructs) {
  EXPECT_THAT(problems_of<Train>("{model: x, batch: 13}"), HasSubstr("unlucky batch"));
  EXPECT_THAT(problems_of<Train>("{model: x, batch: 13, shuffle: 7}"), Not(HasSubstr("unlucky")));
}

TEST(Struct, EverythingWrongIsReportedInFileOrder) {
  std::string error = problems_of<Recipe>(R"(nmae: x
stages:
  - name: a
    train:
      model: base
      for: 0 epochs
      batch: many
      objectives:
        - soft_label: {temperature: 2}
        - soft_labels: {temprature: 2}
      pruning: {magnitude: {sparsity: 1.2}}
)");
  const char* const expected[] = {
      "6 problems",
      "a.yaml:1:1 (nmae): unknown key 'nmae' in recipe (did you mean 'name'?)",
      "a.yaml:6:12 (stages.a.train.for): 'for' must be above 0",
      "a.yaml:7:14 (stages.a.train.batch): expected a whole number, found 'many'",
      "a.yaml:9:11 (stages.a.train.objectives[0].soft_label): unknown objective 'soft_label' (did "
      "you mean 'soft_labels'?)",
      "a.yaml:10:25 (stages.a.train.objectives[1].soft_labels.temprature): unknown key",
      "a.yaml:11:39 (stages.a.train.pruning.magnitude.sparsity): expected a part of a whole"};
  size_t at = 0;
  for (const char* part : expected) {
    size_t found = error.find(part, at);
    ASSERT_NE(found, std::string::npos) << part << "\nin\n" << error;
    at = found;
  }
}

TEST(Struct, EmptyListThatIsNotTheDefaultIsWritten) {
  Train train = read_as<Train>("{model: x, seeds: []}");
  EXPECT_TRUE(train.seeds.empty());
  Node written = Type<Train>::write(train);
  ASSERT_NE(written.find("seeds"), nullptr);
  EXPECT_EQ(written.find("formats"), nullptr);
  EXPECT_TRUE(read_as<Train>(to_yaml(written)).seeds.empty());
}

struct From {
  std::string from;
  std::vector<Component> parts;
  static const Options<From>& options() {
    static const auto description = Options<From>("from")
                                        .field("from", &From::from, "where")
                                        .required()
                                        .components_by_key(&From::parts, objectives)
                                        .shorthand("from");
    return description;
  }
};

TEST(Struct, ShorthandAndComponentsByKey) {
  EXPECT_EQ(read_as<From>("teacher").from, "teacher");
  From value = read_as<From>("{labels: , from: x, soft_labels: {temperature: 3}}");
  ASSERT_EQ(value.parts.size(), 2u);  // in the order of registration
  EXPECT_EQ(value.parts[0].name(), "soft_labels");
  EXPECT_EQ(value.parts[1].name(), "labels");
  std::string written = to_yaml(Type<From>::write(value));
  EXPECT_EQ(read_as<From>(written).parts.size(), 2u);
  EXPECT_THAT(problems_of<From>("{form: x}"), HasSubstr("did you mean 'from'?"));
  EXPECT_THAT(problems_of<From>("[a]"), HasSubstr("expected text, found a list"));
}

TEST(Problems, SingleProblemKeepsItsParts) {
  Problems problems;
  EXPECT_NO_THROW(problems.raise());
  problems.add({"a.yaml", 3, 2, "x"}, "wrong", "do this");
  try {
    problems.raise();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::recipe);
    EXPECT_EQ(error.message(), "wrong");
    EXPECT_EQ(error.where(), "a.yaml:3:2 (x)");
    EXPECT_EQ(error.hint(), "do this");
  }
}

}  // namespace
}  // namespace compress::recipe
