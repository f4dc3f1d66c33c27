#pragma once
// Role `constraint`: which weights are allowed. Pruning masks and fake quantisation.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "compress/base/progress.h"
#include "compress/nn/model.h"
#include "compress/recipe/options.h"
#include "compress/roles/part.h"

namespace compress::constraint {

// A tensor that a constraint holds, for `compress plan` and the run's report.
struct Match {
  std::string tensor;
  std::vector<int64_t> shape;
  int64_t count = 0;  // weights held
  std::string what;   // "pruned to 80% (global)", "int8 per channel, activations per token"
};

using roles::Moments;

// A bound constraint lives as long as its model is used: parameters point to its transforms.
//
// bind() selects its tensors (a selector that matches nothing is an Error{recipe} naming near ones)
// and hooks transforms into the parameters. before_update() makes new masks or scales where the
// schedule asks for them, after_update() puts weights back where a constraint wants them.
class Constraint : public roles::Part {
 public:
  virtual std::vector<Match> matches() const = 0;
  // The pattern of zeros no longer changes once this many updates are done (0: fixed from the
  // start).
  virtual int64_t pattern_fixed_from() const { return 0; }
  // It holds zeros that the model has when the stage begins: one without any is no use. Told by
  // plans, whose weights have no values. All constraints may leave zeros.
  virtual bool needs_zeros() const { return false; }
  // Makes the constraint part of the latent weights (masked entries exactly 0), for saving a
  // stage's model.
  virtual void finish() {}
  // What the exporter must know; null unless the constraint quantises by now:
  //   {"num_bits": 8,
  //    "weights": {"strategy": "channel" | "tensor"} | null,
  //    "activations": {"strategy": "token", "dynamic": true} | {"strategy": "tensor", "dynamic":
  //    false} | null, "modules": ["encoder.layer.0.attention.self.query", ...],   tensor names
  //    without ".weight" "input_scales": {module: scale},                             static
  //    activations only
  //    "embeddings": {"num_bits": 8, "strategy": "channel", "tables": ["embeddings.word_embeddings"
  //    ...]} | {"num_bits": 4, "strategy": "group", "group_size": 64, "tables": ...}}  not there
  //    where tables stay as they are
  // Affine activations have "symmetric": false among "activations" and "input_zeros": {module: the
  // uint8 that stands for 0}; weights that were rounded by a range that only widens "weight_scales"
  // {module: scale}; requantised outputs "output_scales" and "output_zeros" of the modules that
  // have them.
  // Error{recipe} when a static input or output was never observed.
  virtual nn::Json export_scheme() const { return nullptr; }
  // One line on what holds now ("sparsity 80.00% of 5,308,416").
  virtual std::string report() const = 0;
};

using Maker = std::function<std::unique_ptr<Constraint>(const recipe::Component&)>;
const recipe::RegistryOf<Maker>& pruning();  // recipe key `pruning`: magnitude, keep_pattern
std::unique_ptr<Constraint> make_pruning(const recipe::Component& component);

// Recipe key `quantization`: integer quantisation-aware training in the arithmetic of
// compressed-tensors.
struct QuantizationOptions {
  std::string weights = "int8";                // int8 | none
  std::string weight_granularity = "channel";  // channel | tensor
  std::string weight_range = "current";        // current | widening
  std::string activations = "int8";            // int8 | uint8 (affine, static) | none
  std::string activation_scale =
      "dynamic";            // dynamic (per token) | static (per tensor, moving min-max)
  double averaging = 0.01;  // static: weight of a new batch in the moving minimum and maximum
  Duration start = Duration::percent(0);               // fake quantisation begins
  Duration freeze_observers = Duration::percent(100);  // static scales no longer move
  std::string embeddings = "none";  // int8 (a scale a row) | int4 (a scale a group) | none
  int64_t embedding_group = 64;     // values of a row with one scale, int4
  std::vector<std::string> targets = {"encoder"};
  std::vector<std::string> exclude;  // globs over tensor names
  std::string outputs = "none";      // what the targets say: uint8 (affine, static) | none
  std::vector<std::string> whole_outputs = {"value", "attention_output", "ffn_out", "head"};
  recipe::Mark mark;  // where the recipe says so
  static const recipe::Options<QuantizationOptions>& options();
};
std::unique_ptr<Constraint> make_quantization(const QuantizationOptions& options);
// The quantization of a finished model, in force as soon as it is bound: what export_scheme() gave.
// With "weights" null only activations are quantised (weights that were read back as int8 times
// scale must not be quantised again). The scheme may come from a file: anything unfit is an
// Error{model} naming `where`, at once or in bind().
std::unique_ptr<Constraint> from_scheme(const nn::Json& scheme, const std::string& where);
// The one entry of the recipe key `quantization`, for `compress explain` and the docs.
const recipe::Registry& quantization();

}  // namespace compress::constraint
