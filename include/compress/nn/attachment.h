#pragma once
// What is attached to a finished model: small modules beside its layers, with parameters of their
// own in the model's table ("attachments.NAME. ..." with the role `attachment`). A model lists them
// in ModelConfig::attachments, from where build() makes them again.

#include <string>
#include <vector>

#include "compress/nn/model.h"
#include "compress/nn/plugs.h"

namespace compress::nn {

// Every kind draws its first weights as a function of the seed of build() and of a tensor's name.

// A bottleneck on sub-layers' outputs, before dropout and residual: x + up(activation(down(x)))
// (Houlsby et al. 2019, arXiv 1902.00751). The up-projection begins at zero, so that the model
// computes what it did.
struct AdapterOptions {
  static constexpr const char* kind = "adapter";
  int64_t size = 64;                                               // of the bottleneck
  std::vector<std::string> after = {"attention", "feed_forward"};  // and cross_attention
  std::string activation = "gelu";
};

// A product of two thin matrices beside a weight: y + alpha / rank * up(down(dropout(x)))
// (Hu et al. 2021, arXiv 2106.09685, section 4.1). `up` begins at zero, `down` as a linear layer
// does: uniform within 1 / sqrt(in).
struct LoraOptions {
  static constexpr const char* kind = "lora";
  int64_t rank = 8;
  double alpha = 16;
  double dropout = 0;
  std::vector<std::string> targets = {"query", "value"};  // selectors of matrices inside layers
};

// Trained keys and values in front of those of a row (Li and Liang 2021, arXiv 2101.00190). With
// `hidden` > 0 they are what a network makes of a table of `length` vectors (its section 4.3):
// out(tanh(in(table))), one network for each kind of attention.
struct PrefixOptions {
  static constexpr const char* kind = "prefix";
  int64_t length = 20;
  int64_t hidden = 0;
  std::vector<std::string> of = {"encoder", "decoder", "cross_attention"};  // what the model has
};

// An adapter whose two matrices are sums of Kronecker products (Mahabadi et al. 2021, arXiv
// 2106.04647): W = sum_i A_i (x) (s_i t_i) in y = x W + b, i < n, A_i [n, n] one set for all
// projections, s_i [in / n, rank] and t_i [rank, out / n] of each.
struct PhmAdapterOptions {
  static constexpr const char* kind = "phm_adapter";
  int64_t n = 4, reduction = 32, rank = 1;
  std::vector<std::string> after = {"attention", "feed_forward"};
  std::string activation = "gelu_new";
};

// Specs of a kind's options: what config.json holds.
AttachmentSpec spec_of(const std::string& name, const AdapterOptions& options);
AttachmentSpec spec_of(const std::string& name, const LoraOptions& options);
AttachmentSpec spec_of(const std::string& name, const PrefixOptions& options);
AttachmentSpec spec_of(const std::string& name, const PhmAdapterOptions& options);

// Adds one to a state: its tensors are drawn by build(). Error{recipe} without a place where the
// name is taken or the options do not fit the model.
void attach(ModelState& state, AttachmentSpec spec);
// Takes one out and leaves its effect in the model's weights. Error{recipe} without a place where
// that cannot be: what is no linear function of a layer's input has no place in its weight.
void merge(ModelState& state, const std::string& name);

// As config.json lists them under "compress": {"attachments": [...]}.
Json attachments_json(const std::vector<AttachmentSpec>& list);
// The reverse; Error{model} for what no build() could follow.
std::vector<AttachmentSpec> read_attachments(const Json& json);

}  // namespace compress::nn
