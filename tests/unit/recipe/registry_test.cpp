#include <regex>

#include "unit/recipe/helpers.h"
#include "unit/recipe/sample.h"

namespace compress::recipe {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

std::string read_error(const Registry& registry, const std::string& text) {
  Problems problems;
  Component component;
  registry.read(parse_text(text, "a.yaml"), component, problems);
  return recipe_error([&] { problems.raise(); });
}

Component read_one(const Registry& registry, const std::string& text) {
  Problems problems;
  Component component;
  registry.read(parse_text(text, "a.yaml"), component, problems);
  EXPECT_TRUE(problems.empty()) << text;
  return component;
}

TEST(Registry, NameOrMap) {
  EXPECT_EQ(read_one(objectives(), "soft_labels").as<SoftLabels>().temperature, 1);
  EXPECT_EQ(read_one(objectives(), "soft_labels:").as<SoftLabels>().temperature, 1);
  EXPECT_EQ(read_one(objectives(), "soft_labels: {temperature: 3}").as<SoftLabels>().temperature,
            3);
  EXPECT_EQ(
      static_cast<const RegistryOf<int>&>(objectives()).maker(read_one(objectives(), "labels")), 2);
}

struct Terms {
  std::vector<Named<Component>> terms;
  static const Options<Terms>& options() {
    static const auto description = Options<Terms>("terms").named_components(
        "terms", &Terms::terms, objectives, "terms by name");
    return description;
  }
};

TEST(Registry, ComponentsUnderNames) {
  auto read = [](const std::string& text, Terms& terms) {
    Problems problems;
    read_struct(Terms::options().info(), parse_text(text, "a.yaml"), &terms, problems);
    problems.raise();
  };
  Terms terms;
  read("terms:\n  first: {soft_labels: {temperature: 3}}\n  second: labels\n", terms);
  ASSERT_EQ(terms.terms.size(), 2u);
  EXPECT_EQ(terms.terms[0].name, "first");
  EXPECT_EQ(terms.terms[0].value.as<SoftLabels>().temperature, 3);
  EXPECT_EQ(terms.terms[1].value.name(), "labels");
  EXPECT_EQ(terms.terms[1].mark.line, 3);
  Terms again;
  read(to_yaml(write_struct(Terms::options().info(), &terms)), again);
  EXPECT_EQ(again.terms.size(), 2u);
  EXPECT_EQ(again.terms[0].value.as<SoftLabels>().temperature, 3);
  EXPECT_TRUE(write_struct(Terms::options().info(), &(again = {})).entries.empty());
  EXPECT_THAT(recipe_error([&] { read("terms: {first: {lables: {}}}", again); }),
              AllOf(HasSubstr("unknown objective 'lables'"), HasSubstr("terms.first")));
  EXPECT_THAT(recipe_error([&] { read("terms: [labels]", again); }),
              HasSubstr("expected a map of names to one objective each"));
}

TEST(Registry, Problems) {
  EXPECT_THAT(read_error(objectives(), "soft_lables"),
              AllOf(HasSubstr("unknown objective 'soft_lables'"),
                    HasSubstr("did you mean 'soft_labels'?")));
  EXPECT_THAT(read_error(objectives(), "zzz: {}"), HasSubstr("known: soft_labels, labels"));
  EXPECT_THAT(read_error(objectives(), "{labels: , soft_labels: }"),
              HasSubstr("a map with 2 keys"));
  EXPECT_THAT(read_error(objectives(), "[labels]"), HasSubstr("found a list"));
  EXPECT_THAT(read_error(objectives(), "labels: 3"),
              HasSubstr("expected a map with the options of labels, found '3'"));
  EXPECT_THAT(read_error(prunings(), "magnitude"), HasSubstr("missing required key 'sparsity'"));
}

TEST(Registry, ListsAndWriting) {
  Problems problems;
  std::vector<Component> list;
  read_components(objectives(), parse_text("{labels: , soft_labels: {weight: 2}}"), list, problems);
  ASSERT_TRUE(problems.empty());
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(to_yaml(write_components(list)),
            "- labels\n- soft_labels:\n    temperature: 1\n    weight: 2\n    reduction: mean\n");
  read_components(objectives(), parse_text("labels"), list, problems);
  EXPECT_EQ(list.size(), 1u);
}

TEST(Registry, Defaults) {
  EXPECT_EQ(objectives().defaults("soft_labels").as<SoftLabels>().reduction, "mean");
  EXPECT_THAT(recipe_error([] { objectives().defaults("label"); }),
              HasSubstr("did you mean 'labels'?"));
  RegistryOf<int> twice("x");
  twice.add(describe<Labels>("x", "a", ""), 1);
  EXPECT_THROW(twice.add(describe<Labels>("x", "a", ""), 1), Error);
}

TEST(Schema, Document) {
  Json schema = document_schema(Recipe::options().info(), "compress recipe");
  EXPECT_EQ(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
  EXPECT_EQ(schema["title"], "compress recipe");
  EXPECT_EQ(schema["required"], Json::array({"name"}));
  EXPECT_EQ(schema["additionalProperties"], false);
  EXPECT_EQ(schema["properties"]["stages"]["anyOf"][0]["items"]["$ref"], "#/$defs/stage");
  const Json& train = schema["$defs"]["train"]["properties"];
  EXPECT_EQ(train["batch"], (Json{{"type", "integer"},
                                  {"minimum", 1},
                                  {"description", "examples a step"},
                                  {"default", 32}}));
  EXPECT_EQ(train["for"]["default"], "1 epoch");
  std::regex duration(train["for"]["pattern"].get<std::string>());
  for (const char* good : {"3 epochs", "0.5 epoch", "1 step", "10%", "10 %", ".5 epochs"})
    EXPECT_TRUE(std::regex_match(good, duration)) << good;
  for (const char* bad : {"3", "epochs", "500steps", "-1 steps", "1 hour"})
    EXPECT_FALSE(std::regex_match(bad, duration)) << bad;
  EXPECT_EQ(train["seeds"]["anyOf"][0]["items"]["minimum"], 0);
  EXPECT_EQ(train["formats"]["anyOf"][1]["enum"], Json::array({"huggingface", "gguf"}));
  EXPECT_EQ(train["shuffle"]["default"], true);
  const Json& soft = schema["$defs"]["soft_labels"]["properties"];
  EXPECT_EQ(soft["temperature"]["exclusiveMinimum"], 0);
  EXPECT_EQ(soft["weight"]["anyOf"][1]["properties"]["to"]["minimum"], 0);
  EXPECT_FALSE(soft["weight"]["anyOf"][1]["properties"]["end"].contains("minimum"));
  const Json& pruning = train["pruning"]["anyOf"];
  EXPECT_EQ(pruning.size(), 1u);  // no bare name: sparsity is required
  EXPECT_EQ(pruning[0]["properties"]["magnitude"]["anyOf"][0]["$ref"], "#/$defs/magnitude");
}

const Registry& operations();

struct Sum {
  std::vector<Component> terms;
  static const Options<Sum>& options() {
    static const auto description =
        Options<Sum>("sum").components("terms", &Sum::terms, operations, "what is added");
    return description;
  }
};

const Registry& operations() {
  static const RegistryOf<int> registry = [] {
    RegistryOf<int> made("operation");
    made.add(describe<Sum>("operation", "sum", "adds operations"), 1);
    return made;
  }();
  return registry;
}

TEST(Schema, RecursionEnds) {
  Json schema = struct_schema(Sum::options().info());
  const Json& terms = schema["$defs"]["sum"]["properties"]["terms"];
  const Json& item = terms["anyOf"][0]["items"]["anyOf"];
  EXPECT_EQ(item[1]["properties"]["sum"]["anyOf"][0]["$ref"], "#/$defs/sum");
}

TEST(Explain, TextAndMarkdown) {
  const ComponentInfo& info = *objectives().find("soft_labels");
  std::string text = explain_text(info), markdown = explain_markdown(info);
  for (const std::string& form : {text, markdown})
    EXPECT_THAT(form, AllOf(HasSubstr("matches the teacher"),
                            HasSubstr("    L = T^2 KL(p || q)\n\n    p = s(z/T)"),
                            HasSubstr("1503.02531"), HasSubstr("Needs a teacher."),
                            HasSubstr("number, above 0"), HasSubstr("one of mean, sum")));
  EXPECT_THAT(text, HasSubstr("soft_labels (objective)"));
  EXPECT_THAT(markdown, AllOf(HasSubstr("### `soft_labels`"),
                              HasSubstr("| `temperature` | number, above 0 | 1 |"),
                              HasSubstr("both \\| distributions")));
  EXPECT_THAT(explain_text(*prunings().find("magnitude")),
              AllOf(HasSubstr("required"), Not(HasSubstr("Paper"))));
}

}  // namespace
}  // namespace compress::recipe
