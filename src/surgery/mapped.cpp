#include "mapped.h"

#include "components.h"
#include "compress/base/strings.h"

namespace compress::surgery {

namespace {

const nn::Stack& first_stack(const nn::Architecture& plan) {
  return plan.encoder.layers > 0 ? plan.encoder : plan.decoder;
}

std::string listed(const std::vector<int64_t>& layers) {
  std::vector<std::string> words;
  for (int64_t layer : layers) words.push_back(str(layer));
  return join(words, ", ");
}

}  // namespace

Mapped::Mapped(nn::ModelState source, const nn::ModelConfig& next, LayerMaps maps,
               bool same_tokenizer)
    : source_(std::move(source)),
      next_(next),
      old_plan_(nn::architecture(source_.config)),
      plan_(nn::architecture(next)),
      maps_(std::move(maps)),
      same_tokenizer_(same_tokenizer),
      places_(source_.config, next, plan_.positions == nn::Positions::rotary) {
  check_same_layers(source_.config, next_);
  check_sizes();
  complete_map(maps_.first, "map", next.layers, source_.config.layers);
  if (next.encoder_decoder())
    complete_map(maps_.decoder, "decoder_map", next.decoder_layers, source_.config.decoder_layers);
  for (const Sized& tensor : sized_tensors(source_.config))
    if (source_.tensors.contains(tensor.name))
      tensors_.try_emplace({tensor.decoder, tensor.layer, tensor.role}, tensor);
}

void check_same_layers(const nn::ModelConfig& source, const nn::ModelConfig& next) {
  const nn::Architecture old_plan = nn::architecture(source), plan = nn::architecture(next);
  const nn::Stack &theirs = first_stack(old_plan), &ours = first_stack(plan);
  const char* differs =
      source.encoder_decoder() != next.encoder_decoder()       ? "stacks"
      : theirs.causal != ours.causal                           ? "directions of attention"
      : old_plan.pre_norm != plan.pre_norm                     ? "places of norms"
      : old_plan.norm != plan.norm                             ? "kinds of norms"
      : old_plan.positions != plan.positions                   ? "kinds of positions"
      : theirs.self.joined.empty() != ours.self.joined.empty() ? "matrices of attention"
      : theirs.feed_forward.gate.empty() != ours.feed_forward.gate.empty() ? "feed-forward units"
                                                                           : nullptr;
  if (differs != nullptr)
    refuse(str("layers of ", source.family, " and ", next.family, " have other ", differs),
           "take the weights of a model whose layers compute the same");
}

void Mapped::check_sizes() const {
  const nn::ModelConfig& old = source_.config;
  struct Size {
    const char* name;
    int64_t wanted, known;
  };
  for (const Size& size :
       {Size{"hidden_size", next_.hidden_size, old.hidden_size},
        Size{"embedding_size", next_.embedding_size, old.embedding_size},
        Size{"intermediate_size", next_.intermediate_size, old.intermediate_size},
        Size{"heads", next_.attention_heads, old.attention_heads},
        Size{"kv_heads", next_.kv_heads, old.kv_heads},
        Size{"queries that share a head of keys", next_.attention_heads / next_.kv_heads,
             old.attention_heads / old.kv_heads},
        Size{"width of a head", next_.head_width, old.head_width}})
    if (size.wanted > size.known)
      refuse(str(size.name, " ", size.wanted, " is more than the ", size.known,
                 " of the model that weights are taken from"),
             "sizes are at most that model's; without `from` they are free");
}

void Mapped::complete_map(std::vector<int64_t>& map, const char* name, int64_t layers,
                          int64_t known) {
  if (map.empty())
    for (int64_t i = 0; i < layers; ++i) map.push_back(source_layer(i, layers, known));
  if (static_cast<int64_t>(map.size()) != layers)
    refuse(str(name, " names ", map.size(), " layers, and the new model has ", layers),
           "name one layer for each");
  for (int64_t layer : map)
    if (layer >= known)
      refuse(str("there is no layer ", layer, " to take: the model has layers 0 to ", known - 1),
             "layers are counted from 0");
}

bool Mapped::fill(const Sized& tensor, torch::Tensor& value) const {
  int64_t layer = tensor.layer;
  if (layer >= 0) {
    const bool second = tensor.decoder && next_.encoder_decoder();
    layer = (second ? maps_.decoder : maps_.first)[static_cast<size_t>(layer)];
  }
  const auto found = tensors_.find({tensor.decoder, layer, tensor.role});
  const bool tokens = tensor.rows == Axis::vocabulary || tensor.columns == Axis::vocabulary;
  if (found == tensors_.end() || (tokens && !same_tokenizer_)) return false;
  const torch::Tensor& whole = source_.tensors.at(found->second.name);
  torch::Tensor taken = selected(whole, 0, places_.of(tensor.rows, tensor.decoder));
  taken = selected(taken, 1, places_.of(tensor.columns, tensor.decoder));
  if (taken.dim() != value.dim()) return false;
  const bool partly = tensor.rows == Axis::vocabulary || tensor.rows == Axis::positions ||
                      tensor.role == "segment.weight";
  if (!partly) {
    if (taken.sizes() != value.sizes()) return false;
    value = taken.clone();
    return true;
  }
  // Rows count tokens, positions or segments. Positions begin at different rows.
  int64_t from = 0, to = 0;
  if (tensor.rows == Axis::positions) {
    from = old_plan_.position_offset;
    to = plan_.position_offset;
  }
  const int64_t rows = std::min(taken.size(0) - from, value.size(0) - to);
  if (rows < 1) return false;
  if (taken.is_meta() || value.is_meta()) {  // a plan has no values
    value = torch::empty_like(value, torch::kMeta);
    return true;
  }
  value.narrow(0, to, rows).copy_(taken.narrow(0, from, rows));
  return true;
}

std::string Mapped::words() const {
  std::string text =
      str(source_.config.family, ", layers ", listed(maps_.first), " of ", source_.config.layers);
  if (!maps_.decoder.empty())
    text += str(", of its decoder ", listed(maps_.decoder), " of ", source_.config.decoder_layers);
  return text;
}

}  // namespace compress::surgery
