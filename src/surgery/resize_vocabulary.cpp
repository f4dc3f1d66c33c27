// More tokens, or fewer.

#include <ATen/CPUGeneratorImpl.h>

#include <optional>
#include <set>

#include "axes.h"
#include "components.h"
#include "compress/base/error.h"
#include "compress/base/place.h"
#include "compress/base/random.h"
#include "compress/base/strings.h"

namespace compress::surgery {

namespace {

struct ResizeVocabularyOptions {
  int64_t size = 0;
  std::string rows = "normal";
  std::optional<int64_t> seed;

  static const recipe::Options<ResizeVocabularyOptions>& options() {
    using O = ResizeVocabularyOptions;
    static const auto description =
        recipe::Options<O>("resize_vocabulary")
            .field("size", &O::size, "tokens; rows of the embedding")
            .at_least(1)
            .required()
            .field("rows", &O::rows, "what new rows are: drawn, or the mean of the old ones")
            .one_of({"normal", "mean"})
            .field("seed", &O::seed, "of the draws; default: the stage's")
            .at_least(0);
    return description;
  }
};

// `tensor` with `size` rows.
torch::Tensor with_rows(const torch::Tensor& tensor, const ResizeVocabularyOptions& options,
                        double deviation, at::Generator& generator) {
  const int64_t old = tensor.size(0);
  if (options.size <= old) return tensor.narrow(0, 0, options.size).clone();
  std::vector<int64_t> shape = tensor.sizes().vec();
  shape[0] = options.size - old;
  torch::Tensor fresh = torch::zeros(shape, tensor.options());
  if (tensor.is_meta()) return torch::cat({tensor, fresh});
  if (options.rows == "mean")
    fresh.copy_(tensor.mean(0, /*keepdim=*/true).expand_as(fresh));
  else if (deviation > 0)
    fresh.normal_(0, deviation, generator);
  return torch::cat({tensor, fresh});
}

void edit(const ResizeVocabularyOptions& options, uint64_t seed, nn::ModelState& state) {
  nn::ModelConfig& config = state.config;
  const int64_t old = config.vocab_size;
  if (options.size == old)
    throw Error(ErrorKind::recipe, str("the vocabulary has ", old, " tokens already"), {},
                "remove resize_vocabulary, or give another size");
  std::vector<int64_t> used = config.eos_token_ids;
  for (int64_t id : {config.pad_token_id, config.bos_token_id, config.decoder_start_token_id,
                     config.forced_bos_token_id})
    used.push_back(id);
  for (int64_t id : used)
    if (id >= options.size)
      throw Error(ErrorKind::recipe,
                  str("a vocabulary of ", options.size, " tokens has no token ", id,
                      ", which config.json gives a role"),
                  {}, "keep more tokens");
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(
      stream_seed(options.seed ? static_cast<uint64_t>(*options.seed) : seed, "vocabulary"));
  std::set<std::string> done;
  for (const Sized& tensor : sized_tensors(config)) {
    const bool rows = tensor.rows == Axis::vocabulary;
    auto found = state.tensors.find(tensor.name);
    if ((!rows && tensor.columns != Axis::vocabulary) || found == state.tensors.end() ||
        !done.insert(tensor.name).second)
      continue;
    torch::Tensor value = rows ? found->second : found->second.t();
    if (value.size(0) != old)
      throw Error(ErrorKind::model, str(tensor.name, " has ", value.size(0),
                                        " tokens, and config.json "
                                        "says ",
                                        old));
    // A bias: zero for new tokens, as for a new layer.
    const bool bias = !rows || value.dim() == 1;
    value = with_rows(value, options, bias ? 0 : config.initializer_range, generator);
    found->second = rows ? value : value.t().contiguous();
  }
  config.vocab_size = options.size;
  state.history.push_back(str("resize_vocabulary: ", old, " tokens to ", options.size));
}

void resize_vocabulary(const recipe::Component& component, nn::ModelState& state,
                       Workshop& workshop) {
  torch::NoGradGuard no_grad;
  with_place(component.mark.text(), [&] {
    edit(component.as<ResizeVocabularyOptions>(), workshop.seed(component), state);
  });
}

}  // namespace

void add_resize_vocabulary(EditRegistry& registry) {
  registry.add(
      recipe::describe<ResizeVocabularyOptions>(
          "surgery", "resize_vocabulary", "gives the model more tokens, or cuts the last ones off",
          "E'[v] = E[v] for v < min(V, V');  new rows: N(0, s^2), s the model's "
          "initializer_range,\n"
          "or (1 / V) sum over v of E[v];  likewise the rows of an output layer that is not tied",
          "Hewitt 2021, \"Initializing new word embeddings for pretrained language models\" "
          "(the mean)",
          "Ids keep their tokens. New entries of an output layer's bias are 0, or the mean of the "
          "old ones with `rows: mean`. The tokenizer is not changed."),
      resize_vocabulary, {.new_vocabulary = true, .without_layers = true});
}

}  // namespace compress::surgery
