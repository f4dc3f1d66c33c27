// A smaller model from a larger one's layers and leading dimensions.

#include <algorithm>
#include <optional>

#include "axes.h"
#include "components.h"
#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "places.h"

namespace compress::surgery {

namespace {

struct ResizeOptions {
  std::optional<int64_t> layers, decoder_layers, hidden_size, heads, kv_heads, head_size,
      intermediate_size;

  static const recipe::Options<ResizeOptions>& options() {
    using O = ResizeOptions;
    static const auto description =
        recipe::Options<O>("resize")
            .field("layers", &O::layers, "layers (of the encoder, where there are two stacks)")
            .at_least(1)
            .field("decoder_layers", &O::decoder_layers, "layers of an encoder-decoder's decoder")
            .at_least(1)
            .field("hidden_size", &O::hidden_size, "width of the states")
            .at_least(1)
            .field("heads", &O::heads, "attention heads; each keeps its place in its group")
            .at_least(1)
            .field("kv_heads", &O::kv_heads,
                   "heads of keys and values; by default as many queries share one as before")
            .at_least(1)
            .field("head_size", &O::head_size,
                   "width of a head, of families that state it (Llama's kin, T5); by default as "
                   "before, and hidden_size / heads in other families")
            .at_least(1)
            .field("intermediate_size", &O::intermediate_size, "width inside the feed-forward unit")
            .at_least(1)
            .check(something);
    return description;
  }

