// A model of named sizes with first weights, or with those of another model.

#include <algorithm>
#include <cmath>
#include <optional>

#include "components.h"
#include "compress/base/error.h"
#include "compress/base/place.h"
#include "compress/base/strings.h"
#include "draw.h"
#include "family.h"
#include "mapped.h"

namespace compress::surgery {

namespace {

struct InitialiseOptions {
  std::optional<int64_t> layers, decoder_layers, hidden_size, embedding_size, heads, kv_heads,
      head_size, intermediate_size;
  std::string family;
  std::optional<bool> frozen_positions;
  recipe::ModelReference from;
  std::vector<int64_t> map, decoder_map;

  static const recipe::Options<InitialiseOptions>& options() {
    using O = InitialiseOptions;
    static const auto description =
        recipe::Options<O>("initialise")
            .field("layers", &O::layers, "layers (of the encoder, where there are two stacks)")
            .at_least(1)
            .field("decoder_layers", &O::decoder_layers, "layers of an encoder-decoder's decoder")
            .at_least(1)
            .field("hidden_size", &O::hidden_size, "width of the states")
            .at_least(1)
            .field("embedding_size", &O::embedding_size,
                   "width of the embeddings, of families where it may differ (ELECTRA); by "
                   "default hidden_size where it was that before")
            .at_least(1)
            .field("heads", &O::heads, "attention heads")
            .at_least(1)
            .field("kv_heads", &O::kv_heads,
                   "heads of keys and values, of families where several queries share one; by "
                   "default as many share one as before")
            .at_least(1)
            .field("head_size", &O::head_size,
                   "width of a head, of families that state it (Llama's kin, T5); by default "
                   "hidden_size / heads where it was that before")
            .at_least(1)
            .field("intermediate_size", &O::intermediate_size, "width inside the feed-forward unit")
            .at_least(1)
            .field("family", &O::family,
                   "another family, whose layers compute the same (of bert: distilbert, which has "
                   "no token types and no pooler); by default the model's own")
            .field("frozen_positions", &O::frozen_positions,
                   "DistilBERT: whether training leaves the table of positions alone (its "
                   "sinusoidal_pos_embds); drawn it is then of sines and cosines, with `from` that "
                   "model's")
            .field("from", &O::from,
                   "a model whose layers and leading dimensions are taken instead of draws: an "
                   "earlier stage or a folder; it may be of another family")
            .field("map", &O::map,
                   "with `from`: its layer for each of the new ones, the first is 0; by default "
                   "spread evenly")
            .at_least(0)
            .field("decoder_map", &O::decoder_map, "the same for a decoder behind an encoder")
            .at_least(0)
            .check([](const O& o, const recipe::Mark& mark, recipe::Problems& problems) {
              if (o.from.empty() && (!o.map.empty() || !o.decoder_map.empty()))
                problems.add(mark, "a map of layers needs a model to take them from",
                             "name it: `from: NAME`");
            });
    return description;
  }
};

int64_t divided(int64_t whole, int64_t parts) {
  if (whole % parts != 0)
    refuse(str("hidden_size ", whole, " does not divide by ", parts, " heads"),
           "give another hidden_size or number of heads");
  return whole / parts;
}

int64_t head_width(const InitialiseOptions& o, const nn::ModelConfig& old,
                   const nn::ModelConfig& next) {
  const bool stated = states_head_width(old);
  if (o.head_size && !stated)
    refuse("head_size cannot be chosen for " + old.family,
           "it is hidden_size / heads in this family");
  if (o.head_size) return *o.head_size;
  const bool follows = old.head_width * old.attention_heads == old.hidden_size;
  return stated && !follows ? old.head_width : divided(next.hidden_size, next.attention_heads);
}

int64_t shared_heads(const InitialiseOptions& o, const nn::ModelConfig& old, int64_t heads) {
  const int64_t group = old.attention_heads / old.kv_heads;
  const int64_t count = o.kv_heads ? *o.kv_heads : heads % group == 0 ? heads / group : 0;
  if (o.kv_heads && group == 1 && *o.kv_heads != heads && !states_head_width(old))
    refuse("kv_heads cannot be chosen for " + old.family,
           "each head has keys and values of its own in this family");
  if (count == 0 || heads % count != 0)
    refuse(str(heads, " heads cannot share ", count == 0 ? old.kv_heads : count,
               " heads of keys and values"),
           "give kv_heads, a divisor of heads");
  return count;
}

nn::ModelConfig sized(const InitialiseOptions& o, const nn::ModelConfig& old) {
  nn::ModelConfig next = old;
  if ((o.decoder_layers || !o.decoder_map.empty()) && !old.encoder_decoder())
    refuse("this model has no decoder behind an encoder", "use layers and map");
  next.layers = o.layers.value_or(old.layers);
  next.decoder_layers = o.decoder_layers.value_or(old.decoder_layers);
  next.hidden_size = o.hidden_size.value_or(old.hidden_size);
  const bool as_wide = old.embedding_size == old.hidden_size;
  next.embedding_size = o.embedding_size.value_or(as_wide ? next.hidden_size : old.embedding_size);
  next.attention_heads = o.heads.value_or(old.attention_heads);
  if (o.heads && old.encoder_decoder()) next.decoder_heads = *o.heads;
  next.head_width = head_width(o, old, next);
  next.kv_heads = shared_heads(o, old, next.attention_heads);
  next.intermediate_size = o.intermediate_size.value_or(old.intermediate_size);
  if (o.intermediate_size && old.decoder_intermediate_size > 0)
    next.decoder_intermediate_size = *o.intermediate_size;
  const nn::Architecture plan = nn::architecture(next);
  if (plan.positions == nn::Positions::rotary && next.head_width % 2 != 0)
    refuse(str("a head of ", next.head_width, " dimensions cannot be rotated"),
           "heads with rotary positions have an even width");
  const nn::Stack& first = plan.encoder.layers > 0 ? plan.encoder : plan.decoder;
  if (next.embedding_size != next.hidden_size && first.projection.empty())
    refuse(str("embeddings of ", next.embedding_size, " dimensions do not fit states of ",
               next.hidden_size, " in ", old.family),
           "leave embedding_size out");
  return next;
}

// The size of an axis; nothing where sizes of layers do not tell it.
std::optional<int64_t> size_of(Axis axis, bool decoder, const nn::ModelConfig& c) {
  const bool second = decoder && c.encoder_decoder();
  const int64_t heads = second ? c.decoder_heads : c.attention_heads;
  const int64_t shared = second ? heads : c.kv_heads;
  switch (axis) {
    case Axis::embedding:
      return c.embedding_size;
    case Axis::hidden:
      return c.hidden_size;
    case Axis::inner:
      return second ? c.decoder_intermediate_size : c.intermediate_size;
    case Axis::queries:
      return heads * c.head_width;
    case Axis::keys:
      return shared * c.head_width;
    case Axis::joined:
      return (heads + 2 * shared) * c.head_width;
    case Axis::heads:
      return heads;
    case Axis::head:
      return c.head_width;
    default:
      return std::nullopt;
  }
}

// What the model of `next` has of `tensor`, by what the model of the old sizes has of it: the same
// tensor of its first layer. Nothing where it has none.
std::optional<std::vector<int64_t>> shape_of(const Sized& tensor, const nn::ModelConfig& next,
                                             const nn::ModelState& old) {
  std::string like = tensor.name;
  if (tensor.layer >= 0) {
    const nn::Architecture plan = nn::architecture(old.config);
    const std::string& prefix = (tensor.decoder ? plan.decoder : plan.encoder).layer_prefix;
    like = str(prefix, 0, like.substr(str(prefix, tensor.layer).size()));
  }
  const auto rows = size_of(tensor.rows, tensor.decoder, next),
             columns = size_of(tensor.columns, tensor.decoder, next);
  const auto found = old.tensors.find(like);
  if (found == old.tensors.end()) {
    // A projection is there where embeddings and states have different widths.
    if (!starts_with(tensor.role, "projection.")) return std::nullopt;
    return ends_with(tensor.role, ".bias") ? std::vector<int64_t>{*rows}
                                           : std::vector<int64_t>{*rows, *columns};
  }
  std::vector<int64_t> shape = found->second.sizes().vec();
  if (rows && !shape.empty()) shape[0] = *rows;
  if (columns && shape.size() > 1) shape[1] = *columns;
  return shape;
}

std::string sizes(const nn::ModelConfig& c) {
  return str(c.layers, c.decoder_layers > 0 ? str(" + ", c.decoder_layers) : "", " layers, ",
             c.hidden_size, " wide, ",
             c.embedding_size == c.hidden_size ? "" : str("embeddings ", c.embedding_size, ", "),
             c.attention_heads, " heads of ", c.head_width, ", feed-forward ", c.intermediate_size);
}

// Keys that say a size a second time, and lists with an entry a layer.
void follow(nn::ModelConfig& next, const nn::ModelConfig& old) {
  std::vector<int64_t> like;
  for (int64_t i = 0; i < next.layers; ++i)
    like.push_back(source_layer(i, next.layers, old.layers));
  if (!next.encoder_decoder()) keep_entries(next, like);
  if (next.raw.is_object() && next.raw.contains("word_embed_proj_dim"))  // OPT states it twice
    next.raw["word_embed_proj_dim"] = next.embedding_size;
}

// The first weights of a model without layers: the body's; build() draws the head.
void draw_body(const nn::Family& family, const InitialiseOptions& o, uint64_t seed, bool planning,
               nn::ModelState& state) {
  if (o.layers || o.decoder_layers || o.heads || o.kv_heads || o.head_size || o.intermediate_size ||
      !o.from.empty())
    refuse("a " + family.model_type + " model has no layers: initialise takes its widths alone",
           "give hidden_size and embedding_size, or neither");
  nn::ModelConfig next = state.config;
  next.hidden_size = o.hidden_size.value_or(next.hidden_size);
  next.embedding_size = o.embedding_size.value_or(next.embedding_size);
  const std::string words = nn::architecture(next).encoder.word + ".weight";
  nn::TensorMap tensors;
  for (const nn::NamedShape& tensor : family.body(next)) {
    const bool table = tensor.name == words;
    const Sized sized{tensor.name, table ? "word.weight" : tensor.name};
    // Other matrices keep the variance of what they read.
    nn::ModelConfig drawn = next;
    if (!table && tensor.shape.size() == 2)
      drawn.initializer_range = 1 / std::sqrt(static_cast<double>(tensor.shape[1]));
    tensors[tensor.name] =
        planning ? torch::zeros(tensor.shape) : draw(sized, tensor.shape, drawn, seed);
  }
  state.history.push_back(str("initialise: ", next.vocab_size, " tokens, embeddings ",
                              next.embedding_size, ", ", next.hidden_size, " wide, drawn"));
  state.tensors = std::move(tensors);
  state.config = std::move(next);
}

// A plan knows that no drawn weight is 0 and how large they are, and nothing of those that another
// model gives.
torch::Tensor planned(const std::vector<int64_t>& shape, bool given, double deviation) {
  return given ? torch::empty(shape, torch::kMeta) : torch::full({1}, deviation).expand(shape);
}

void freeze_positions(bool frozen, nn::ModelConfig& config) {
  const std::vector<nn::ConfigKey>& keys = nn::family(config.family).keys;
  const bool stated = std::any_of(keys.begin(), keys.end(), [](const nn::ConfigKey& key) {
    const auto* field = std::get_if<bool nn::ModelConfig::*>(&key.field);
    return field != nullptr && *field == &nn::ModelConfig::frozen_positions;
  });
  if (!stated)
    refuse("frozen_positions is no option of " + config.family,
           "its config.json cannot say it; name what is trained under `train`");
  config.frozen_positions = frozen;
}

void edit(const recipe::Component& component, nn::ModelState& state, Workshop& workshop) {
  const auto& options = component.as<InitialiseOptions>();
  nn::complete(state.config);
  if (const nn::Family& family = nn::family(state.config.family); !family.has_layers()) {
    draw_body(family, options, workshop.seed(component), workshop.planning(), state);
    return;
  }
  if (!options.family.empty() && options.family != state.config.family)
    state = in_family(options.family, state);
  nn::ModelConfig next = sized(options, state.config);
  if (options.frozen_positions) freeze_positions(*options.frozen_positions, next);
  std::optional<Mapped> mapped;
  if (!options.from.empty()) {
    nn::ModelState source = workshop.model(options.from, component.mark);
    nn::complete(source.config);
    mapped.emplace(std::move(source), next, LayerMaps{options.map, options.decoder_map},
                   workshop.same_tokenizer(options.from, component.mark));
  }
  const uint64_t seed = workshop.seed(component);
  nn::TensorMap tensors;
  std::vector<std::string> drawn;
  for (const Sized& tensor : sized_tensors(next)) {
    const auto shape = shape_of(tensor, next, state);
    if (!shape || tensors.contains(tensor.name)) continue;
    torch::Tensor value = workshop.planning()
                              ? planned(*shape, mapped.has_value(), next.initializer_range)
                              : draw(tensor, *shape, next, seed);
    if (mapped && !mapped->fill(tensor, value)) drawn.push_back(tensor.name);
    tensors[tensor.name] = std::move(value);
  }
  follow(next, state.config);
  state.history.push_back(
      str("initialise: ", sizes(next),
          mapped ? str(", from ", options.from, " (", mapped->words(), ")") : ", drawn",
          !mapped || drawn.empty() ? "" : "; drawn: " + join(drawn, ", ")));
  state.tensors = std::move(tensors);
  state.config = std::move(next);
  state.quantization = nullptr;
  state.weight_scales.clear();
}

void initialise(const recipe::Component& component, nn::ModelState& state, Workshop& workshop) {
  torch::NoGradGuard no_grad;
  with_place(component.mark.text(), [&] { edit(component, state, workshop); });
}

}  // namespace

void add_initialise(EditRegistry& registry) {
  registry.add(
      recipe::describe<InitialiseOptions>(
          "surgery", "initialise",
          "a model of named sizes with first weights, or with layers of another model",
          "W ~ N(0, s^2), s = initializer_range; norms 1, biases 0\n"
          "from a model with layers T_0, T_1, ...: layer i begins as T_map(i), by default "
          "map(i) = floor(i N / K), at its leading dimensions",
          "Jiao et al. 2020, arXiv 1909.10351, section 4.1 (TinyBERT's general student: layers 4, "
          "hidden_size 312, heads 12, intermediate_size 1200); Sanh et al. 2019, arXiv 1910.01108 "
          "(layers of the teacher in a student of another family)",
          "The model that is edited gives family, tokenizer, vocabulary and every size that is not "
          "named (another `family` keeps the sizes, and has no heads beside its own); none of its "
          "weights stay. The draw is the family's own: T5 scales each matrix by "
          "what it reads, GPT-2 the projections into the residual by 1 / sqrt(2 layers); the row "
          "of "
          "the padding token is zero. With `from` the sizes are at most that model's, its layers "
          "are put together in the same way (norms before or behind, kind of positions, gates), "
          "and what it has no counterpart for, or reads with another tokenizer, is drawn and named "
          "in the model's history. A model without layers (`dan`) may be a folder of config.json "
          "and tokenizer alone; its matrices but the table are drawn with s = 1 / sqrt(what they "
          "read)."),
      initialise, {.new_layers = true, .without_layers = true});
}

}  // namespace compress::surgery
