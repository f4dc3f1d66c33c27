#pragma once
// One function a kind; the kinds are told of in their files.

#include "stage.h"

namespace compress::pipeline {

void add_train(StageRegistry& registry);
void add_evaluate(StageRegistry& registry);
void add_export(StageRegistry& registry);
void add_measure(StageRegistry& registry);
void add_generate(StageRegistry& registry);
void add_annotate(StageRegistry& registry);
void add_calibrate(StageRegistry& registry);
void add_augment_rows(StageRegistry& registry);

// Registers a kind whose options are O and which class K does.
template <class K, recipe::HasOptions O>
void add_kind(StageRegistry& registry, std::string name, std::string summary,
              std::string equation = {}, std::string paper = {}, std::string notes = {}) {
  registry.add(recipe::describe<O>("stage", std::move(name), std::move(summary),
                                   std::move(equation), std::move(paper), std::move(notes)),
               [](const StageOptions& stage) { return std::make_unique<K>(stage); });
}

}  // namespace compress::pipeline
