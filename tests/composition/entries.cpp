#include "composition/entries.h"

#include <map>

#include "compress/base/error.h"
#include "unit/train/stage.h"

namespace compress::composition {

namespace {

// Options of the components that have required ones, or whose defaults fit neither the tiny model
// nor 20 updates. Several: ways that are tried in order.
const std::map<std::string, std::vector<std::string>>& options_of_components() {
  static const std::map<std::string, std::vector<std::string>> all = {
      {"adapter", {"{size: 2}"}},
      {"adamw", {"{lr: 1e-2}"}},
      {"asam", {"{rho: 0.5}"}},
      {"continuation", {"{scale: {from: 0.1, to: 1}, margin: 0.1}"}},
      {"contrastive", {"{bank: 8, learn_temperature: true}"}},
      {"cyclic_linear", {"{cycle: 5 steps}"}},
      {"delta_sam", {"{sigma: 0.05}"}},
      {"drop_layers", {"{keep: 1}"}},
      {"ema", {"{decay: 0.5, start: 50%}"}},
      {"hidden_noise", {"{sigma: 0.05, where: both}"}},
      {"initialise", {"{intermediate_size: 12}", "{intermediate_size: 12, from: $base}"}},
      {"keep_pattern", {"{}"}},
      {"lora", {"{rank: 2, dropout: 0.1}"}},
      {"magnitude", {"{sparsity: 60%, begin: 2 steps, end: 8 steps, every: 3 steps}"}},
      {"masking", {"{}", "{fixed: true}"}},
      {"model", {"$base", "{from: $base, tokenizer: own}"}},
      {"phm_adapter", {"{n: 2, reduction: 2}"}},
      {"prefix", {"{length: 2, hidden: 4}"}},
      {"projection", {"{size: 4}"}},
      {"quantization", {"{activation_scale: static, embeddings: int8}"}},
      {"resize", {"{hidden_size: 4, intermediate_size: 8}"}},
      {"resize_vocabulary", {"{size: 44}"}},
      {"rewound_linear", {"{every: 3 steps, end: 8 steps}"}},
      {"sam", {"{rho: 0.5}"}},
      {"sgd", {"{lr: 0.05, momentum: 0.9}"}},
      {"swa", {"{start: 50%}"}},
      {"trim_vocabulary", {"films", "films"}},
  };
  return all;
}

bool reads_teacher(const std::string& objective) {
  const train::TrainOptions options = train::options_from(
      str("model: none\n", train::head, "for: 1 step\nobjectives: [", objective, "]\n"));
  return !objective::make(options.objectives.at(0))->needs().teachers.empty();
}

Pieces pieces_of(const std::string& role, const std::string& name, const std::string& options) {
  const std::string item = str(name, ": ", options);
  Pieces p;
  if (role == "surgery")
    p.model = item;
  else if (role == "teacher")
    p.teacher = str("{", item, "}");
  else if (role == "augment")
    p.augment = item;
  else if (role == "objective") {
    p.objective = item;
    p.reads_teacher = reads_teacher(item);
  } else if (role == "pruning")
    p.pruning = item;
  else if (role == "quantization")
    p.train = item;
  else
    p.train = str(role, ": {", item, "}");
  return p;
}

bool has_one_slot(const std::string& role) {
  for (const char* one : {"quantization", "optimizer", "schedule", "sharpness", "averaging"})
    if (role == one) return true;
  return false;
}

// What a component needs of the stage around it.
void complete(Entry& entry) {
  for (Entry::Way& way : entry.ways) {
    if (entry.name == "masking" || entry.name == "self_replacement") way.pieces.head = "masked_lm";
    if (entry.name == "projection") way.pieces.head = "embedding";
    if (entry.name == "merge") way.pieces.from = "$attached";
  }
  // A teacher reads the tokens that the student has no longer as its own.
  if (entry.name == "trim_vocabulary") {
    entry.ways[1].options = "teacher: {tokenizer: own}";
    entry.ways[1].pieces.teacher_options = ", tokenizer: own";
  }
}

Entry of_component(const recipe::ComponentInfo& info) {
  Entry entry{.name = info.name, .slot = has_one_slot(info.role) ? info.role : ""};
  const auto found = options_of_components().find(info.name);
  const std::vector<std::string> ways =
      found != options_of_components().end() ? found->second : std::vector<std::string>{"{}"};
  for (const std::string& options : ways)
    entry.ways.push_back({options, pieces_of(info.role, info.name, options)});
  complete(entry);
  return entry;
}

Entry of_key(const std::string& name, const std::string& slot, const std::string& options,
             Pieces pieces) {
  return {name, slot, {{options, std::move(pieces)}}};
}

// A teacher that is a model, with options of its own.
Entry of_teacher(const std::string& name, const std::vector<std::string>& ways) {
  Entry entry{.name = name, .slot = "", .ways = {}};
  for (const std::string& options : ways)
    entry.ways.push_back({options, {.teacher = str("{model: {from: $base, ", options, "}}")}});
  return entry;
}

void add_keys(std::vector<Entry>& list) {
  list.push_back(
      of_teacher("teacher: cache", {"cache: $answers", "cache: $answers, tokenizer: own"}));
  list.push_back(of_teacher("teacher: tokenizer", {"tokenizer: own"}));
  list.push_back(
      of_teacher("teacher: dropout", {"dropout: true", "dropout: true, tokenizer: own"}));
  list.push_back(of_key("heads", "", "{second: {kind: classification, layers: 1}}",
                        {.model = "heads: {second: {kind: classification, layers: 1}}",
                         .more_terms = "labels: {head: second}"}));
  list.push_back(of_key("train", "", "[head, norm, bias]", {.model = "train: [head, norm, bias]"}));
  list.push_back(of_key("optimizer.groups", "optimizer", "[{match: [head], lr: 1e-3}]",
                        {.train = "optimizer: {adamw: {lr: 1e-2, groups: [{match: [head], lr: "
                                  "1e-3, weight_decay: 0}]}}"}));
  list.push_back(of_key("optimizer.rows", "optimizer", "lazy",
                        {.train = "optimizer: {adamw: {lr: 1e-2, rows: lazy}}"}));
  list.push_back(
      of_key("optimizer.bias_correction", "optimizer", "false, clip_each",
             {.train = "optimizer: {adamw: {lr: 1e-2, bias_correction: false, clip_each: "
                       "0.5}}"}));
  list.push_back(of_key("accumulate", "", "2", {.train = "accumulate: 2"}));
  list.push_back(of_key("precision: bf16", "precision", "bf16", {.train = "precision: bf16"}));
  list.push_back(of_key("precision: fp16", "precision", "fp16", {.train = "precision: fp16"}));
  list.push_back(of_key("quantization: affine", "quantization", "uint8, outputs, widening",
                        {.train = "quantization: {weight_granularity: tensor, weight_range: "
                                  "widening, activations: uint8, activation_scale: static, "
                                  "outputs: uint8}"}));
  list.push_back(of_key("magnitude: blocks", "", "{block: [1, 4]}",
                        {.pruning = "magnitude: {sparsity: 60%, begin: 2 steps, end: 8 steps, "
                                    "every: 3 steps, pattern: {block: [1, 4]}}"}));
  list.push_back(of_key("magnitude: groups", "", "{n: 2, of: 4}",
                        {.pruning = "magnitude: {begin: 2 steps, end: 8 steps, every: 3 steps, "
                                    "pattern: {n: 2, of: 4}}"}));
  list.push_back(of_key("masking: all", "", "{predict: all}",
                        {.head = "masked_lm", .augment = "masking: {predict: all}"}));
  list.push_back(of_key("masking: update", "", "{draw: update}",
                        {.head = "masked_lm", .augment = "masking: {draw: update}"}));
  list.push_back(of_key("length_width", "", "4", {.train = "length_width: 4"}));
  list.push_back(of_key("mix", "", "{mix: {films: 2, others: 1}}", {.mixture = true}));
  list.push_back(of_key("weight", "", "a column", {.data = "weight: weight"}));
}

}  // namespace

std::vector<Entry> entries() {
  std::vector<Entry> list;
  for (const recipe::ComponentInfo* info : pipeline::all_components())
    // Metrics change no update; rows are composed of prompts with answers alone, which this stage's
    // are not.
    if (info->role != "metric" && info->role != "composition") list.push_back(of_component(*info));
  add_keys(list);
  return list;
}

}  // namespace compress::composition
