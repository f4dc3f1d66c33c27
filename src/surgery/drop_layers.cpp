#include <algorithm>
#include <charconv>
#include <numeric>
#include <optional>

#include "axes.h"
#include "components.h"
#include "compress/base/error.h"
#include "compress/base/place.h"
#include "compress/base/strings.h"

namespace compress::surgery {

namespace {

const std::vector<std::string> strategies = {"top", "bottom", "alternate", "alternate_odd",
                                             "symmetric"};

struct DropLayersOptions {
  std::string strategy = "top", stack = "both";
  recipe::NumbersReference by;
  std::optional<int64_t> keep, drop;
  std::optional<double> above;
  std::vector<int64_t> layers;

  static const recipe::Options<DropLayersOptions>& options() {
    static const auto description =
        recipe::Options<DropLayersOptions>("drop_layers")
            .field("strategy", &DropLayersOptions::strategy, "which layers go (see the equation)")
            .one_of(strategies)
            .field("keep", &DropLayersOptions::keep, "layers that remain")
            .at_least(1)
            .field("drop", &DropLayersOptions::drop, "layers that go; instead of keep")
            .at_least(1)
            .field("layers", &DropLayersOptions::layers,
                   "instead of a strategy: the layers that remain, ascending, the first is 0")
            .at_least(0)
            .field("by", &DropLayersOptions::by,
                   "instead of a strategy: an earlier stage that measured how alike the states "
                   "before and behind each layer are; the layers that change them least go")
            .field("above", &DropLayersOptions::above,
                   "with `by`, instead of a count: layers whose similarity is above this go")
            .range(-1, 1)
            .field("stack", &DropLayersOptions::stack,
                   "of an encoder-decoder: where layers go; both have the same rule then")
            .one_of({"both", "encoder", "decoder"})
            .check(one_amount)
            .check(measured);
    return description;
  }

  static void one_amount(const DropLayersOptions& options, const recipe::Mark& mark,
                         recipe::Problems& problems) {
    const int given = options.keep.has_value() + options.drop.has_value() +
                      options.above.has_value() + !options.layers.empty();
    if (given != 1)
      problems.add(mark,
                   given == 0 ? "drop_layers does not say how many layers to drop"
                              : "drop_layers says more than once how many layers to drop",
                   "give exactly one of keep, drop, layers and, with `by`, above");
  }

