// Which heads there are, and which a state has.

#include "compress/nn/heads.h"

#include <algorithm>
#include <array>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/data/classes.h"
#include "compress/nn/architecture.h"
#include "compress/nn/outline.h"

namespace compress::nn {

namespace {

using Over = Prediction::Over;
using Kind = Prediction::Kind;

struct HeadEntry {
  HeadKind kind;
  const char* name;
  Prediction says;
};
constexpr std::array<HeadEntry, 12> table = {{
    {HeadKind::none, "none", {}},
    {HeadKind::classification,
     "classification",
     {.over = Over::rows, .kind = Kind::categories, .named = true}},
    {HeadKind::regression, "regression", {.over = Over::rows, .kind = Kind::value, .named = true}},
    {HeadKind::masked_lm,
     "masked_lm",
     {.over = Over::tokens, .kind = Kind::categories, .vocabulary = true}},
    {HeadKind::embedding, "embedding", {}},
    {HeadKind::causal_lm,
     "causal_lm",
     {.over = Over::tokens, .kind = Kind::categories, .vocabulary = true, .every_token = true}},
    {HeadKind::seq2seq_lm,
     "seq2seq_lm",
     {.over = Over::tokens, .kind = Kind::categories, .vocabulary = true, .every_token = true}},
    {HeadKind::token_classification,
     "token_classification",
     {.over = Over::tokens, .kind = Kind::categories, .named = true}},
    {HeadKind::span, "span", {.over = Over::row_tokens, .kind = Kind::categories}},
    {HeadKind::multiple_choice,
     "multiple_choice",
     {.over = Over::choices, .kind = Kind::categories}},
    {HeadKind::replaced_token, "replaced_token", {.over = Over::tokens, .kind = Kind::yes_no}},
    {HeadKind::multi_label,
     "multi_label_classification",
     {.over = Over::rows, .kind = Kind::yes_no, .named = true}},
}};

const HeadEntry& entry_of(HeadKind kind) {
  const auto found = std::find_if(table.begin(), table.end(),
                                  [&](const HeadEntry& entry) { return entry.kind == kind; });
  return found == table.end() ? table.front() : *found;
}

}  // namespace

const char* head_name(HeadKind kind) {
  return entry_of(kind).name;
}

const Prediction& prediction(HeadKind head) {
  return entry_of(head).says;
}

HeadKind parse_head(const std::string& name) {
  std::vector<std::string> known;
  for (const HeadEntry& entry : table) {
    if (name == entry.name) return entry.kind;
    known.emplace_back(entry.name);
  }
  throw Error(ErrorKind::recipe, "unknown head '" + name + "'", {},
              did_you_mean(name, known, "heads: " + join(known, ", ")));
}

HeadKind class_of(HeadKind head) {
  return head == HeadKind::regression || head == HeadKind::multi_label ? HeadKind::classification
                                                                       : head;
}

const HeadOutputs& Outputs::of(const std::string& head) const {
  if (head.empty()) return *this;
  const auto found = more.find(head);
  if (found == more.end())
    throw Error(ErrorKind::internal, "the head '" + head + "' was not captured");
  return found->second;
}

const HeadSpec* ModelConfig::find_head(const std::string& name) const {
  const auto found = std::find_if(more_heads.begin(), more_heads.end(),
                                  [&](const HeadSpec& spec) { return spec.name == name; });
  return found == more_heads.end() ? nullptr : &*found;
}

std::vector<std::string> answering_heads(const ModelConfig& config, const std::string& name) {
  if (name != mean_of_heads || config.find_head(name) != nullptr) return {name};
  std::vector<std::string> names = {""};
  for (const HeadSpec& head : config.more_heads)
    if (head.kind == config.head && head.labels == config.labels) names.push_back(head.name);
  if (prediction(config.head).over != Prediction::Over::rows || names.size() == 1)
    throw Error(ErrorKind::recipe, "no further head of the model answers what its own does", {},
                "`mean` is over heads of one kind with the same classes");
  return names;
}

ModelConfig with_head(const ModelConfig& config, const std::string& name) {
  ModelConfig other = config;
  other.more_heads.clear();
  if (name.empty() || answering_heads(config, name).size() > 1) return other;
  const HeadSpec* spec = config.find_head(name);
  if (spec == nullptr) {
    std::vector<std::string> names;
    for (const HeadSpec& each : config.more_heads) names.push_back(each.name);
    throw Error(ErrorKind::recipe, "the model has no head '" + name + "'", {},
                did_you_mean(name, names,
                             names.empty() ? "the model has no head but its own: leave `head` out"
                                           : "its further heads: " + join(names, ", ")));
  }
  other.head = spec->kind;
  other.labels = spec->labels;
  return other;
}

namespace {

Error no_such_head(const Family& kind, HeadKind head) {
  std::vector<std::string> names;
  for (HeadKind each : kind.heads()) names.emplace_back(head_name(each));
  return Error(ErrorKind::recipe,
               str("a ", kind.model_type, " model has no head '", head_name(head), "'"), {},
               "its heads: " + join(names, ", "));
}

bool knows(const Family& family, HeadKind head) {
  const std::vector<HeadKind> known = family.heads();
  return std::find(known.begin(), known.end(), class_of(head)) != known.end();
}

// Puts the rows of the layer that names classes into another order.
void reorder_rows(ModelState& state, const std::string& out, const std::vector<int64_t>& order) {
  const auto classes = static_cast<int64_t>(order.size());
  for (TensorMap* tensors : {&state.tensors, &state.weight_scales})
    for (const char* part : {".weight", ".bias"}) {
      const auto entry = tensors->find(out + part);
      if (entry == tensors->end() || entry->second.dim() == 0 || entry->second.size(0) != classes)
        continue;
      entry->second = entries(entry->second, 0, torch::tensor(order));
    }
}

void erase_modules(ModelState& state, const std::vector<std::string>& modules) {
  for (const std::string& module : modules)
    if (!module.empty())
      std::erase_if(state.tensors,
                    [&](const auto& entry) { return starts_with(entry.first, module + "."); });
}

// Whether build() will draw a part of a head.
bool lacks(const ModelState& state, const HeadPlan& plan) {
  auto missing = [&](const std::string& module) {
    return !module.empty() && state.tensors.count(module + ".weight") == 0;
  };
  return missing(plan.dense) || (!plan.out_tied && missing(plan.out));
}

// What became of the classes of a trained head, whose names were `before`.
std::string kept_head(const std::vector<std::string>& before, const data::ClassMatch& match,
                      const std::vector<std::string>& labels) {
  if (match.fit == data::ClassFit::same) return {};
  return str("head kept, ", match.in_order() ? "" : "its rows reordered: ", "classes ",
             data::class_list(labels), " for ", data::class_list(before));
}

}  // namespace

std::string set_head(ModelState& state, HeadKind head, std::vector<std::string> labels,
                     std::string pooling) {
  const Family& kind = family(state.config.family);
  if (head != HeadKind::embedding && !knows(kind, head)) throw no_such_head(kind, head);
  ModelConfig& config = state.config;
  const bool same_kind = config.head == head;
  const std::vector<std::string> before = config.labels;
  if (!same_kind) set_more_heads(state, {});
  if (head == HeadKind::regression)
    labels = same_kind ? before : std::vector<std::string>{"LABEL_0"};
  if (!has_labels(head)) labels.clear();
  if (head != HeadKind::embedding) {
    config.projection = 0;
    std::erase_if(state.tensors,
                  [](const auto& entry) { return starts_with(entry.first, "projection."); });
  }
  const data::ClassMatch match =
      same_kind ? data::match_classes(labels, before) : data::ClassMatch();
  if (!match && (has_labels(config.head) || config.head == HeadKind::multiple_choice)) {
    const HeadPlan plan = kind.architecture(config).head;
    erase_modules(state, {plan.out, plan.dense});
  }
  if (match && !match.in_order())
    reorder_rows(state, kind.architecture(config).head.out, match.order);
  config.head = head;
  config.labels = std::move(labels);
  if (pooling != "auto") config.pooling = std::move(pooling);
  if (!lacks(state, kind.architecture(config).head))
    return match ? kept_head(before, match, config.labels) : "";
  std::string drawn = "head drawn anew: ";
  drawn += config.labels.empty() || head == HeadKind::regression
               ? head_name(head)
               : "classes " + data::class_list(config.labels);
  if (same_kind && !match) drawn += " (the model's were " + data::class_list(before) + ")";
  return drawn;
}

namespace {

// Tensors that a head alone has: its modules, and its layers.
std::vector<std::string> modules_of(const HeadPlan& plan, const HeadSpec& head) {
  std::vector<std::string> modules = {head_prefix + head.name};
  if (!head.module.empty()) modules.push_back(plan.out);
  return modules;
}

// Copies of the tensors of `from` under the names of `to`. Those that are not there are drawn by
// build().
void copy_module(ModelState& state, const std::string& from, const std::string& to) {
  if (from.empty() || to.empty()) return;
  std::vector<std::pair<std::string, torch::Tensor>> copies;
  for (const auto& [name, tensor] : state.tensors)
    if (starts_with(name, from + "."))
      copies.emplace_back(to + name.substr(from.size()), tensor.clone());
  for (auto& [name, tensor] : copies) state.tensors.insert_or_assign(name, std::move(tensor));
}

// A head that is not there yet: it begins as the body and the own head do.
std::string begin_head(ModelState& state, const HeadSpec& head) {
  const ModelConfig& config = state.config;
  const Architecture plan = architecture(config);
  const HeadPlan own = plan.head, other = head_plan(config, head);
  const Stack body = head_stack(plan, {}), layers = head_stack(plan, head);
  for (int64_t i = 0; i < head.layers; ++i)
    copy_module(state, str(body.layer_prefix, body.layers - head.layers + i),
                str(layers.layer_prefix, i));
  if (head.layers > 0) {
    copy_module(state, body.final_norm, layers.final_norm);
    copy_module(state, own.pooler, other.pooler);
  }
  std::string text = str("head '", head.name, "' (", head_name(head.kind), ")");
  if (head.layers > 0) text += str(", with its own ", head.layers, " of ", body.layers, " layers");
  if (config.head == head.kind && config.labels == head.labels && !other.out_tied) {
    copy_module(state, own.dense, other.dense);
    copy_module(state, own.out, other.out);
    return text + ", begins as the model's own head";
  }
  return lacks(state, other) ? text + ", drawn anew" : text;
}

// A head that models of the family have under this name: its module and classes.
void as_family_has(const ModelConfig& config, HeadSpec& spec) {
  for (const HeadClass& entry : family(config.family).classes)
    for (const HeadSpec& known : entry.also) {
      if (known.name != spec.name || known.kind != spec.kind || spec.layers > 0) continue;
      if (spec.labels.empty()) spec.labels = known.labels;
      if (spec.labels.size() == known.labels.size()) spec.module = known.module;
    }
}

void check_spec(const ModelState& state, const HeadSpec& head) {
  const Architecture plan = architecture(state.config);
  const Family& kind = family(state.config.family);
  const bool general = head.kind == HeadKind::replaced_token;
  if (!prediction(head.kind).predicts() || (!general && !knows(kind, head.kind)))
    throw no_such_head(kind, head.kind);
  if (has_classes(head.kind) && head.labels.empty())
    throw Error(ErrorKind::recipe, str("the head '", head.name, "' needs class names"), {},
                "give its `labels`, or name a label column of the data set");
  const int64_t most = head_stack(plan, {}).layers;
  if (head.layers < 0 || head.layers > most)
    throw Error(ErrorKind::recipe, str("the head '", head.name, "' wants ", head.layers,
                                       " layers of its own, but the stack has ", most));
}

}  // namespace

std::vector<std::string> set_more_heads(ModelState& state, std::vector<HeadSpec> specs) {
  const std::vector<HeadSpec> before = std::move(state.config.more_heads);
  state.config.more_heads.clear();
  auto old_of = [&](const HeadSpec& spec) {
    return std::find_if(before.begin(), before.end(), [&](const HeadSpec& old) {
      return old.name == spec.name && old.kind == spec.kind && old.layers == spec.layers;
    });
  };
  for (const HeadSpec& old : before) {
    const bool stays = std::any_of(specs.begin(), specs.end(), [&](const HeadSpec& spec) {
      const auto same = old_of(spec);
      return same != before.end() && same->name == old.name;
    });
    if (!stays) erase_modules(state, modules_of(head_plan(state.config, old), old));
  }
  std::vector<std::string> notes;
  for (HeadSpec& spec : specs) {
    const auto old = old_of(spec);
    if (old != before.end() && spec.labels.empty()) spec.labels = old->labels;
    as_family_has(state.config, spec);
    if (spec.kind == HeadKind::regression && spec.labels.empty()) spec.labels = {"LABEL_0"};
    if (!has_labels(spec.kind)) spec.labels.clear();
    check_spec(state, spec);
    const HeadPlan plan = head_plan(state.config, spec);
    const data::ClassMatch match =
        old != before.end() ? data::match_classes(spec.labels, old->labels) : data::ClassMatch();
    const bool kept = old != before.end() && (match || !has_labels(spec.kind));
    if (match && !match.in_order()) reorder_rows(state, plan.out, match.order);
    std::string note;
    if (kept) {
      note = match ? kept_head(old->labels, match, spec.labels) : "";
      if (!note.empty()) note = str("head '", spec.name, "': ", note);
    } else {
      if (old != before.end()) erase_modules(state, {plan.out, plan.dense});
      note = begin_head(state, spec);
    }
    if (!note.empty()) notes.push_back(std::move(note));
    state.config.more_heads.push_back(std::move(spec));
  }
  return notes;
}

}  // namespace compress::nn
