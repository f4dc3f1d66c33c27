#pragma once
// Writers of finished models. Each re-reads what it wrote and compares it on real sentences.

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "compress/constraint/constraint.h"
#include "compress/data/dataset.h"
#include "compress/eval/evaluate.h"
#include "compress/nn/model.h"

namespace compress::exports {

// A model as it is used: weights, and the quantization that acts on weights and activations when it
// has one.
struct LoadedModel {
  std::unique_ptr<nn::Model> model;
  std::unique_ptr<constraint::Constraint>
      quantization;  // bound to `model` and in force; null when nothing is to be done
  nn::Json scheme;   // as constraint::Constraint::export_scheme() has it, null when not quantised
  // Scales of the weights that were read back as int8 times scale, by the weight's name. Such
  // weights are not quantised again (`quantization` acts on activations alone).
  nn::TensorMap weight_scales;
};

// Loads any folder that this program or Hugging Face wrote: a stage's model (with its
// quantization.json), a dense export, or a compressed-tensors int-quantized export (weights
// dequantised, activations quantised on the fly). Error{model}.
LoadedModel load(const std::filesystem::path& folder);
// The same for a model in memory: binds the quantization that `scheme` describes. `scheme` null:
// none.
LoadedModel with_scheme(std::unique_ptr<nn::Model> model, const nn::Json& scheme);
// Writes a stage's model: a Hugging Face folder with the latent weights, and quantization.json when
// there is a scheme. Files are replaced one by one; the caller makes the folder appear at once
// where that matters.
void save_stage_model(const nn::Model& model, const nn::Json& scheme,
                      const std::filesystem::path& folder,
                      const std::filesystem::path& tokenizer_source);

// Bytes of a model's float32 weights that an export does without, before its coding.
struct Savings {
  int64_t zeros = 0;   // that cost a bit each
  int64_t layers = 0;  // integers of layers' matrices
  int64_t tables = 0;  // of embeddings
  int64_t rest = 0;    // a narrower type of all others
};

struct Report {
  std::string format;
  std::filesystem::path folder;
  int64_t bytes = 0;             // of all files
  int64_t weight_bytes = 0;      // of the weight files alone
  int64_t zstd_bytes = 0;        // of the same under zstd; 0: not measured
  std::string rest = "float32";  // type of tensors that are no integers
  Savings savings;
  double largest_difference = 0;  // of logits, ours against the re-read folder
  double scale = 0;               // largest |logit| of ours
  int64_t rows = 0;               // rows compared
  Metric ours, reread;  // the first metric on these rows; empty names when there was no data
};

std::vector<std::string> formats();  // huggingface, compressed-tensors, packed, delta, onnx

// How a model will be quantised, where it is not there yet.
struct Quantised {
  bool weights = false, activations = false, embeddings = false;
  bool affine = false, outputs = false;  // uint8 inputs; requantised outputs
};
// What a scheme (null: none) quantises.
Quantised quantised_in(const nn::Json& scheme);
// How it quantises embeddings, in words: "int8", "int4 in groups of 64", or nothing.
std::string embeddings_text(const nn::Json& scheme);
// Types of tensors that are no integers: float32, bf16, float16.
std::vector<std::string> rest_names();
torch::ScalarType rest_type(const std::string& name);  // of one of these
std::string rest_text(torch::ScalarType type);         // and back
// Error{recipe} without a place where `format` cannot hold a model of that kind.
void check_format(const std::string& format, Quantised quantised);
// The same where it cannot hold a model of that configuration.
void check_model(const std::string& format, const nn::ModelConfig& config);
// Whether `format` needs a base: a model folder that the reader has already.
bool needs_base(const std::string& format);

// Writes `source` (as loaded by load(), so with its quantization in force) in `format` into
// `folder`, re-reads it and compares: every weight to the bit, and on the first 256 rows of `check`
// (may be null: weights only) the outputs and, where the split's task is the model's, the metric.
// The folder appears only when the comparison held: outputs to `tolerance` times their scale,
// Error{internal} naming the difference otherwise. Tokenizer files come from `source_folder`.
// `provenance` is written as compress_run.json unless it is null. huggingface: dense float32 with
// exact zeros; a quantised model's weights as their int8 values times scale. The layout has no
// place for quantised activations, so that `ours` is then measured without their quantisation.
// compressed-tensors: `int-quantized` as in compressed-tensors 0.20 (I8 weights, [out, 1] or [1]
// scales); needs a model with int8 weights and activations, Error{recipe} otherwise (readers take
// int8 weights alone for another format). delta: what differs from the model in the folder `base`
// (checkpoint/delta.h), without tokenizer files where the base's say the same.
// packed: one weight file that storage/packed.h describes, of the layout of compressed-tensors
// where the model is quantised and else of huggingface's. onnx: model.onnx, a graph of operator set
// 17 with the names of Hugging Face's exporters, of encoders (check_model()); where it rounds what
// products read, outputs are compared without that rounding and the metric with it (`ours` and
// `reread` are what the model and the graph reach). Rounded embeddings are float32 in it.
//
// Tensors that are no integers (times scale) are rounded to `rest`, float32 being no rounding; the
// comparison is with the model of the rounded tensors. Error{recipe} where a value does not fit
// float16, and for formats that hold them as they are (delta, onnx).
Report write(const std::string& format, LoadedModel& source,
             const std::filesystem::path& source_folder, const std::filesystem::path& folder,
             const data::Split* check, const nn::Json& provenance, double tolerance = 1e-4,
             const std::filesystem::path& base = {}, torch::ScalarType rest = torch::kFloat32);

}  // namespace compress::exports
