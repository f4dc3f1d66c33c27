#include "places.h"

#include "compress/base/error.h"
#include "compress/nn/outline.h"

namespace compress::surgery {

namespace {

std::vector<int64_t> leading(int64_t count) {
  std::vector<int64_t> places(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) places[static_cast<size_t>(i)] = i;
  return places;
}

// The leading heads of each group that shares keys and values, of the leading groups.
std::vector<int64_t> kept_heads(int64_t heads, int64_t shared, int64_t old_group) {
  std::vector<int64_t> kept;
  const int64_t group = heads / shared;
  for (int64_t i = 0; i < heads; ++i) kept.push_back(i / group * old_group + i % group);
  return kept;
}

}  // namespace

// Rotary positions turn the second half of a head against the first: of both the leading ones.
std::vector<int64_t> Places::inside() const {
  std::vector<int64_t> places = leading(next_.head_width);
  if (!rotary_) return places;
  const size_t half = places.size() / 2;
  for (size_t i = half; i < places.size(); ++i)
    places[i] = old_.head_width / 2 + static_cast<int64_t>(i - half);
  return places;
}

std::vector<int64_t> Places::spread(const std::vector<int64_t>& heads, int64_t first) const {
  std::vector<int64_t> places;
  for (int64_t head : heads)
    for (int64_t place : inside()) places.push_back(first + head * old_.head_width + place);
  return places;
}

std::optional<std::vector<int64_t>> Places::of(Axis axis, bool decoder) const {
  const bool second = decoder && old_.encoder_decoder();
  const int64_t old_heads = second ? old_.decoder_heads : old_.attention_heads;
  const int64_t heads = second ? next_.decoder_heads : next_.attention_heads;
  const int64_t old_shared = second ? old_heads : old_.kv_heads;
  const int64_t shared = second ? heads : next_.kv_heads;
  switch (axis) {
    case Axis::embedding:
      return leading(next_.embedding_size);
    case Axis::hidden:
      return leading(next_.hidden_size);
    case Axis::inner:
      return leading(second ? next_.decoder_intermediate_size : next_.intermediate_size);
    case Axis::head:
      return inside();
    case Axis::heads:
      return kept_heads(heads, shared, old_heads / old_shared);
    case Axis::queries:
      return spread(kept_heads(heads, shared, old_heads / old_shared), 0);
    case Axis::keys:
      return spread(leading(shared), 0);
    case Axis::joined: {
      std::vector<int64_t> all = spread(kept_heads(heads, shared, old_heads / old_shared), 0);
      int64_t first = old_heads * old_.head_width;
      for (int block = 0; block < 2; ++block) {
        for (int64_t place : spread(leading(shared), first)) all.push_back(place);
        first += old_shared * old_.head_width;
      }
      return all;
    }
    default:
      return std::nullopt;
  }
}

torch::Tensor selected(torch::Tensor tensor, int64_t dimension,
                       const std::optional<std::vector<int64_t>>& places) {
  if (!places || dimension >= tensor.dim()) return tensor;
  const int64_t size = tensor.size(dimension);
  for (int64_t place : *places)
    if (place >= size)
      throw Error(ErrorKind::model, "a tensor is smaller than the model's configuration says");
  if (static_cast<int64_t>(places->size()) == size) return tensor;
  return nn::entries(tensor, dimension, torch::tensor(*places));
}

int64_t source_layer(int64_t i, int64_t count, int64_t old) {
  return i * old / count;
}

bool states_head_width(const nn::ModelConfig& config) {
  for (const nn::ConfigKey& key : nn::family(config.family).keys) {
    const auto* field = std::get_if<int64_t nn::ModelConfig::*>(&key.field);
    if (field != nullptr && *field == &nn::ModelConfig::head_width) return true;
  }
  return false;
}

}  // namespace compress::surgery
