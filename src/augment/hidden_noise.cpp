// Noise on hidden states while a model is trained (HyPe).

#include <algorithm>
#include <cmath>
#include <optional>

#include "components.h"
#include "compress/augment/augment.h"
#include "compress/base/error.h"
#include "compress/base/random.h"
#include "compress/base/strings.h"
#include "compress/nn/architecture.h"
#include "compress/nn/plugs.h"

namespace compress::augment {

namespace {

using torch::Tensor;

struct HiddenNoiseOptions {
  std::string law = "normal";
  double sigma = 1e-5;
  std::string where = "between";
  int64_t first_layer = 0;
  std::optional<int64_t> last_layer;
  bool dropout = false;

  static const recipe::Options<HiddenNoiseOptions>& options() {
    using N = HiddenNoiseOptions;
    static const auto description =
        recipe::Options<N>("hidden_noise")
            .field("law", &N::law,
                   "normal: N(0, sigma^2); uniform: U(-sigma, sigma); uniform_01: sigma * U(0, 1), "
                   "one-sided, as the authors' code has it")
            .one_of({"normal", "uniform", "uniform_01"})
            .field("sigma", &N::sigma,
                   "size of the noise; 0: none, so that only dropout on hidden states goes")
            .at_least(0)
            .field("where", &N::where,
                   "between: on what each layer reads; within: between a layer's attention and its "
                   "feed-forward unit; or both")
            .one_of({"between", "within", "both"})
            .field("first_layer", &N::first_layer,
                   "first layer with noise, counted from 0 through the encoder, then the decoder")
            .at_least(0)
            .field("last_layer", &N::last_layer, "last layer with noise; default: the model's last")
            .at_least(0)
            .field("dropout", &N::dropout,
                   "dropout on hidden states (embeddings and sub-layers' outputs) acts as well; "
                   "that of attention weights and of the head always does")
            .check([](const N& o, const recipe::Mark& mark, recipe::Problems& problems) {
              if (o.last_layer && *o.last_layer < o.first_layer)
                problems.add(mark, "last_layer is before first_layer");
            })
            .shorthand("sigma");
    return description;
  }
};

// Rows and texts stay as they are: the noise comes in through the layers.
class HiddenNoise final : public Augment, public nn::Plugs {
 public:
  explicit HiddenNoise(const HiddenNoiseOptions& options) : options_(options) {}

  void bind(const roles::Scene& scene) override {
    if (scene.weights.list().empty()) return;  // the model's layers are not known yet
    const nn::Architecture plan = nn::architecture(scene.student);
    const int64_t layers = plan.encoder.layers + plan.decoder.layers;
    last_ = options_.last_layer.value_or(layers - 1);
    if (options_.first_layer >= layers || last_ >= layers)
      throw Error(ErrorKind::recipe,
                  str("hidden_noise names layer ", std::max(options_.first_layer, last_),
                      " of a model whose last layer is ", layers - 1));
    check_precision(scene.precision);
  }
  nn::Plugs* plugs() override { return this; }
  bool fixed() const override { return true; }

  Tensor before_layer(const Tensor& x, int64_t layer, const nn::RowInfo& rows) override {
    return options_.where == "within" ? x : noisy(x, layer, "between", rows);
  }
  Tensor before_feed_forward(const Tensor& x, int64_t layer, const nn::RowInfo& rows) override {
    return options_.where == "between" ? x : noisy(x, layer, "within", rows);
  }
  bool drops_hidden() const override { return options_.dropout; }

 private:
  // States have elements of about 1: noise that is less than half the distance of numbers there is
  // rounded away, or to a whole such distance.
  void check_precision(nn::Precision precision) const {
    const int bits = precision == nn::Precision::float32 ? 23
                     : precision == nn::Precision::fp16  ? 10
                                                         : 7;
    const double spacing = std::exp2(-bits);
    if (options_.sigma == 0 || options_.sigma >= spacing / 2) return;
    throw Error(ErrorKind::recipe,
                str("hidden_noise has sigma ", shortest(options_.sigma),
                    ", but numbers near 1 are ", shortest(spacing), " apart in ",
                    nn::precision_name(precision), ": the noise would be lost"),
                {}, "set precision: float32 for this stage, or a larger sigma");
  }

  Tensor noisy(const Tensor& x, int64_t layer, const char* where, const nn::RowInfo& rows) const {
    if (!rows.training || options_.sigma == 0) return x;
    if (layer < options_.first_layer || layer > last_) return x;
    const uint64_t seed =
        stream_seed(rows.seed, std::string("noise/") + where, static_cast<uint64_t>(layer));
    const bool normal = options_.law == "normal";
    Tensor drawn = nn::noise(x, normal ? nn::Law::normal : nn::Law::uniform, seed, rows.first);
    if (options_.law == "uniform") drawn = drawn * 2 - 1;
    return at::add(x, drawn, options_.sigma);
  }

  HiddenNoiseOptions options_;
  int64_t last_ = 0;
};

}  // namespace

recipe::ComponentInfo hidden_noise_info() {
  return recipe::describe<HiddenNoiseOptions>(
      "augment", "hidden_noise", "adds noise to hidden states while training",
      "h_i <- h_i + e_i,  h_{i+1} = layer_i(h_i);  e_i ~ N(0, sigma^2) or U(-sigma, sigma)",
      "Yuan et al. 2023 (HyPe), arXiv 2212.08853, algorithm 1",
      "Drawn anew for each element, layer and update, in training passes alone; no gradient flows "
      "into it. The embeddings' output is the first that gets noise, the last layer's output gets "
      "none. `sigma` must be at least half the distance of the precision's numbers at 1, which is "
      "0.008 in bf16. A pass that is repeated on the same rows has the same noise.");
}

std::unique_ptr<Augment> make_hidden_noise(const recipe::Component& component) {
  return std::make_unique<HiddenNoise>(component.as<HiddenNoiseOptions>());
}

}  // namespace compress::augment
