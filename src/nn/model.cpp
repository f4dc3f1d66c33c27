#include "compress/nn/model.h"

#include <algorithm>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "families/families.h"

namespace compress::nn {

namespace {

struct HeadName {
  HeadKind kind;
  const char* name;
};
constexpr HeadName head_names[] = {{HeadKind::none, "none"},
                                   {HeadKind::classification, "classification"},
                                   {HeadKind::regression, "regression"},
                                   {HeadKind::masked_lm, "masked_lm"},
                                   {HeadKind::embedding, "embedding"}};

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

const std::vector<Family>& families() {
  static const std::vector<Family> list = {bert_family()};
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

std::unique_ptr<Model> build(const ModelState& state, uint64_t seed) {
  std::unique_ptr<Model> model = family(state.config.family).build(state, seed);
  model->history() = state.history;
  return model;
}

void set_head(ModelState& state, HeadKind head, std::vector<std::string> labels,
              std::string pooling) {
  if (head == HeadKind::regression) labels = {"LABEL_0"};
  if (head != HeadKind::classification && head != HeadKind::regression) labels.clear();
  ModelConfig& config = state.config;
  bool same = config.head == head && config.labels == labels;
  if (!same && (config.head == HeadKind::classification || config.head == HeadKind::regression))
    std::erase_if(state.tensors,
                  [](const auto& entry) { return starts_with(entry.first, "classifier."); });
  config.head = head;
  config.labels = std::move(labels);
  config.pooling = std::move(pooling);
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
