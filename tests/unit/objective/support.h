#pragma once
// Terms bound to models, and outputs for them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "compress/base/error.h"
#include "compress/objective/objective.h"
#include "support/failure.h"

namespace compress::objective {

using nn::HeadKind;

inline std::unique_ptr<Objective> made(const std::string& text) {
  recipe::Component component;
  recipe::Problems problems;
  objectives().read(recipe::parse_text(text, "recipe.yaml"), component, problems);
  problems.raise();
  return make(component);
}

inline nn::ModelConfig model(HeadKind head, int64_t outputs = 2, int64_t layers = 2,
                             int64_t width = 3) {
  nn::ModelConfig config;
  config.head = head;
  config.labels.assign(static_cast<size_t>(outputs), "x");
  config.layers = layers;
  config.hidden_size = width;
  config.vocab_size = 5;
  return config;
}

inline void bind(Objective& term, const nn::ModelConfig& student, const nn::ModelConfig* teacher,
                 nn::ParamTable& helpers, uint64_t seed) {
  nn::ParamTable weights;
  roles::Scene scene{.student = student, .weights = weights, .helpers = helpers, .seed = seed};
  if (teacher != nullptr) scene.teachers = {{"teacher", teacher}};
  term.bind(scene);
}

// The loss of a batch that is its whole update. Batches by hand need not list their rows.
inline torch::Tensor mean(const Losses& losses, const data::Batch& batch) {
  if (batch.present.defined()) return losses.share(batch);
  torch::Tensor total = torch::zeros({});
  for (const UnitLosses& each : losses.list())
    total =
        total + each.values.sum() / static_cast<double>(std::max<int64_t>(each.values.size(0), 1));
  return total;
}

// A term bound to models, and its value on outputs.
struct Bound {
  nn::ParamTable auxiliary;
  std::unique_ptr<Objective> term;
  Bound(const std::string& text, const nn::ModelConfig& student,
        std::optional<nn::ModelConfig> teacher = {}, uint64_t seed = 1)
      : term(made(text)) {
    bind(*term, student, teacher ? &*teacher : nullptr, auxiliary, seed);
  }
  Unit unit(const data::Batch& batch, const nn::Outputs& student,
            const nn::Outputs* teacher = nullptr) {
    return term->compute({batch, student, teacher}).list().front().unit;
  }
  torch::Tensor operator()(const data::Batch& batch, const nn::Outputs& student,
                           const nn::Outputs* teacher = nullptr, const Progress& progress = {}) {
    return mean(term->compute({batch, student, teacher, progress}), batch);
  }
};

inline nn::Outputs with_logits(const torch::Tensor& logits) {
  nn::Outputs outputs;
  outputs.logits = logits;
  return outputs;
}

inline nn::Outputs with_hidden(std::vector<torch::Tensor> hidden) {
  nn::Outputs outputs;
  outputs.hidden = std::move(hidden);
  return outputs;
}

}  // namespace compress::objective