  static void measured(const DropLayersOptions& options, const recipe::Mark& mark,
                       recipe::Problems& problems) {
    if (options.above && options.by.empty())
      problems.add(mark, "`above` needs similarities to compare with",
                   "name the stage that measured them: `by: STAGE`");
    if (!options.by.empty() && !options.layers.empty())
      problems.add(mark, "`layers` and `by` both say which layers go", "leave one of them out");
  }
};

// `layers` without `count` of them: first, first + stride, ...
std::vector<int64_t> without(int64_t layers, int64_t first, int64_t count, int64_t stride) {
  std::vector<int64_t> kept;
  for (int64_t layer = 0; layer < layers; ++layer) {
    const int64_t past = layer - first;
    if (past < 0 || past % stride != 0 || past / stride >= count) kept.push_back(layer);
  }
  return kept;
}

std::vector<int64_t> checked(const std::vector<int64_t>& kept, int64_t layers) {
  for (size_t i = 0; i < kept.size(); ++i) {
    if (kept[i] < 0 || kept[i] >= layers)
      refuse(str("there is no layer ", kept[i], " to keep: the model has layers 0 to ", layers - 1),
             "layers are counted from 0");
    if (i > 0 && kept[i] <= kept[i - 1])
      refuse(str("layers to keep must ascend, but ", kept[i], " follows ", kept[i - 1]),
             "name each kept layer once, from the input to the output");
  }
  if (static_cast<int64_t>(kept.size()) == layers)
    refuse(str("all ", layers, " layers are kept"), "remove drop_layers, or name fewer layers");
  return kept;
}

std::vector<int64_t> resolve(const DropLayersOptions& options, int64_t layers) {
  if (!options.layers.empty()) return checked(options.layers, layers);
  if (!options.keep && *options.drop >= layers)
    refuse(str("cannot drop ", *options.drop, " of ", layers, " layers"),
           str("drop at most ", layers - 1));
  return kept_layers(options.strategy, layers,
                     options.keep ? *options.keep : layers - *options.drop);
}

// Renumbers "<prefix><i>.<rest>" by `places` (-1: the layer goes). Other tensors stay, and so does
// `shared`, which bears the name of layer 0 and serves all.
nn::TensorMap renumbered(const nn::TensorMap& tensors, const std::string& prefix,
                         const std::string& shared, const std::vector<int64_t>& places) {
  nn::TensorMap edited;
  for (const auto& [name, tensor] : tensors) {
    if (!starts_with(name, prefix) || name == shared) {
      edited[name] = tensor;
      continue;
    }
    const char* end = name.data() + name.size();
    size_t layer = 0;
    auto number = std::from_chars(name.data() + prefix.size(), end, layer);
    if (number.ec != std::errc() || number.ptr == end || *number.ptr != '.' ||
        layer >= places.size())
      throw Error(ErrorKind::model, str("tensor ", name, " belongs to none of the model's ",
                                        places.size(), " layers"));
    if (places[layer] >= 0) edited[str(prefix, places[layer], number.ptr)] = tensor;
  }
  return edited;
}

// `layers`: the configuration's field for the number of the stack's layers. Returns what was kept,
// in words.
std::string shorten(nn::ModelState& state, const nn::Stack& stack, int64_t& layers,
                    const std::vector<int64_t>& kept) {
  std::vector<int64_t> places(static_cast<size_t>(layers), -1);
  std::vector<std::string> names;
  for (size_t i = 0; i < kept.size(); ++i) {
    places[static_cast<size_t>(kept[i])] = static_cast<int64_t>(i);
    names.push_back(str(kept[i]));
  }
  const std::string shared = stack.relative_bias.empty() ? "" : stack.relative_bias + ".weight";
  state.tensors = renumbered(state.tensors, stack.layer_prefix, shared, places);
  const std::string words = str("kept ", join(names, ", "), " of ", layers);
  layers = static_cast<int64_t>(kept.size());
  return words;
}

// The similarities that a stage measured of a stack, one for each layer. `key`: "layers" of one
// stack or an encoder, "decoder_layers" of a decoder behind it.
std::vector<double> similarities(const nn::Json& numbers, const std::string& stage,
                                 const std::string& key, int64_t layers) {
  const auto list = numbers.find(key);
  const bool good = list != numbers.end() && list->is_array() &&
                    std::all_of(list->begin(), list->end(),
                                [](const nn::Json& value) { return value.is_number(); });
  if (!good)
    refuse("the numbers of stage '" + stage + "' have no list `" + key + "`",
           key == "layers" ? "name a stage that measures the layers of a model"
                           : "measure the model on data with `task: sequence_to_sequence`, or set "
                             "`stack: encoder`");
  if (static_cast<int64_t>(list->size()) != layers)
    refuse(str("stage '", stage, "' measured ", list->size(), " ", key, ", and the model has ",
               layers),
           "measure the model that is to lose layers");
  return list->get<std::vector<double>>();
}

// Layers are ranked by their similarity; of equal ones that nearer the output goes first.
std::vector<int64_t> kept_by(const DropLayersOptions& options, const std::vector<double>& alike) {
  const auto layers = static_cast<int64_t>(alike.size());
  std::vector<int64_t> order(alike.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  auto value = [&](int64_t layer) { return alike[static_cast<size_t>(layer)]; };
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return value(a) < value(b); });
  int64_t keep = options.keep ? *options.keep : layers - options.drop.value_or(0);
  if (options.above)
    keep = std::count_if(alike.begin(), alike.end(), [&](double c) { return c <= *options.above; });
  std::vector<std::string> shown;
  for (double c : alike) shown.push_back(fixed(c, 4));
  if (keep < 1 || keep >= layers)
    refuse(options.above
               ? str(keep < 1 ? "every" : "no", " layer has a similarity above ", *options.above)
               : str("cannot keep ", keep, " of ", layers, " layers"),
           "the similarities are " + join(shown, ", "));
  order.resize(static_cast<size_t>(keep));
  std::sort(order.begin(), order.end());
  return order;
}

// The layers that stay. `numbers`: null where they are not known yet; a count is then met by any.
std::vector<int64_t> measured(const DropLayersOptions& options,
                              const std::optional<nn::Json>& numbers, const std::string& key,
                              int64_t layers) {
  if (numbers) return kept_by(options, similarities(*numbers, options.by, key, layers));
  return kept_by(options, std::vector<double>(static_cast<size_t>(layers), 0));
}

void edit(const DropLayersOptions& options, const recipe::Mark& mark, nn::ModelState& state,
          Workshop& workshop) {
  nn::ModelConfig& config = state.config;
  const nn::Architecture plan = nn::architecture(config);
  const bool two = plan.encoder.layers > 0 && plan.decoder.layers > 0;
  if (!two && options.stack != "both")
    refuse(str("stack: ", options.stack, " needs an encoder-decoder, and a ", config.family,
               " model with the head '", nn::head_name(config.head), "' has one stack"),
           "leave `stack` out");
  std::optional<nn::Json> numbers;
  if (!options.by.empty()) numbers = workshop.numbers(options.by, mark);
  if (options.above && !numbers) {
    state.history.push_back(str("drop_layers: layers whose similarity is above ", *options.above,
                                " go; how many is known when stage '", options.by, "' has run"));
    return;
  }
  auto kept = [&](int64_t layers, const char* key) {
    return options.by.empty() ? resolve(options, layers) : measured(options, numbers, key, layers);
  };
  const bool encoder = plan.encoder.layers > 0 && options.stack != "decoder";
  const bool decoder = plan.decoder.layers > 0 && options.stack != "encoder";
  std::vector<int64_t> of_encoder, of_decoder;  // both are resolved before anything is changed
  if (encoder) of_encoder = kept(plan.encoder.layers, "layers");
  if (decoder) of_decoder = kept(plan.decoder.layers, two ? "decoder_layers" : "layers");
  std::vector<std::string> words;
  if (encoder)
    words.push_back((two ? "encoder " : "") +
                    shorten(state, plan.encoder, config.layers, of_encoder));
  if (decoder)
    words.push_back((two ? "decoder " : "") + shorten(state, plan.decoder,
                                                      two ? config.decoder_layers : config.layers,
                                                      of_decoder));
  if (!two) keep_entries(config, encoder ? of_encoder : of_decoder);
  std::string line = join(words, ", ") + " (the first is 0)";
  if (!options.by.empty() && !numbers)
    line = str("keeps ", (encoder ? of_encoder : of_decoder).size(),
               " layers; which ones is known when stage '", options.by, "' has run");
  else if (!options.by.empty())
    line += str(", by the similarities that stage '", options.by, "' measured");
  state.history.push_back("drop_layers: " + line);
}

void drop_layers(const recipe::Component& component, nn::ModelState& state, Workshop& workshop) {
  with_place(component.mark.text(),
             [&] { edit(component.as<DropLayersOptions>(), component.mark, state, workshop); });
}

}  // namespace

