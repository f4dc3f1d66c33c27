#include "run/identity.h"

#include "compress/base/hash.h"
#include "compress/base/strings.h"
#include "materials/workbench.h"
#include "run/description.h"
#include "stage.h"

namespace compress::pipeline {

namespace fs = std::filesystem;

using recipe::Node;
using recipe::Referred;
using recipe::Refers;

namespace {

// Raised when results are other ones for the same inputs.
constexpr const char* results_version = "2";
constexpr const char* first_version = "1";

Inputs inputs_of(Node node) {
  Inputs inputs;
  inputs.text = recipe::to_yaml(node);
  erase_key(node, {reading_key});
  inputs.identity = sha256(results_version + recipe::to_yaml(node));
  return inputs;
}

// A model is called by the key that names it: "teacher" for "teacher.from".
std::string role_of(const Referred& input) {
  constexpr std::string_view from = ".from";
  return input.path.ends_with(from) ? input.path.substr(0, input.path.size() - from.size())
                                    : input.path;
}

// How the data set is read, whatever its files.
Node reading_of(const data::DatasetOptions& options) {
  Node read = recipe::write_struct(data::DatasetOptions::options().info(), &options);
  for (const char* key : {"train", "validation", "test", "cache"}) erase_key(read, {key});
  return read;
}

}  // namespace

Identities::Identities(const Recipe& recipe, fs::path run_folder)
    : recipe_(recipe), run_folder_(std::move(run_folder)) {}

std::string Identities::content(const std::string& folder) {
  std::string& known = contents_[folder];
  if (known.empty()) known = content_hash(folder);
  return known;
}

void Identities::refresh() {
  auto is_inside = [&](const fs::path& folder) {
    const fs::path below =
        folder.lexically_normal().lexically_relative(run_folder_.lexically_normal());
    return !below.empty() && *below.begin() != "..";
  };
  if (std::erase_if(contents_, [&](const auto& entry) { return is_inside(entry.first); }) == 0)
    return;
  results_.clear();
  first_formats_.clear();
}

std::string Identities::model(const std::string& name) {
  const StageOptions* stage = recipe_.stage(name);
  return stage != nullptr ? results(*stage).identity : content(name);
}

// Rows that a stage makes are a function of what that stage depends on, and of how they are read.
std::string Identities::rows(const data::DatasetOptions& data, const std::string& part,
                             const data::Origin& origin) {
  const StageOptions* source = recipe_.stage(origin.stage);
  if (source == nullptr) return data::source_hash(data, part);
  return sha256(results(*source).identity + recipe::to_yaml(reading_of(data)));
}

void Identities::describe_data(const Referred& input, const std::string& key, Node& node) {
  const data::DatasetOptions& options = recipe_.dataset(input.reference);
  Node data = Node::map();
  for (const auto& [part, origin] : data::parts_of(options))
    if (!origin->empty()) data.add(part, Node::text(rows(options, part, *origin)));
  // How other data is read belongs to it; of the stage's own, the reading is told apart.
  if (key != "data") data.add("read", reading_of(options));
  node.add(key, data);
  if (key == "data") node.add(reading_key, reading_of(options));
}

Node Identities::described(const StageOptions& stage) {
  const std::unique_ptr<StageKind> kind = kind_of(stage);
  Node node = recipe::write_struct(StageOptions::options().info(), &stage);
  for (KeyPath path : kind->indifferent()) {
    path.insert(path.begin(), stage.kind.name());
    erase_key(node, path);
  }
  node.add("seed", Node::of(str(kind->seed().value_or(recipe_.options.seed))));
  const std::vector<Referred> inputs = kind->inputs(recipe_.options);
  Node models = Node::map(), others = Node::map();
  for (const Referred& input : inputs) {
    if (input.to == Refers::model) models.add(role_of(input), Node::text(model(input.reference)));
    if (input.to == Refers::rows || input.to == Refers::numbers || input.to == Refers::store)
      others.add(input.path, Node::text(model(input.reference)));
  }
  node.add("models", models);
  if (!others.entries.empty()) node.add("made", others);
  for (const auto& [key, file] : kind->files())
    node.add("content of " + key, Node::text(sha256_file(file)));
  for (const Referred& input : inputs)
    if (input.to == Refers::data)
      describe_data(input, is_own_data(input) ? "data" : "data of " + input.path, node);
  return node;
}

Inputs Identities::results(const StageOptions& stage) {
  const auto known = results_.find(stage.name);
  if (known != results_.end()) return known->second;
  return results_[stage.name] = inputs_of(described(stage));
}

std::optional<Inputs> Identities::updates(const StageOptions& stage,
                                          const parallel::Processes* processes) {
  Node node = described(stage);
  if (!kind_of(stage)->describe_updates(node, processes)) return {};
  return inputs_of(std::move(node));
}

std::string Identities::first_format(const StageOptions& stage) {
  const auto known = first_formats_.find(stage.name);
  if (known != first_formats_.end()) return known->second;
  Sha256 hash;
  hash.update(first_version);
  hash.update(str("seed ", stage_seed(recipe_, stage), "\n"));
  hash.update(recipe::to_yaml(recipe::write_struct(StageOptions::options().info(), &stage)));
  const std::vector<Referred> inputs = kind_of(stage)->inputs(recipe_.options);
  for (const Referred& input : inputs) {
    if (input.to != Refers::data) continue;
    const data::DatasetOptions& data = recipe_.dataset(input.reference);
    for (const auto& [part, origin] : data::parts_of(data))
      if (!origin->empty()) hash.update(rows(data, part, *origin));
  }
  for (const Referred& input : inputs) {
    if (input.to != Refers::model) continue;
    const StageOptions* source = recipe_.stage(input.reference);
    hash.update(source != nullptr ? first_format(*source) : content(input.reference));
  }
  return first_formats_[stage.name] = hash.hex();
}

}  // namespace compress::pipeline
