// References: read as text, kept with their places, found in whatever holds them.

#include <gmock/gmock.h>

#include "compress/base/strings.h"
#include "compress/recipe/options.h"

namespace compress::recipe {
namespace {

using testing::ElementsAre;

struct PartOptions {
  NumbersReference by;
  static const Options<PartOptions>& options() {
    static const auto description = Options<PartOptions>("part").field("by", &PartOptions::by, "");
    return description;
  }
};

const Registry& parts() {
  static const RegistryOf<int> registry = [] {
    RegistryOf<int> list("part");
    list.add(describe<PartOptions>("part", "cut", "cuts"), 0);
    list.add(describe<PartOptions>("part", "grow", "grows"), 0);
    return list;
  }();
  return registry;
}

struct ModelOptions {
  ModelReference from;
  std::vector<Component> edits;
  static const Options<ModelOptions>& options() {
    static const auto description = Options<ModelOptions>("model")
                                        .field("from", &ModelOptions::from, "")
                                        .components_by_key(&ModelOptions::edits, parts)
                                        .shorthand("from");
    return description;
  }
};

struct WorkOptions {
  ModelOptions model;
  std::optional<ModelOptions> teacher;
  std::vector<MetricReference> metrics;
  std::vector<Component> parts_list;
  Placed<double> floor = 0.5;
  Reference plain;
  static const Options<WorkOptions>& options() {
    static const auto description = Options<WorkOptions>("work")
                                        .field("model", &WorkOptions::model, "")
                                        .field("teacher", &WorkOptions::teacher, "")
                                        .field("metrics", &WorkOptions::metrics, "")
                                        .components("parts", &WorkOptions::parts_list, parts, "")
                                        .field("floor", &WorkOptions::floor, "")
                                        .field("plain", &WorkOptions::plain, "");
    return description;
  }
};

WorkOptions read(const std::string& text) {
  WorkOptions options;
  Problems problems;
  read_struct(WorkOptions::options().info(), parse_text(text, "a.yaml"), &options, problems);
  problems.raise();
  return options;
}

std::vector<std::string> found(const WorkOptions& options) {
  std::vector<Referred> list;
  find_references(WorkOptions::options().info(), &options, "", list);
  std::vector<std::string> words;
  for (const Referred& one : list)
    words.push_back(str(one.path, "=", one.reference, "@", one.reference.mark.line, ":",
                        one.reference.mark.column, " ", static_cast<int>(one.to)));
  return words;
}

TEST(References, AreFoundWithKeysAndPlacesWhereverTheyAre) {
  const WorkOptions options = read(
      "model: {from: base, cut: {by: m}}\n"
      "metrics: [f1, mse]\n"
      "parts: [grow: {by: n}]\n"
      "plain: word\n");
  EXPECT_THAT(found(options),
              ElementsAre("model.from=base@1:15 0", "model.cut.by=m@1:31 5", "metrics=f1@2:11 2",
                          "metrics=mse@2:15 2", "parts.grow.by=n@3:20 5"));
  EXPECT_THAT(found(read("model: x\nteacher: y\n")),
              ElementsAre("model.from=x@1:8 0", "teacher.from=y@2:10 0"));
  EXPECT_TRUE(found(WorkOptions()).empty());
}

TEST(References, ReadAndWriteAsText) {
  const WorkOptions options = read("model: base\nfloor: 0.25\nplain: 7\n");
  EXPECT_EQ(options.model.from, "base");
  EXPECT_EQ(options.plain.name, "7");
  EXPECT_EQ(options.plain.mark.path, "plain");
  EXPECT_EQ(options.floor.value, 0.25);
  EXPECT_EQ(options.floor.mark.line, 2);
  EXPECT_EQ(Type<ModelReference>::schema(), Type<std::string>::schema());
  EXPECT_EQ(names_of(std::vector<MetricReference>{"a", "b"}), (std::vector<std::string>{"a", "b"}));
  const Node written = write_struct(WorkOptions::options().info(), &options);
  EXPECT_EQ(written.find("model")->find("from")->scalar, "base");
  EXPECT_EQ(written.find("floor")->scalar, "0.25");
}

}  // namespace
}  // namespace compress::recipe
