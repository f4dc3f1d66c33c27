#include "report/waterfall.h"

#include <cstdlib>
#include <set>

#include "compress/nn/architecture.h"

namespace compress::pipeline {

namespace {

constexpr int64_t width = sizeof(float);

template <class Each>
ModelSize counted(const nn::ModelConfig& config, const Each& each) {
  const nn::Architecture plan = nn::architecture(config);
  std::set<std::string> tables;
  for (const nn::Stack* stack : {&plan.encoder, &plan.decoder})
    for (const std::string* table : {&stack->word, &stack->position, &stack->segment})
      tables.insert(*table + ".weight");
  ModelSize size;
  each([&](const std::string& name, int64_t count) {
    size.parameters += count;
    if (tables.contains(name)) size.tables += count;
  });
  return size;
}

const StageResult* first_trained(const std::vector<StageResult>& stages) {
  for (const StageResult& stage : stages)
    if (stage.begun.parameters > 0) return &stage;
  return nullptr;
}

}  // namespace

ModelSize size_of(const nn::ModelState& state) {
  return counted(state.config, [&](const auto& take) {
    for (const auto& [name, tensor] : state.tensors) take(name, tensor.numel());
  });
}

ModelSize size_of(const nn::Model& model) {
  return counted(model.config(), [&](const auto& take) {
    for (const nn::Parameter& parameter : model.params().list())
      take(parameter.name, parameter.numel());
  });
}

Table waterfall(const std::vector<StageResult>& stages) {
  const StageResult *first = first_trained(stages), *last = nullptr;
  const exports::Report* smallest = nullptr;
  for (const StageResult& stage : stages)
    for (const exports::Report& report : stage.exports)
      if (report.weight_bytes > 0 &&
          (smallest == nullptr || report.weight_bytes < smallest->weight_bytes)) {
        smallest = &report;
        last = &stage;
      }
  if (first == nullptr || smallest == nullptr || last->tables == 0)
    return Table(std::vector<std::string>{});
  Table table({str("bytes, from what ", first->name, " began with to ", last->name, " (",
                   smallest->format, ")"),
               "change", "left"});
  int64_t left = width * first->begun.parameters;
  auto shown = [](int64_t bytes) { return human_bytes(static_cast<double>(bytes)); };
  table.row({"the model as float32", "", shown(left)});
  auto step = [&](const std::string& what, int64_t saved) {
    if (saved == 0) return;
    left -= saved;
    table.row({what, (saved > 0 ? "-" : "+") + shown(std::abs(saved)), shown(left)});
  };
  const int64_t tables = first->begun.tables - last->tables;
  const exports::Savings& saved = smallest->savings;
  step("rows of embeddings", width * tables);
  step("layers, and what else the edits took or added",
       width * (first->begun.parameters - last->census.parameters - tables));
  step("zeros, a bit each", saved.zeros);
  step("layers as integers", saved.layers);
  step("embeddings as integers", saved.tables);
  step("the rest in " + smallest->rest, saved.rest);
  step("coding, less scales and names", left - smallest->weight_bytes);
  return table;
}

}  // namespace compress::pipeline
