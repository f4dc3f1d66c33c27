// Families by name: how their tensors are called in files, and what their models are composed of.

#include <algorithm>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/nn/architecture.h"
#include "families/families.h"

namespace compress::nn {

namespace {

bool begins_with_any(const std::string& name, const std::vector<std::string>& prefixes) {
  return std::any_of(prefixes.begin(), prefixes.end(),
                     [&](const std::string& prefix) { return starts_with(name, prefix); });
}

bool matches_any(const std::string& name, const std::vector<std::string>& globs) {
  return std::any_of(globs.begin(), globs.end(),
                     [&](const std::string& glob) { return glob_match(glob, name); });
}

const char* class_prefix(const Family& family, HeadKind head) {
  for (const HeadClass& entry : family.classes)
    if (entry.head == class_of(head)) return entry.prefix;
  return nullptr;
}

}  // namespace

std::string Family::file_name(const std::string& canonical, HeadKind head) const {
  const bool bare = head == HeadKind::none || head == HeadKind::embedding ||
                    starts_with(canonical, head_prefix) || begins_with_any(canonical, head_tensors);
  if (bare) return canonical;
  const char* own = class_prefix(*this, head);
  return (own != nullptr ? own : prefix) + canonical;
}

std::string Family::canonical_name(std::string name) const {
  std::vector<std::string> accepted = also_prefixes;
  if (!prefix.empty()) accepted.push_back(prefix);
  for (const std::string& front : accepted)
    if (starts_with(name, front)) {
      name.erase(0, front.size());
      break;
    }
  // The names of TensorFlow's layer norm, in files from before 2019.
  for (auto [old, now] : {std::pair{".gamma", ".weight"}, std::pair{".beta", ".bias"}})
    if (ends_with(name, std::string("LayerNorm") + old))
      name.replace(name.size() - std::string(old).size(), std::string::npos, now);
  return name;
}

bool Family::is_ignored(const std::string& canonical) const {
  return matches_any(canonical, ignored);
}

bool Family::is_head(const std::string& canonical) const {
  return starts_with(canonical, head_prefix) || begins_with_any(canonical, head_tensors) ||
         begins_with_any(canonical, optional_tensors);
}

bool Family::is_transposed(const std::string& canonical) const {
  return matches_any(canonical, transposed);
}

std::vector<HeadKind> Family::heads() const {
  std::vector<HeadKind> kinds;
  for (const HeadClass& entry : classes)
    if (std::find(kinds.begin(), kinds.end(), entry.head) == kinds.end())
      kinds.push_back(entry.head);
  return kinds;
}

const std::vector<Family>& families() {
  static const std::vector<Family> list = all_families();
  return list;
}

const Family& family(const std::string& model_type) {
  std::vector<std::string> names;
  for (const Family& entry : families()) {
    if (entry.model_type == model_type) return entry;
    names.push_back(entry.model_type);
  }
  throw Error(ErrorKind::model, "model type '" + model_type + "' is not supported", {},
              "supported: " + join(names, ", "));
}

Architecture architecture(const ModelConfig& config) {
  return family(config.family).architecture(config);
}

HeadPlan head_plan(const ModelConfig& config, const HeadSpec& head) {
  ModelConfig alone = config;
  alone.head = head.kind;
  alone.labels = head.labels;
  const std::vector<HeadKind> known = family(config.family).heads();
  HeadPlan plan;
  if (std::find(known.begin(), known.end(), class_of(head.kind)) != known.end()) {
    plan = architecture(alone).head;
  } else if (head.kind == HeadKind::replaced_token) {  // ELECTRA's, on the states of any family
    plan.dense = "dense";
    plan.dense_activation = config.activation;
    plan.out = "out";
    plan.outputs = 1;
  }
  const std::string prefix = head_prefix + head.name + ".";
  auto own = [&](std::string& module) {
    if (!module.empty()) module.insert(0, prefix);
  };
  if (head.layers > 0) own(plan.pooler);
  if (!head.module.empty()) {
    plan.out = head.module;
    return plan;
  }
  own(plan.dense);
  own(plan.dense_norm);
  own(plan.out_bias_name);
  if (plan.out_tied && plan.out_bias && plan.out_bias_name.empty())
    plan.out_bias_name = prefix + "bias";
  if (!plan.out_tied) own(plan.out);
  return plan;
}

Stack head_stack(const Architecture& plan, const HeadSpec& head) {
  Stack stack = plan.decoder.layers > 0 ? plan.decoder : plan.encoder;
  if (head.layers == 0) return stack;
  const std::string prefix = head_prefix + head.name + ".";
  stack.layers = head.layers;
  stack.layer_prefix = prefix + "layer.";
  if (!stack.final_norm.empty()) stack.final_norm = prefix + "final_norm";
  return stack;
}

std::optional<int64_t> learned_places(const ModelConfig& config) {
  const Architecture plan = architecture(config);
  if (plan.positions != Positions::learned) return {};
  return plan.position_rows - plan.position_offset;
}

int64_t longest_row(const ModelConfig& config) {
  if (const std::optional<int64_t> places = learned_places(config)) return *places;
  return config.max_positions > 0 ? config.max_positions : int64_t{1} << 20;
}

}  // namespace compress::nn
