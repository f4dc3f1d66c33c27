#pragma once
// A small recipe language in the shape of the real one.

#include "compress/recipe/options.h"

namespace compress::recipe {

struct SoftLabels {
  double temperature = 1;
  Ramp weight = 1;
  std::string reduction = "mean";
  static const Options<SoftLabels>& options() {
    static const auto description =
        Options<SoftLabels>("soft_labels")
            .field("temperature", &SoftLabels::temperature, "softens both | distributions")
            .above(0)
            .field("weight", &SoftLabels::weight, "factor of the term")
            .at_least(0)
            .field("reduction", &SoftLabels::reduction, "over examples")
            .one_of({"mean", "sum"});
    return description;
  }
};

struct Labels {
  std::optional<double> weight;
  static const Options<Labels>& options() {
    static const auto description = Options<Labels>("labels")
                                        .field("weight", &Labels::weight, "factor of the term")
                                        .at_least(0);
    return description;
  }
};

struct Magnitude {
  Fraction sparsity;
  Duration begin = Duration::percent(0);
  static const Options<Magnitude>& options() {
    static const auto description =
        Options<Magnitude>("magnitude")
            .field("sparsity", &Magnitude::sparsity, "part of the weights that is zero")
            .required()
            .range(0, 0.99)
            .field("begin", &Magnitude::begin, "first pruning");
    return description;
  }
};

inline const Registry& objectives() {
  static const RegistryOf<int> registry = [] {
    RegistryOf<int> made("objective");
    made.add(
        describe<SoftLabels>("objective", "soft_labels", "matches the teacher",
                             "L = T^2 KL(p || q)\n\np = s(z/T)",
                             "Hinton et al. 2015, arXiv:1503.02531, eq. 4", "Needs a teacher."),
        1);
    made.add(describe<Labels>("objective", "labels", "cross entropy with the labels"), 2);
    return made;
  }();
  return registry;
}

inline const Registry& prunings() {
  static const RegistryOf<int> registry = [] {
    RegistryOf<int> made("pruning");
    made.add(describe<Magnitude>("pruning", "magnitude", "removes small weights"), 1);
    return made;
  }();
  return registry;
}

struct Train {
  std::string model;
  Duration length = Duration::epochs(1);
  int64_t batch = 32;
  bool shuffle = true;
  std::vector<int64_t> seeds = {1, 2};
  std::vector<std::string> formats;
  std::vector<Component> objectives;
  Component pruning;
  static const Options<Train>& options() {
    static const auto description =
        Options<Train>("train")
            .field("model", &Train::model, "what to train")
            .required()
            .field("for", &Train::length, "how long")
            .above(0)
            .field("batch", &Train::batch, "examples a step")
            .at_least(1)
            .field("shuffle", &Train::shuffle, "new order each epoch")
            .field("seeds", &Train::seeds, "one run each")
            .at_least(0)
            .field("formats", &Train::formats, "what to write")
            .one_of({"huggingface", "gguf"})
            .components("objectives", &Train::objectives, recipe::objectives, "what is minimised")
            .component("pruning", &Train::pruning, prunings, "which weights are allowed")
            .check([](const Train& train, const Mark& mark, Problems& problems) {
              if (train.batch == 13) problems.add(mark, "unlucky batch");
            });
    return description;
  }
};

struct Stage {
  std::string name;
  std::optional<Train> train;
  static const Options<Stage>& options() {
    static const auto description = Options<Stage>("stage")
                                        .field("name", &Stage::name, "its folder")
                                        .required()
                                        .field("train", &Stage::train, "a training stage");
    return description;
  }
};

struct Recipe {
  std::string name;
  std::vector<Named<std::string>> data;
  std::vector<Stage> stages;
  static const Options<Recipe>& options() {
    static const auto description = Options<Recipe>("recipe")
                                        .field("name", &Recipe::name, "of the run")
                                        .required()
                                        .field("data", &Recipe::data, "data sets")
                                        .field("stages", &Recipe::stages, "in order");
    return description;
  }
};

inline const char* const sample_recipe = R"(name: quickstart
data: {reviews: data/train.tsv, news: data/news.tsv}
stages:
  - name: teacher
    train:
      model: models/base
      for: 3 epochs
  - name: student
    train:
      model: teacher
      batch: 64
      objectives:
        - soft_labels: {temperature: 2, weight: {from: 1, to: 0, end: 60%}}
        - labels
      pruning: {magnitude: {sparsity: 80%, begin: 10%}}
)";

}  // namespace compress::recipe
