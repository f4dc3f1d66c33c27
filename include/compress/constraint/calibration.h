#pragma once
// Post-training quantisation: int8 scales and weights of a finished model, from rows that it reads.
// Nothing is trained. What comes out is what quantisation-aware training leaves: latent weights and
// a scheme of the same arithmetic (quantize.h), for the same exports.

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "compress/constraint/quantize.h"
#include "compress/nn/model.h"
#include "compress/recipe/options.h"

namespace compress::constraint {

struct CalibrationOptions {
  std::string weights = "int8";                // int8 | none
  std::string weight_granularity = "channel";  // channel | tensor
  std::string weight_range = "max";            // max | mse
  std::string rounding = "nearest";            // nearest | gptq
  std::string activations = "int8";            // int8 | none
  std::string activation_scale = "static";     // static (per tensor) | dynamic (per token)
  std::string activation_range = "mse";        // min_max | percentile | mse; static alone
  double percentile = 99.99;                   // of the magnitudes of an input
  std::string embeddings = "none";  // int8 (a scale a row) | int4 (a scale a group) | none
  int64_t embedding_group = 64;     // values of a row with one scale, int4
  std::vector<std::string> targets = {"encoder"};
  std::vector<std::string> exclude;  // globs over tensor names
  recipe::Mark mark;
  static const recipe::Options<CalibrationOptions>& options();
};

// The largest magnitude that an input's scale has room for, from how often each was seen:
// `counts` [bins] float64 over bins of equal width between 0 and `most`. percentile: the upper end
// of the first bin up to which that many percent lie. mse: of `most` k / 128, k = 1 .. 128, the one
// whose int8 values are nearest to the magnitudes, each taken for its bin's middle.
double percentile_range(const torch::Tensor& counts, double most, double percent);
double mse_range(const torch::Tensor& counts, double most);

// Clips each row of a float32 weight [out, in] (all of it for `tensor`) in place, to that share of
// its largest magnitude, of 1, 0.99, ... 0.5, after which its int8 values are nearest to it in mean
// square. 1 where none is nearer.
void clip_to_mse(torch::Tensor& weight, Granularity granularity);

// GPTQ (Frantar et al. 2022, arXiv 2210.17323, algorithm 1, columns in their order, 1% damping):
// rounds a float32 weight [out, in] in place to the int8 grid of quantize_weight(weight), column by
// column; each column's error is made good by those behind it, by the second moments of the layer's
// inputs, `moments` [in, in] = sum x x^T. Zeros stay zeros (SparseGPT's mask, arXiv 2301.00774),
// and the largest magnitude of a row (of the tensor) stays, so that quantize_weight() of the result
// has the same scales and loses nothing.
void round_by_moments(torch::Tensor& weight, const torch::Tensor& moments, Granularity granularity);

class Calibration {
 public:
  // Selects layers and tables. Error{recipe} as a quantisation's.
  Calibration(const CalibrationOptions& options, nn::Model& model);
  ~Calibration();
  Calibration(const Calibration&) = delete;
  Calibration& operator=(const Calibration&) = delete;

  // How often rows are read; 0 where weights alone decide.
  int passes() const;
  // Calls `read` passes() times, which is to run the same rows through the model each time, in
  // evaluation mode, in float32, without packed weights. Then changes the latent weights where the
  // options say so, and returns the scheme (constraint.h). Error{recipe} for a layer that read
  // nothing, Error{diverged} for one that read what is not finite.
  nn::Json run(const std::function<void()>& read);
  // "int8 per channel, activations per tensor (static)": what holds, for the plan and the notes.
  std::string report() const;
  int64_t layers() const { return static_cast<int64_t>(parameters_.size()); }
  // Bytes of the second moments of inputs, which gptq keeps.
  int64_t moment_bytes() const;

 private:
  class Watch;
  bool static_inputs() const;
  void watch();
  void unwatch();
  void change_weights();

  const CalibrationOptions options_;
  std::vector<nn::Parameter*> parameters_, tables_;
  std::vector<std::unique_ptr<Watch>> watches_;
  std::map<const nn::Parameter*, Watch*> watched_;
};

}  // namespace compress::constraint
