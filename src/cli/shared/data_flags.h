#pragma once
// The options with which evaluate and export name a data set: a file and its columns, or a data set
// of a recipe.

#include <optional>
#include <string>
#include <vector>

#include "compress/data/dataset.h"
#include "compress/nn/model.h"
#include "compress/text/tokenizer.h"

namespace CLI {
class App;
}

namespace compress::cli {

struct DataFlags {
  std::string file, format, text = "text", pair, group, label, target, answer, answer_start, task;
  std::string positive, layout, folder;
  std::string label_separator;
  std::vector<std::string> choices, skip_labels, label_columns;
  std::string recipe, dataset, split = "test";
  int64_t max_length = 0, max_target_length = 0, limit = 0;  // 0 = not given
  std::optional<int64_t> stride;
  bool no_header = false, concatenate = false;

  // `format_flag` is the name of the option for the file's format.
  void add_to(CLI::App& sub, const char* format_flag = "--format");
  bool given() const { return !file.empty() || !recipe.empty() || !layout.empty(); }
  // Tokens of a text to be written, at most.
  int64_t longest_target() const;
  // Reads the data for a model, whose head decides the task where --task does not say it and whose
  // class names the labels must be. Errors as data::load_split, and Error{recipe} for flags that do
  // not fit together.
  data::Split load(const nn::ModelConfig& config, const text::Tokenizer& tokenizer) const;
  // The data set itself.
  data::DatasetOptions chosen(const nn::ModelConfig& config) const;

 private:
  data::DatasetOptions options(const nn::ModelConfig& config) const;
  data::DatasetOptions from_recipe() const;
};

}  // namespace compress::cli
