#pragma once
// Models of a recipe as far as their configurations tell, and what is refused for them before
// anything runs.

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "compress/export/export.h"
#include "compress/nn/model.h"
#include "compress/pipeline/recipe.h"

namespace compress::pipeline {

// A model before its weights are read.
struct Known {
  nn::ModelConfig config;
  std::filesystem::path folder;  // of the tokenizer that it reads with
  bool resized = false;          // its vocabulary is no longer what the configuration says
  std::string tokenizer;         // the stage that changed its tokenizer; empty for none
  // How a stage will leave it quantised; nothing for a folder, which says it itself.
  std::optional<exports::Quantised> quantised;
};

// Follows the models through the stages; each kind checks with it what it would do with them.
class Configs {
 public:
  explicit Configs(const Recipe& recipe) : recipe_(recipe) {}

  const Recipe& recipe() const { return recipe_; }
  // Of an earlier stage, or of a folder.
  const Known& model(const std::string& name);
  void leave(const std::string& stage, Known model) { models_[stage] = std::move(model); }
  // Class names of a data set, in order.
  const std::vector<std::string>& classes(const std::string& dataset);

  // The head can be scored on the data; Error{recipe} with the data's place.
  void check_scored(const nn::ModelConfig& config, const recipe::Reference& dataset) const;
  // The model's classes are the data's; Error{data} at `place`.
  void check_classes(const nn::ModelConfig& config, const std::string& dataset,
                     const recipe::Mark& place);
  // A model of this configuration has numbers for the metric; Error{recipe} with its place.
  void check_metric(const recipe::Reference& metric, const nn::ModelConfig& config,
                    const std::string& dataset) const;
  void check_metrics(const std::vector<recipe::MetricReference>& metrics,
                     const nn::ModelConfig& config, const std::string& dataset) const;

 private:
  bool has_scored_part(const std::string& dataset) const;

  const Recipe& recipe_;
  std::map<std::string, Known> models_;
  std::map<std::string, std::vector<std::string>> classes_;
};

// Checks all stages, in order: heads against tasks, metrics and teachers; classes of data, models
// and teachers, by the one rule of data/classes.h; tokenizers and vocabularies of students and
// teachers. Reads config.json files, the labels of training files, and tokenizers where two must
// agree. Error{recipe} with the place of the key, Error{data} where the data's classes are not the
// model's.
void check_models(const Recipe& recipe);

}  // namespace compress::pipeline
