#include "unit/recipe/helpers.h"
#include "unit/recipe/sample.h"

namespace compress::recipe {
namespace {

using testing::AllOf;
using testing::HasSubstr;

Node with(const std::string& assignment) {
  Node root = parse_text(sample_recipe, "a.yaml");
  apply_override(root, assignment);
  return root;
}
const Node& student(const Node& root) {
  return *root.find("stages")->items[1].find("train");
}
std::string error_of(const std::string& assignment) {
  return recipe_error([&] { with(assignment); });
}

TEST(Override, ByNameAndByIndex) {
  Node named = with("stages.student.train.batch=128");
  const Node* batch = student(named).find("batch");
  EXPECT_EQ(batch->scalar, "128");
  EXPECT_TRUE(batch->from_set);
  EXPECT_EQ(batch->mark.text(), "--set (stages.student.train.batch)");
  EXPECT_EQ(student(with("stages[1].train.batch=7")).find("batch")->scalar, "7");
  EXPECT_FALSE(student(named).find("model")->from_set);
}

TEST(Override, ComponentsByName) {
  Node soft = with("stages.student.train.objectives.soft_labels.temperature=4");
  EXPECT_EQ(
      student(soft).find("objectives")->items[0].find("soft_labels")->find("temperature")->scalar,
      "4");
  Node pruned = with("stages.student.train.pruning.magnitude.sparsity=50%");
  EXPECT_EQ(student(pruned).find("pruning")->find("magnitude")->find("sparsity")->scalar, "50%");
}

TEST(Override, BareComponentNameBecomesAMap) {
  for (const char* path : {"stages.student.train.objectives[1].labels.weight=0.3",
                           "stages.student.train.objectives.labels.weight=0.3"}) {
    Node root = with(path);
    EXPECT_EQ(student(root).find("objectives")->items[1].find("labels")->find("weight")->scalar,
              "0.3")
        << path;
  }
}

TEST(Override, NewLeafAndYamlValues) {
  EXPECT_EQ(student(with("stages.student.train.shuffle=false")).find("shuffle")->scalar, "false");
  Node list = with("stages.student.train.objectives=[labels, {soft_labels: {weight: 2}}]");
  const Node* objectives = student(list).find("objectives");
  ASSERT_EQ(objectives->items.size(), 2u);
  EXPECT_EQ(objectives->items[1].entries[0].value.find("weight")->mark.path,
            "stages.student.train.objectives[1].soft_labels.weight");
  EXPECT_TRUE(student(with("stages.student.train.batch=")).find("batch")->is_null());
  EXPECT_EQ(with("name=a=b").find("name")->scalar, "a=b");
}

TEST(Override, KeysWithDots) {
  Node root = parse_text("map: {a.b: {c: 1}}");
  apply_override(root, "map.a.b.c=2");
  EXPECT_EQ(root.find("map")->find("a.b")->find("c")->scalar, "2");
}

TEST(Override, ErrorsNameTheAssignmentAndTheNearest) {
  EXPECT_THAT(
      error_of("stages.studnet.train.batch=1"),
      AllOf(HasSubstr("--set stages.studnet.train.batch=1"), HasSubstr("did you mean 'student'?")));
  EXPECT_THAT(error_of("stages.student.trian.batch=1"), HasSubstr("did you mean 'train'?"));
  EXPECT_THAT(error_of("stages.student.train.objectives.zzzzzz.weight=1"),
              HasSubstr("its items: soft_labels, labels"));
  EXPECT_THAT(error_of("stages[2].train.batch=1"),
              AllOf(HasSubstr("no [2] in stages"), HasSubstr("2 items")));
  EXPECT_THAT(error_of("name[0]=1"), HasSubstr("name is not a list"));
  EXPECT_THAT(error_of("name.x=1"), HasSubstr("has no keys"));
  EXPECT_THAT(error_of("stages.student.train.batch"), HasSubstr("expected key=value"));
  for (const char* bad : {"=1", "a..b=1", "stages[=1", "stages[x]=1", "stages[0=1", "stages[0]x=1",
                          "stages[99999999999999999999]=1"})
    EXPECT_THAT(error_of(bad), HasSubstr("--set ")) << bad;
  EXPECT_THAT(error_of("name=[1"), HasSubstr("not valid YAML"));
}

TEST(Override, AmbiguousNames) {
  Node root = parse_text("list: [{a: 1}, {a: 2}]");
  EXPECT_THAT(recipe_error([&] { apply_override(root, "list.a=3"); }),
              HasSubstr("2 items of list are called 'a'"));
}

TEST(Override, RangeProblemsNameTheOverride) {
  Problems problems;
  Recipe recipe;
  read_struct(Recipe::options().info(), with("stages.student.train.batch=0"), &recipe, problems);
  ASSERT_EQ(problems.list().size(), 1u);
  EXPECT_EQ(problems.list()[0].mark.text(), "--set (stages.student.train.batch)");
}

}  // namespace
}  // namespace compress::recipe