std::vector<int64_t> kept_layers(const std::string& strategy, int64_t layers, int64_t keep) {
  if (keep < 1 || keep >= layers)
    refuse(str("cannot keep ", keep, " of ", layers, " layers"),
           str("keep between 1 and ", layers - 1));
  const int64_t drop = layers - keep;
  if (strategy == "top") return without(layers, keep, drop, 1);
  if (strategy == "bottom") return without(layers, 0, drop, 1);
  if (strategy == "symmetric") {
    if (keep < 2)
      refuse("symmetric keeps both ends, so it cannot keep one layer", "use top or bottom");
    return without(layers, keep / 2, drop, 1);
  }
  if (strategy != "alternate" && strategy != "alternate_odd")
    refuse("unknown strategy '" + strategy + "'", "strategies: " + join(strategies, ", "));
  if (drop > layers / 2)
    refuse(str(strategy, " drops every other layer, at most ", layers / 2, " of ", layers, ", but ",
               drop, " are to go"),
           str("keep at least ", layers - layers / 2, ", or use another strategy"));
  const int64_t top = strategy == "alternate" ? layers - 1 : layers - 2;
  return without(layers, top - 2 * (drop - 1), drop, 2);
}

void add_drop_layers(EditRegistry& registry) {
  registry.add(
      recipe::describe<DropLayersOptions>(
          "surgery", "drop_layers", "removes whole layers before training",
          "of N layers, counted 1..N from the input, K = N - keep go:\n"
          "top: the last K;  bottom: the first K;  symmetric: the K in the middle\n"
          "alternate: N, N - 2, ... (K of them);  alternate_odd: N - 1, N - 3, ... (K of them)\n"
          "by a measurement: l with c_l > above, or the K of highest c_l, where\n"
          "c_l = mean over texts of cos(state before layer l, state behind it)",
          "Sajjad et al. 2023, arXiv 2004.03844, section 3",
          "The embeddings and the head stay, and T5's relative bias, which lies in layer 0 and "
          "serves "
          "all. Layers are renumbered from 0; the model's history "
          "lists which were kept. The alternate strategies need K <= N / 2. Where the middle "
          "cannot be cut evenly, symmetric keeps one more layer at the output. With `by`, a "
          "stage before has left the numbers {\"layers\": [c_1, ..., c_N]} of this very model, "
          "of the decoder of an encoder-decoder {\"decoder_layers\": [...]}; a "
          "plan does not know them, so that only a count gives it a size. A shortened model "
          "needs training."),
      drop_layers, {.new_layers = true});
}

}  // namespace compress::surgery
