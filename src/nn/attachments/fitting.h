#pragma once
// How attachments are fitted into a model that is being built.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "compress/nn/architecture.h"
#include "compress/nn/attachment.h"
#include "compress/nn/layers.h"

namespace compress::nn {

// A sub-layer of the model.
struct Site {
  Place place;
  std::string name;   // "encoder.layer.0.attention"
  int64_t pairs = 0;  // width of its keys: heads of keys * head width; 0 for feed-forward units
  bool decoder = false;
};

class Fitting {
 public:
  using Draw = std::function<void(torch::Tensor&, at::Generator&)>;

  // `state` holds the tensors that are known; the others are drawn. All but the last outlive it.
  Fitting(const ModelState& state, const ModelConfig& config, ParamTable& params, uint64_t seed);

  const ModelConfig& config() const { return config_; }
  const std::vector<Site>& sites() const { return sites_; }
  // Those of the kinds that `names` lists, in words of config.json ("attention", "feed_forward",
  // "cross_attention"). Error{model} for another word, or where the model has none of them.
  std::vector<Site> sites_of(const std::vector<std::string>& names) const;
  ParamTable& params() { return params_; }

  // Whose parameters are taken from now on.
  void begin(const AttachmentSpec& spec) { spec_ = &spec; }
  // "attachments.NAME.<name>": the state's, or drawn. `draw` is given zeros; null leaves them.
  // Error{model} for another shape.
  Parameter* take(const std::string& name, int64_t layer, std::vector<int64_t> shape,
                  const Draw& draw = nullptr);
  // `name`.weight and .bias, the bias zero at first.
  Linear linear(const std::string& name, int64_t layer, int64_t out, int64_t in, const Draw& draw);

 private:
  void add_sites(const Stack& stack, int64_t first, bool decoder);

  const ModelState& state_;
  const ModelConfig& config_;
  ParamTable& params_;
  uint64_t seed_;
  bool shapes_only_;
  std::vector<Site> sites_;
  const AttachmentSpec* spec_ = nullptr;
};

inline constexpr const char* attachments_prefix = "attachments.";

// The kinds, each in its own file. `make` gives what is plugged into the model: Error{model} where
// options and model do not fit.
struct AttachmentKind {
  const char* name;
  std::unique_ptr<Plugs> (*make)(const AttachmentSpec& spec, Fitting& fitting);
  // Adds its effect to the state's weights; null where there is none that would do.
  void (*merge)(ModelState& state, const AttachmentSpec& spec);
  const char* unmergeable;  // why, as a sentence's end
};
AttachmentKind adapter_kind();
AttachmentKind lora_kind();
AttachmentKind prefix_kind();
AttachmentKind phm_adapter_kind();

// Makes all that the configuration lists.
std::vector<std::unique_ptr<Plugs>> fit_attachments(const ModelState& state,
                                                    const ModelConfig& config, ParamTable& params,
                                                    uint64_t seed);

// The option `key`, `fallback` where it is missing. Error{model} outside of low .. high.
int64_t whole_option(const AttachmentSpec& spec, const char* key, int64_t fallback, int64_t low,
                     int64_t high);
double real_option(const AttachmentSpec& spec, const char* key, double fallback, double low,
                   double high);
std::vector<std::string> list_option(const AttachmentSpec& spec, const char* key,
                                     std::vector<std::string> fallback);
// The name of an activation.
std::string activation_option(const AttachmentSpec& spec, std::string fallback);

}  // namespace compress::nn
