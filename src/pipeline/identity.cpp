#include "identity.h"

#include <algorithm>
#include <iterator>

#include "compress/base/error.h"
#include "compress/base/hash.h"
#include "compress/base/strings.h"
#include "stages.h"

namespace compress::pipeline {

namespace fs = std::filesystem;

namespace {

using recipe::Node;
using Path = std::vector<std::string>;

// Raised when results are other ones for the same inputs.
constexpr const char* results_version = "2";
constexpr const char* first_version = "1";

// How data is read: a part of the hashes of the data, spelled out to tell what differs in them.
constexpr const char* reading = "reading";

Node* child(Node* node, const std::string& key) {
  if (node == nullptr) return nullptr;
  auto entry = std::find_if(node->entries.begin(), node->entries.end(),
                            [&](const Node::Entry& e) { return e.key == key; });
  return entry == node->entries.end() ? nullptr : &entry->value;
}

Node* parent_of(Node& root, const Path& path) {
  Node* node = &root;
  for (size_t i = 0; i + 1 < path.size(); ++i) node = child(node, path[i]);
  return node;
}

void erase(Node& root, const Path& path) {
  if (Node* parent = parent_of(root, path))
    std::erase_if(parent->entries, [&](const Node::Entry& e) { return e.key == path.back(); });
}

void set(Node& root, const Path& path, const std::string& value) {
  erase(root, path);
  if (Node* parent = parent_of(root, path)) parent->add(path.back(), Node::text(value));
}

void erase_all(Node& root, const std::vector<Path>& paths) {
  for (const Path& path : paths) erase(root, path);
}

Inputs inputs_of(Node node) {
  Inputs inputs;
  inputs.text = recipe::to_yaml(node);
  erase(node, {reading});
  inputs.identity = sha256(results_version + recipe::to_yaml(node));
  return inputs;
}

void flatten(const Node& node, const std::string& key, std::map<std::string, std::string>& values) {
  if (node.kind == Node::Kind::scalar) values[key] = node.scalar.empty() ? "(empty)" : node.scalar;
  for (size_t i = 0; i < node.items.size(); ++i)
    flatten(node.items[i], compress::str(key, "[", i, "]"), values);
  for (const Node::Entry& entry : node.entries) {
    const std::string below = key.empty() ? entry.key : key + "." + entry.key;
    // Of a component without options its name is all there is.
    if (entry.value.kind != Node::Kind::scalar && entry.value.items.empty() &&
        entry.value.entries.empty())
      values[below] = "(defaults)";
    flatten(entry.value, below, values);
  }
}

bool is_hash(const std::string& value) {
  return value.size() == 64 && value.find_first_not_of("0123456789abcdef") == std::string::npos;
}

std::string shown(const std::map<std::string, std::string>& values, const std::string& key) {
  const auto found = values.find(key);
  return found == values.end() ? "(none)" : found->second;
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

std::string Identities::dataset_of(const StageOptions& stage) const {
  if (stage.train) return stage.train->data;
  if (stage.evaluate) return stage.evaluate->data;
  if (!stage.exports->data.empty()) return stage.exports->data;
  const StageOptions* source = recipe_.stage(stage.exports->model);
  return source != nullptr && source->train ? source->train->data : "";
}

Node Identities::described(const StageOptions& stage) {
  Node node = recipe::write_struct(StageOptions::options().info(), &stage);
  erase_all(node, {{"train", "checkpoint"},
                   {"train", "device"},
                   {"train", "seed"},
                   {"train", "evaluate", "batch"},
                   {"train", "teacher", "cache", "folder"},
                   {"train", "teacher", "cache", "missing"},
                   {"train", "teacher", "cache", "hidden"}});
  const int64_t seed = stage.train && stage.train->seed ? *stage.train->seed : recipe_.options.seed;
  node.add("seed", Node::of(compress::str(seed)));
  Node models = Node::map();
  if (stage.train) {
    models.add("model", Node::text(model(stage.train->model.from)));
    if (stage.train->teacher) models.add("teacher", Node::text(model(stage.train->teacher->from)));
  }
  if (stage.evaluate) models.add("model", Node::text(model(stage.evaluate->model)));
  if (stage.exports) models.add("model", Node::text(model(stage.exports->model)));
  node.add("models", models);
  const std::string dataset = dataset_of(stage);
  if (dataset.empty()) return node;
  const data::DatasetOptions& options = recipe_.dataset(dataset);
  Node data = Node::map();
  for (const auto& [part, file] : {std::pair{"train", &options.train},
                                   {"validation", &options.validation},
                                   {"test", &options.test}})
    if (!file->empty()) data.add(part, Node::text(data::source_hash(options, part)));
  node.add("data", data);
  Node read = recipe::write_struct(data::DatasetOptions::options().info(), &options);
  erase_all(read, {{"train"}, {"validation"}, {"test"}, {"cache"}});
  node.add(reading, read);
  return node;
}

Inputs Identities::results(const StageOptions& stage) {
  const auto known = results_.find(stage.name);
  if (known != results_.end()) return known->second;
  return results_[stage.name] = inputs_of(described(stage));
}

Inputs Identities::updates(const StageOptions& stage, const parallel::Processes* processes) {
  const train::TrainOptions& options = *stage.train;
  const train::EvaluationOptions& scoring = options.evaluate;
  Node node = described(stage);
  erase_all(node, {{"data", "test"},
                   {"train", "teacher", "floor"},
                   {"train", "teacher", "metric"},
                   {"train", "evaluate", "metrics"}});
  if (scoring.select.empty() && !scoring.metrics.empty())
    set(node, {"train", "evaluate", "select"}, scoring.metrics.front());
  const torch::Device device = train::resolve_device(options.device, processes);
  set(node, {"train", "device"}, device.is_cpu() ? "cpu" : "cuda");
  set(node, {"train", "precision"},
      nn::precision_name(train::resolve_precision(options.precision, device)));
  return inputs_of(std::move(node));
}

std::string Identities::first_format(const StageOptions& stage) {
  const auto known = first_formats_.find(stage.name);
  if (known != first_formats_.end()) return known->second;
  auto model = [&](const std::string& name) {
    const StageOptions* source = recipe_.stage(name);
    return source != nullptr ? first_format(*source) : content(name);
  };
  Sha256 hash;
  hash.update(first_version);
  hash.update(compress::str("seed ", stage_seed(recipe_, stage), "\n"));
  hash.update(recipe::to_yaml(recipe::write_struct(StageOptions::options().info(), &stage)));
  const std::string dataset = dataset_of(stage);
  if (!dataset.empty()) {
    const data::DatasetOptions& data = recipe_.dataset(dataset);
    for (const auto& [part, file] :
         {std::pair{"train", &data.train}, {"validation", &data.validation}, {"test", &data.test}})
      if (!file->empty()) hash.update(data::source_hash(data, part));
  }
  if (stage.train) {
    hash.update(model(stage.train->model.from));
    if (stage.train->teacher) hash.update(model(stage.train->teacher->from));
  }
  if (stage.evaluate) hash.update(model(stage.evaluate->model));
  if (stage.exports) hash.update(model(stage.exports->model));
  return first_formats_[stage.name] = hash.hex();
}

std::vector<std::string> sources_of(const Recipe& recipe, const StageOptions& stage) {
  std::vector<std::string> names;
  auto add = [&](const std::string& model) {
    if (recipe.stage(model) != nullptr) names.push_back(model);
  };
  if (stage.train) add(stage.train->model.from);
  if (stage.train && stage.train->teacher) add(stage.train->teacher->from);
  if (stage.evaluate) add(stage.evaluate->model);
  if (stage.exports) add(stage.exports->model);
  return names;
}

std::vector<std::string> differences(const std::string& before, const std::string& after) {
  std::map<std::string, std::string> old_values, new_values;
  try {
    flatten(recipe::parse_text(before, "<before>"), "", old_values);
    flatten(recipe::parse_text(after, "<after>"), "", new_values);
  } catch (const Error&) {
    return {"the record of the options cannot be read"};
  }
  std::map<std::string, std::string> keys = old_values;
  keys.insert(new_values.begin(), new_values.end());
  std::vector<std::string> options, how_read, contents;
  for (const auto& [key, unused] : keys) {
    const std::string was = shown(old_values, key), is = shown(new_values, key);
    if (was == is) continue;
    if (starts_with(key, std::string(reading) + "."))
      how_read.push_back("data." + key.substr(std::string(reading).size() + 1) + ": " + was +
                         " -> " + is);
    else if (is_hash(was) || is_hash(is))
      contents.push_back(key + ": " +
                         (was == "(none)"  ? "added"
                          : is == "(none)" ? "removed"
                                           : "other content"));
    else
      options.push_back(key + ": " + was + " -> " + is);
  }
  // How data is read matters where the data is other for it.
  const bool other_data = std::any_of(contents.begin(), contents.end(),
                                      [](const auto& line) { return starts_with(line, "data."); });
  if (other_data) std::copy(how_read.begin(), how_read.end(), std::back_inserter(options));
  std::copy(contents.begin(), contents.end(), std::back_inserter(options));
  return options;
}

}  // namespace compress::pipeline
