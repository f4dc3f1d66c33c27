#include "compress/nn/model.h"

#include <algorithm>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/data/classes.h"
#include "compress/nn/architecture.h"
#include "compress/nn/decoding.h"
#include "compress/nn/plugs.h"
#include "transformer/transformer.h"

namespace compress::nn {

std::vector<int64_t> Layers::below(int64_t count) const {
  std::vector<int64_t> list;
  for (int64_t layer = 0; layer < count; ++layer)
    if (has(layer)) list.push_back(layer);
  return list;
}

Layers Layers::operator|(const Layers& other) const {
  Layers both = *this;
  both.all_ = all_ || other.all_;
  both.named_.insert(other.named_.begin(), other.named_.end());
  return both;
}

Capture Capture::operator|(const Capture& other) const {
  return {hidden | other.hidden,
          attention | other.attention,
          pooled || other.pooled,
          decoder_hidden | other.decoder_hidden,
          decoder_attention | other.decoder_attention,
          cross_attention | other.cross_attention};
}

namespace {

using torch::Tensor;

struct HeadName {
  HeadKind kind;
  const char* name;
};
constexpr HeadName head_names[] = {{HeadKind::none, "none"},
                                   {HeadKind::classification, "classification"},
                                   {HeadKind::regression, "regression"},
                                   {HeadKind::masked_lm, "masked_lm"},
                                   {HeadKind::embedding, "embedding"},
                                   {HeadKind::causal_lm, "causal_lm"},
                                   {HeadKind::seq2seq_lm, "seq2seq_lm"},
                                   {HeadKind::token_classification, "token_classification"},
                                   {HeadKind::span, "span"},
                                   {HeadKind::multiple_choice, "multiple_choice"},
                                   {HeadKind::replaced_token, "replaced_token"},
                                   {HeadKind::multi_label, "multi_label_classification"}};

}  // namespace

const char* head_name(HeadKind kind) {
  for (const HeadName& entry : head_names)
    if (entry.kind == kind) return entry.name;
  return "none";
}

HeadKind parse_head(const std::string& name) {
  std::vector<std::string> known;
  for (const HeadName& entry : head_names) {
    if (name == entry.name) return entry.kind;
    known.emplace_back(entry.name);
  }
  std::string near = nearest(name, known);
  throw Error(ErrorKind::recipe, "unknown head '" + name + "'", {},
              near.empty() ? "heads: " + join(known, ", ") : "did you mean '" + near + "'?");
}

bool predicts_tokens(HeadKind head) {
  return head == HeadKind::masked_lm || head == HeadKind::causal_lm || head == HeadKind::seq2seq_lm;
}

bool has_labels(HeadKind head) {
  return class_of(head) == HeadKind::classification || head == HeadKind::token_classification;
}

HeadKind class_of(HeadKind head) {
  return head == HeadKind::regression || head == HeadKind::multi_label ? HeadKind::classification
                                                                       : head;
}

Tensor Plugs::before_layer(const Tensor& x, int64_t, const Rows&) {
  return x;
}

Tensor Plugs::sublayer_output(const Tensor& x, Place, const Rows&) {
  return x;
}

std::pair<Tensor, Tensor> Plugs::prefix(Place) {
  return {};
}

Decoding Model::begin_decoding(const data::Batch&, int64_t, int64_t, const Pass&) {
  throw Error(ErrorKind::model, "this model does not write text");
}

Tensor Model::decode(Decoding&, const data::Batch&, const Pass&) {
  throw Error(ErrorKind::model, "this model does not write text");
}

ModelState Model::state() const {
  ModelState state{config_, {}, history_};
  for (const Parameter& parameter : params_.list())
    state.tensors[parameter.name] = parameter.latent.detach();
  return state;
}

void Model::to(torch::Device device) {
  params_.to(device);
}

torch::Device Model::device() const {
  return params_.list().front().latent.device();
}

void Model::freeze() {
  for (Parameter& parameter : params_.list()) {
    parameter.trainable = false;
    parameter.latent.requires_grad_(false);
  }
}

std::unique_ptr<Model> build(const ModelState& state, uint64_t seed) {
  ModelConfig config = state.config;
  complete(config);
  auto model = std::make_unique<Transformer>(state, config, seed);
  model->history() = state.history;
  return model;
}

namespace {

Error no_such_head(const Family& kind, HeadKind head) {
  std::vector<std::string> names;
  for (HeadKind each : kind.heads()) names.emplace_back(head_name(each));
  return Error(ErrorKind::recipe,
               str("a ", kind.model_type, " model has no head '", head_name(head), "'"), {},
               "its heads: " + join(names, ", "));
}

// Puts the rows of the layer that names classes into another order.
void reorder_rows(ModelState& state, const std::string& out, const std::vector<int64_t>& order) {
  const auto classes = static_cast<int64_t>(order.size());
  for (TensorMap* tensors : {&state.tensors, &state.weight_scales})
    for (const char* part : {".weight", ".bias"}) {
      const auto entry = tensors->find(out + part);
      if (entry == tensors->end() || entry->second.dim() == 0 || entry->second.size(0) != classes)
        continue;
      entry->second = entry->second.index_select(0, torch::tensor(order));
    }
}

// Whether build() will draw a part of the head.
bool lacks_head(const ModelState& state) {
  const HeadPlan plan = family(state.config.family).architecture(state.config).head;
  auto lacks = [&](const std::string& module) {
    return !module.empty() && state.tensors.count(module + ".weight") == 0;
  };
  return lacks(plan.dense) || (!plan.out_tied && lacks(plan.out));
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
  const std::vector<HeadKind> known = kind.heads();
  const HeadKind listed = class_of(head);
  if (head != HeadKind::embedding && std::find(known.begin(), known.end(), listed) == known.end())
    throw no_such_head(kind, head);
  ModelConfig& config = state.config;
  const bool same_kind = config.head == head;
  const std::vector<std::string> before = config.labels;
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
    for (const std::string& module : {plan.out, plan.dense})
      if (!module.empty())
        std::erase_if(state.tensors,
                      [&](const auto& entry) { return starts_with(entry.first, module + "."); });
  }
  if (match && !match.in_order())
    reorder_rows(state, kind.architecture(config).head.out, match.order);
  config.head = head;
  config.labels = std::move(labels);
  if (pooling != "auto") config.pooling = std::move(pooling);
  if (!lacks_head(state)) return match ? kept_head(before, match, config.labels) : "";
  std::string drawn = "head drawn anew: ";
  drawn += config.labels.empty() || head == HeadKind::regression
               ? head_name(head)
               : "classes " + data::class_list(config.labels);
  if (same_kind && !match) drawn += " (the model's were " + data::class_list(before) + ")";
  return drawn;
}

Census census(const Model& model) {
  torch::NoGradGuard no_grad;
  Census total;
  for (const Parameter& parameter : model.params().list()) {
    int64_t zeros = parameter.numel() - parameter.latent.count_nonzero().item<int64_t>();
    total.parameters += parameter.numel();
    total.zeros += zeros;
    if (parameter.is_matrix() && parameter.layer >= 0) {
      total.encoder_linear += parameter.numel();
      total.encoder_linear_zeros += zeros;
    }
  }
  return total;
}

}  // namespace compress::nn