  static void something(const ResizeOptions& o, const recipe::Mark& mark,
                        recipe::Problems& problems) {
    if (!o.layers && !o.decoder_layers && !o.hidden_size && !o.heads && !o.kv_heads &&
        !o.head_size && !o.intermediate_size)
      problems.add(mark, "resize does not say what changes", "give at least one size");
  }
};

// The new size: the wanted one, which may not be larger than the old one.
int64_t smaller(const char* name, const std::optional<int64_t>& wanted, int64_t old) {
  if (wanted && *wanted > old)
    refuse(str(name, " ", *wanted, " is more than the model's ", old),
           "a model is resized to smaller sizes only");
  return wanted.value_or(old);
}

int64_t head_width(const ResizeOptions& options, const nn::ModelConfig& old, int64_t hidden,
                   int64_t heads) {
  if (states_head_width(old)) return smaller("head_size", options.head_size, old.head_width);
  if (options.head_size)
    refuse("head_size cannot be chosen for " + old.family,
           "it is hidden_size / heads in this family");
  if (hidden % heads != 0)
    refuse(str("hidden_size ", hidden, " does not divide by ", heads, " heads"));
  if (hidden / heads > old.head_width)
    refuse(str(heads, " heads of ", hidden, " dimensions are ", hidden / heads,
               " wide, and the model's are ", old.head_width),
           str("keep at least ", (hidden + old.head_width - 1) / old.head_width, " heads"));
  return hidden / heads;
}

int64_t shared_heads(const ResizeOptions& options, const nn::ModelConfig& old, int64_t heads) {
  const int64_t group = old.attention_heads / old.kv_heads;
  const int64_t count =
      options.kv_heads
          ? smaller("kv_heads", options.kv_heads, old.kv_heads)
          : (heads % group == 0 ? heads / group : (heads < group ? int64_t{1} : int64_t{0}));
  if (count == 0 || heads % count != 0 || heads / count > group)
    refuse(str(heads, " heads cannot share ", count == 0 ? old.kv_heads : count,
               " heads of keys and values: in the model ", group, " share one"),
           "give kv_heads, a divisor of heads");
  return count;
}

nn::ModelConfig resized(const ResizeOptions& options, const nn::ModelConfig& old, bool rotary) {
  nn::ModelConfig next = old;
  next.layers = smaller("layers", options.layers, old.layers);
  if (options.decoder_layers && !old.encoder_decoder())
    refuse("decoder_layers needs an encoder-decoder", "use layers");
  next.decoder_layers = smaller("decoder_layers", options.decoder_layers, old.decoder_layers);
  next.hidden_size = smaller("hidden_size", options.hidden_size, old.hidden_size);
  if (old.embedding_size == old.hidden_size) next.embedding_size = next.hidden_size;
  next.attention_heads = smaller("heads", options.heads, old.attention_heads);
  if (options.heads && old.encoder_decoder() && old.decoder_heads != old.attention_heads)
    refuse("heads cannot be chosen where encoder and decoder have different numbers of them");
  if (options.heads && old.encoder_decoder()) next.decoder_heads = next.attention_heads;
  next.head_width = head_width(options, old, next.hidden_size, next.attention_heads);
  if (rotary && next.head_width % 2 != 0)
    refuse(str("a head of ", next.head_width, " dimensions cannot be rotated"),
           "heads with rotary positions have an even width");
  next.kv_heads = shared_heads(options, old, next.attention_heads);
  next.intermediate_size =
      smaller("intermediate_size", options.intermediate_size, old.intermediate_size);
  next.decoder_intermediate_size =
      std::min(old.decoder_intermediate_size,
               options.intermediate_size.value_or(old.decoder_intermediate_size));
  return next;
}

void edit(const ResizeOptions& options, nn::ModelState& state) {
  nn::complete(state.config);
  const nn::ModelConfig old = state.config;
  const nn::Architecture plan = nn::architecture(old);
  const bool rotary = plan.positions == nn::Positions::rotary;
  nn::ModelConfig next = resized(options, old, rotary);
  const Places places(old, next, rotary);
  const bool two = plan.encoder.layers > 0 && plan.decoder.layers > 0;
  nn::TensorMap tensors;
  for (const Sized& tensor : sized_tensors(next)) {
    std::string from = tensor.name;
    if (tensor.layer >= 0) {
      const nn::Stack& stack = tensor.decoder ? plan.decoder : plan.encoder;
      const int64_t count = tensor.decoder && two ? next.decoder_layers : next.layers;
      const std::string rest = from.substr(str(stack.layer_prefix, tensor.layer).size());
      from = str(stack.layer_prefix, source_layer(tensor.layer, count, stack.layers), rest);
    }
    auto found = state.tensors.find(from);
    if (found == state.tensors.end() || tensors.contains(tensor.name)) continue;
    torch::Tensor value = selected(found->second, 0, places.of(tensor.rows, tensor.decoder));
    tensors[tensor.name] = selected(value, 1, places.of(tensor.columns, tensor.decoder));
  }
  state.tensors = std::move(tensors);
  if (next.layers != old.layers && !two) {
    std::vector<int64_t> kept;
    for (int64_t i = 0; i < next.layers; ++i)
      kept.push_back(source_layer(i, next.layers, old.layers));
    keep_entries(next, kept);
  }
  if (next.raw.is_object() && next.raw.contains("word_embed_proj_dim"))  // OPT states it twice
    next.raw["word_embed_proj_dim"] = next.embedding_size;
  auto sizes = [](const nn::ModelConfig& c) {
    return str(c.layers, c.decoder_layers > 0 ? str(" + ", c.decoder_layers) : "", " layers, ",
               c.hidden_size, " wide, ", c.attention_heads, " heads of ", c.head_width,
               ", feed-forward ", c.intermediate_size);
  };
  state.history.push_back("resize: " + sizes(old) + " to " + sizes(next));
  state.config = std::move(next);
}

void resize(const recipe::Component& component, nn::ModelState& state, Workshop&) {
  torch::NoGradGuard no_grad;
  try {
    edit(component.as<ResizeOptions>(), state);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::recipe) throw;
    throw Error(error.kind(), error.message(), component.mark.text(), error.hint());
  }
}

}  // namespace

void add_resize(EditRegistry& registry) {
  registry.add(
      recipe::describe<ResizeOptions>(
          "surgery", "resize",
          "starts a smaller model from layers and leading dimensions of this one",
          "layer i of K begins as layer floor(i N / K) of the model's N; of a matrix W[out, in] "
          "the\n"
          "leading rows and columns stay: W'[a, b] = W[r(a), c(b)], where r and c run over the "
          "first\n"
          "dimensions of states and feed-forward units, and over the first dimensions of the "
          "first\n"
          "heads (of each group that shares keys and values) in queries, keys, values and output",
          "Samragh et al. 2023, arXiv 2312.09299 (without their ranking of neurons)",
          "Query, key and value in one matrix (GPT-2) are cut as three. With rotary positions the "
          "leading dimensions of both halves of a head stay, so that pairs stay pairs. Norms, "
          "biases, "
          "embeddings and heads follow; what was tied stays tied. Which layers are taken can be "
          "chosen with drop_layers before. Nothing is scaled: the model needs training."),
      resize, {.new_layers = true});
}

}  // namespace compress::surgery
