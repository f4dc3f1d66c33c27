#pragma once
// What a training stage gives its parts to bind to: the same whether the stage is planned or run.

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "compress/base/progress.h"
#include "compress/nn/model.h"
#include "compress/parallel/processes.h"
#include "compress/recipe/reference.h"
#include "compress/text/tokenizer.h"

namespace compress::roles {

// A teacher as parts see it. Its outputs come with each batch, whoever gives them.
struct Voice {
  std::string name;  // in the recipe; "teacher" where `teacher:` names the model alone
  const nn::ModelConfig* config = nullptr;
  // It reads the same rows as tokens of its own: outputs of a row, or of a labelled token, have a
  // counterpart in the student, those of other tokens have none.
  bool own_tokens = false;
};

class RowStore;  // row_store.h

// The optimizer's running moments of a parameter (tensors of its shape); may be empty.
using Moments = std::function<std::vector<torch::Tensor>(const nn::Parameter&)>;

// Nothing here is owned; all of it outlives the parts.
struct Scene {
  const nn::ModelConfig& student;
  nn::ParamTable& weights;  // the student's; of shapes alone in a plan
  nn::ParamTable& helpers;  // trained with the student and saved with the state, never exported
  std::vector<Voice> teachers;
  const text::Tokenizer* tokenizer = nullptr;  // null in a plan that does not read it
  parallel::Processes* processes = nullptr;    // that share each batch; null: one alone
  Length length;                               // of the stage
  int64_t accumulate = 1;                      // parts that an update is cut into
  uint64_t seed = 0;
  nn::Precision precision = nn::Precision::float32;
  Moments moments;             // works once the optimizer is bound; empty without one
  nn::Model* model = nullptr;  // whose `weights` these are; null where there are only weights
  int64_t rows = 0;            // of the training data; 0: they are not known
  RowStore* values = nullptr;  // what the stage's parts keep of its rows; null in a plan
  // The folder of tensors that an earlier stage left; empty where that has not run (in a plan).
  std::function<std::filesystem::path(const recipe::StoreReference&)> left;

  // The teacher of that name; null without one.
  const nn::ModelConfig* teacher(const std::string& name) const;
  // Rows of the embeddings that read the batch's tokens: those that all models have.
  int64_t embedded_tokens() const;
  // What the optimizer moves: the student's trainable parameters, then the helpers.
  std::vector<nn::Parameter*> trained() const;
};

}  // namespace compress::roles
