// Tensors of GGUF files as the weights of a model.

#include <algorithm>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/nn/architecture.h"
#include "compress/storage/tensor.h"
#include "gguf.h"

namespace compress::checkpoint {

namespace {

using storage::GgufReader;
using storage::GgufTensor;

// A name in GGUF files, and the family's module for it (empty: the family has none).
struct Module {
  const char* gguf;
  std::string name;
};

std::vector<Module> layer_modules(const nn::Architecture& plan, const nn::Stack& stack) {
  const std::string &attention = stack.self.norm, &feed_forward = stack.feed_forward.norm;
  return {{"attn_q", stack.self.query},
          {"attn_k", stack.self.key},
          {"attn_v", stack.self.value},
          {"attn_qkv", stack.self.joined},
          {"attn_output", stack.self.output},
          {"attn_q_norm", stack.self.query_norm},
          {"attn_k_norm", stack.self.key_norm},
          {plan.pre_norm ? "attn_norm" : "attn_output_norm", attention},
          {"ffn_gate", stack.feed_forward.gate},
          {"ffn_up", stack.feed_forward.in},
          {"ffn_down", stack.feed_forward.out},
          {plan.pre_norm ? "ffn_norm" : "layer_output_norm", feed_forward}};
}

std::vector<Module> other_modules(const nn::Architecture& plan, const nn::Stack& stack) {
  return {{"token_embd", stack.word},        {"position_embd", stack.position},
          {"token_types", stack.segment},    {"token_embd_norm", stack.embedding_norm},
          {"output_norm", stack.final_norm}, {"output", plan.head.out}};
}

const Module* find(const std::vector<Module>& modules, std::string_view name) {
  for (const Module& module : modules)
    if (name == module.gguf) return &module;
  return nullptr;
}

// What a file may hold beside weights: rotary frequencies, which follow from the metadata.
bool is_buffer(std::string_view name) {
  return name == "rope_freqs.weight" || ends_with(name, ".attn_rot_embd") ||
         ends_with(name, ".attn_rot_embd.weight");
}

class Names {
 public:
  Names(const GgufReader& reader, const nn::ModelConfig& config)
      : reader_(reader),
        config_(config),
        plan_(nn::architecture(config)),
        stack_(plan_.decoder.layers > 0 ? plan_.decoder : plan_.encoder),
        in_layer_(layer_modules(plan_, stack_)),
        outside_(other_modules(plan_, stack_)),
        paired_(reader.text("general.architecture") == "llama") {}

  GgufWeights run() {
    for (const GgufTensor& tensor : reader_.tensors())
      if (!is_buffer(tensor.name) && !add(tensor))
        found_.problems.push_back(storage::shown_name(tensor.name) + " is unexpected");
    add_segments();
    return std::move(found_);
  }

 private:
  bool add(const GgufTensor& tensor) {
    const std::string_view name = tensor.name;
    const size_t dot = name.rfind('.');
    if (dot == std::string_view::npos) return false;
    const std::string suffix(name.substr(dot));
    std::string_view module = name.substr(0, dot);
    if (suffix != ".weight" && suffix != ".bias") return false;
    if (!starts_with(module, "blk.")) {
      const Module* known = find(outside_, module);
      if (known == nullptr || known->name.empty()) return false;
      put(known->name + suffix, {&tensor, 0, tensor.shape});
      return true;
    }
    module.remove_prefix(4);
    const size_t end = module.find('.');
    if (end == std::string_view::npos || end == 0 ||
        module.substr(0, end).find_first_not_of("0123456789") != std::string_view::npos)
      return false;
    const std::string layer = str(stack_.layer_prefix, module.substr(0, end), ".");
    const Module* known = find(in_layer_, module.substr(end + 1));
    if (known == nullptr) return false;
    return add_in_layer(tensor, *known, layer, suffix);
  }

  bool add_in_layer(const GgufTensor& tensor, const Module& module, const std::string& layer,
                    const std::string& suffix) {
    const std::string_view kind = module.gguf;
    if (kind == "attn_qkv" && module.name.empty() && !stack_.self.query.empty())
      return add_joined(tensor, layer, suffix);
    if (module.name.empty()) return false;
    GgufPart part{&tensor, 0, tensor.shape};
    if (paired_ && kind == "attn_q") part.paired_heads = config_.attention_heads;
    if (paired_ && kind == "attn_k") part.paired_heads = config_.kv_heads;
    if (part.paired_heads > 0 &&
        (tensor.shape.empty() || tensor.shape[0] % (2 * part.paired_heads) != 0)) {
      found_.problems.push_back(str(storage::shown_name(tensor.name), " does not divide by ",
                                    part.paired_heads, " heads"));
      return true;
    }
    put(layer + module.name + suffix, std::move(part));
    return true;
  }

  // Query, key and value in one tensor, of a family that has three.
  bool add_joined(const GgufTensor& tensor, const std::string& layer, const std::string& suffix) {
    if (tensor.shape.empty() || tensor.shape[0] % 3 != 0) return false;
    std::vector<int64_t> shape = tensor.shape;
    shape[0] /= 3;
    int64_t first = 0;
    for (const std::string& module : {stack_.self.query, stack_.self.key, stack_.self.value}) {
      put(layer + module + suffix, {&tensor, first, shape});
      first += shape[0];
    }
    return true;
  }

  // Models without segments: adding zeros is the same.
  void add_segments() {
    const std::string name = stack_.segment + ".weight";
    auto words = found_.parts.find(stack_.word + ".weight");
    if (stack_.segment.empty() || found_.parts.contains(name) || words == found_.parts.end() ||
        words->second.shape.size() != 2)
      return;
    put(name, {nullptr, 0, {config_.type_vocab_size, words->second.shape[1]}});
  }

  void put(const std::string& name, GgufPart part) {
    if (!found_.parts.try_emplace(name, std::move(part)).second)
      found_.problems.push_back(storage::shown_name(name) + " is there twice");
  }

  const GgufReader& reader_;
  const nn::ModelConfig& config_;
  nn::Architecture plan_;
  const nn::Stack& stack_;
  std::vector<Module> in_layer_, outside_;
  bool paired_;  // converters to this architecture reorder the rows of query and key
  GgufWeights found_;
};

}  // namespace

torch::Tensor GgufPart::read() const {
  torch::Tensor out = torch::zeros(shape);
  if (tensor == nullptr || out.numel() == 0) return out;
  const std::span<float> to(out.mutable_data_ptr<float>(), static_cast<size_t>(out.numel()));
  if (tensor->shape.size() < 2 && tensor->shape != shape) {
    torch::Tensor all = torch::empty(tensor->shape);
    storage::dequantize(*tensor, {all.mutable_data_ptr<float>(), static_cast<size_t>(all.numel())});
    out.copy_(all.narrow(0, first_row, shape[0]));
  } else {
    storage::dequantize(*tensor, to, static_cast<uint64_t>(first_row));
  }
  if (paired_heads == 0) return out;
  std::vector<int64_t> pairs = {paired_heads, shape[0] / paired_heads / 2, 2};
  pairs.insert(pairs.end(), shape.begin() + 1, shape.end());
  return out.view(pairs).transpose(1, 2).reshape(shape).contiguous();
}

GgufWeights gguf_weights(const GgufReader& reader, const nn::ModelConfig& config) {
  return Names(reader, config).run();
}

}  // namespace compress::checkpoint
