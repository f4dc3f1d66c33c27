// Which embeddings are quantised.

#include <algorithm>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/nn/architecture.h"
#include "quantization/quantization.h"

namespace compress::constraint {

namespace {

bool matches_one(const std::string& glob, const std::vector<nn::Parameter*>& parameters) {
  return std::any_of(parameters.begin(), parameters.end(), [&](const nn::Parameter* parameter) {
    return glob_match(glob, parameter->name);
  });
}

// A group that the width is no multiple of would leave a rest with a scale of its own, which no
// reader of the format knows.
void check_group(const nn::Parameter& table, int64_t group, const recipe::Mark& mark) {
  const int64_t width = table.latent.size(1);
  if (width % group == 0) return;
  int64_t near = std::min(group, width);
  while (width % near != 0) --near;
  throw Error(ErrorKind::recipe,
              str("groups of ", group, " values do not fill the rows of ", table.name,
                  ", which is ", width, " wide"),
              mark.text(), str("embedding_group: ", near));
}

// The word, position and segment tables of a model, in that order. Not what else has the role: a
// table of T5's distances is no input of the first layer.
std::vector<nn::Parameter*> tables_of(const nn::ModelConfig& config, nn::ParamTable& weights) {
  const nn::Architecture plan = nn::architecture(config);
  std::vector<nn::Parameter*> found;
  for (const nn::Stack* stack : {&plan.encoder, &plan.decoder})
    for (const std::string& table : {stack->word, stack->position, stack->segment}) {
      nn::Parameter* parameter = table.empty() ? nullptr : weights.find(table + ".weight");
      if (parameter != nullptr && std::find(found.begin(), found.end(), parameter) == found.end())
        found.push_back(parameter);
    }
  return found;
}

}  // namespace

std::vector<nn::Parameter*> select_tables(const roles::Scene& scene,
                                          const QuantizationOptions& options,
                                          const recipe::Mark& mark) {
  if (options.embeddings == "none") return {};
  const std::vector<nn::Parameter*> tables = tables_of(scene.student, scene.weights);
  std::vector<nn::Parameter*> held;
  for (nn::Parameter* table : tables) {
    if (std::any_of(options.exclude.begin(), options.exclude.end(),
                    [&](const std::string& glob) { return glob_match(glob, table->name); }))
      continue;
    if (options.embeddings == "int4") check_group(*table, options.embedding_group, mark);
    held.push_back(table);
  }
  if (held.empty())
    throw Error(ErrorKind::recipe, "no embedding is left to be quantised", mark.text(),
                tables.empty() ? "the model has none: remove `embeddings`" : "exclude less");
  return held;
}

RowGrid table_grid(const std::string& embeddings, int64_t group) {
  return embeddings == "int4" ? RowGrid{4, group} : RowGrid{};
}

std::string table_text(const RowGrid& grid) {
  return grid.bits == 8 ? "int8 per row" : str("int4 in groups of ", grid.group);
}

nn::Json table_scheme(const RowGrid& grid, const std::vector<nn::Parameter*>& tables) {
  nn::Json scheme{{"num_bits", grid.bits}, {"strategy", grid.bits == 8 ? "channel" : "group"}};
  if (grid.bits == 4) scheme["group_size"] = grid.group;
  for (const nn::Parameter* table : tables) scheme["tables"].push_back(module_name(table->name));
  return scheme;
}

std::vector<std::string> excluded_matrices(const roles::Scene& scene,
                                           const QuantizationOptions& options) {
  if (options.embeddings == "none") return options.exclude;
  const std::vector<nn::Parameter*> tables = tables_of(scene.student, scene.weights);
  std::vector<nn::Parameter*> matrices;
  for (nn::Parameter& parameter : scene.weights.list())
    if (parameter.is_matrix()) matrices.push_back(&parameter);
  std::vector<std::string> globs;
  for (const std::string& glob : options.exclude)
    if (!matches_one(glob, tables) || matches_one(glob, matrices)) globs.push_back(glob);
  return globs;
}

}  // namespace compress::constraint
