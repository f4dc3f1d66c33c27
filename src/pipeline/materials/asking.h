#pragma once
// A model that a stage asks about rows, in evaluation mode and without gradients.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "compress/data/dataset.h"
#include "compress/export/export.h"
#include "compress/nn/packed.h"
#include "compress/text/tokenizer.h"
#include "stage.h"

namespace compress::pipeline {

// Options that all such stages have; theirs derive from it.
struct AskOptions {
  recipe::ModelReference model;
  int64_t batch = 64;
  std::string precision = "float32";
  recipe::Placed<std::string> device = std::string("auto");
};

// Adds `model`.
template <class O>
void add_model(recipe::Options<O>& options) {
  options.field("model", static_cast<recipe::ModelReference O::*>(&O::model),
                "an earlier stage, a folder in Hugging Face's layout, or a GGUF file");
  options.required();
}

// Adds `batch`, `precision` and `device`.
template <class O>
void add_asking(recipe::Options<O>& options) {
  options.field("batch", static_cast<int64_t O::*>(&O::batch), "rows at a time");
  options.range(1, 65536);
  options.field("precision", static_cast<std::string O::*>(&O::precision),
                "of matrix products; auto: bf16 where the device has it");
  options.one_of({"auto", "float32", "bf16", "fp16"});
  options.field("device", static_cast<recipe::Placed<std::string> O::*>(&O::device),
                "auto, cpu, cuda or cuda:<n>");
}

// What is wrong with them, and with the part of a data set that is asked about.
void check_asking(const AskOptions& options, recipe::Problems& problems);
void check_part(const RecipeOptions& recipe, const recipe::DataReference& data,
                const std::string& part, recipe::Problems& problems);

// Rows `begin` .. `end` - 1, the share of this process.
struct RowRange {
  int64_t begin = 0, end = 0;
  int64_t size() const { return end - begin; }
};
RowRange share_of(int64_t rows, const parallel::Processes* processes);

class Asked {
 public:
  // Error{model} where the folder holds none.
  Asked(Bench& bench, const AskOptions& options);

  nn::Model& model() { return *loaded_.model; }
  const nn::ModelConfig& config() const { return loaded_.model->config(); }
  const std::filesystem::path& folder() const { return folder_; }
  const text::Tokenizer& tokenizer() const { return tokenizer_; }
  nn::Precision precision() const { return precision_; }

  using Visit = std::function<void(const std::vector<int64_t>& rows, const data::Batch& batch,
                                   const nn::Outputs& outputs)>;
  // Runs the rows of `range` through the model, the longest first, and hands over what it says of
  // each batch (on the model's device; nothing where no token of a batch is predicted and no states
  // are captured). Error{data} for rows that it cannot read,
  // Error{interrupted} after a stop, where one process works alone.
  void each(const data::Split& split, RowRange range, const nn::Capture& capture,
            const Visit& visit);
  // Error{interrupted} after a stop, where one process works alone.
  void check_stop() const;

 private:
  Bench& bench_;
  const AskOptions& options_;
  std::filesystem::path folder_;
  exports::LoadedModel loaded_;
  const text::Tokenizer& tokenizer_;
  nn::Precision precision_;
  std::unique_ptr<nn::PackedWeights> packed_;
};

// The texts of all processes, one behind the other in the order of their ranks; a collective call.
std::string gather_text(std::string mine, parallel::Processes* processes);

}  // namespace compress::pipeline
