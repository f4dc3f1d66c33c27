#include "compress/nn/model.h"

#include <algorithm>

#include "compress/base/error.h"
#include "compress/nn/architecture.h"
#include "compress/nn/decoding.h"
#include "compress/nn/outline.h"
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

namespace {

std::set<std::string> united(std::set<std::string> names, const std::set<std::string>& others) {
  names.insert(others.begin(), others.end());
  return names;
}

}  // namespace

Capture Capture::operator|(const Capture& other) const {
  return {hidden | other.hidden,
          attention | other.attention,
          pooled || other.pooled,
          united(heads, other.heads),
          decoder_hidden | other.decoder_hidden,
          decoder_attention | other.decoder_attention,
          cross_attention | other.cross_attention};
}

using torch::Tensor;

Tensor Plugs::before_layer(const Tensor& x, int64_t, const RowInfo&) {
  return x;
}

Tensor Plugs::before_feed_forward(const Tensor& x, int64_t, const RowInfo&) {
  return x;
}

Tensor Plugs::sublayer_output(const Tensor& x, Place, const RowInfo&) {
  return x;
}

std::pair<Tensor, Tensor> Plugs::prefix(Place, const RowInfo&) {
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
  const Family& kind = family(config.family);
  std::unique_ptr<Model> model = kind.build != nullptr
                                     ? kind.build(state, config, seed)
                                     : std::make_unique<Transformer>(state, config, seed);
  model->history() = state.history;
  return model;
}

ModelState outline(const ModelConfig& given) {
  ModelConfig config = given;
  complete(config);
  if (!family(config.family).has_layers())
    throw Error(ErrorKind::model, config.family + " models without weights have no sizes to tell");
  return Transformer({config, {}, {}, {}, {}}, config, 0, Assembler::Missing::zeros).state();
}

Tensor entries(const Tensor& tensor, int64_t dimension, const Tensor& places) {
  if (!tensor.is_meta()) return tensor.index_select(dimension, places);
  std::vector<int64_t> shape = tensor.sizes().vec();
  shape[static_cast<size_t>(dimension)] = places.numel();
  return torch::empty(shape, tensor.options());
}

Census census(const Model& model) {
  torch::NoGradGuard no_grad;
  Census total;
  for (const Parameter& parameter : model.params().list()) {
    int64_t zeros = parameter.numel() - parameter.latent.count_nonzero().item<int64_t>();
    total.parameters += parameter.numel();
    total.zeros += zeros;
    if (parameter.is_matrix() && parameter.layer >= 0 && parameter.role != Role::attachment) {
      total.encoder_linear += parameter.numel();
      total.encoder_linear_zeros += zeros;
    }
  }
  return total;
}

}  // namespace compress::nn
