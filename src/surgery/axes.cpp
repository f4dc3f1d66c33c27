#include "axes.h"

#include "compress/base/strings.h"

namespace compress::surgery {

namespace {

class Lister {
 public:
  explicit Lister(const nn::ModelConfig& config)
      : config_(config), plan_(nn::architecture(config)) {}

  std::vector<Sized> run() {
    if (plan_.encoder.layers > 0 || plan_.decoder.layers == 0) add_stack(plan_.encoder, false);
    if (plan_.decoder.layers > 0) add_stack(plan_.decoder, true);
    add_head(plan_.head, config_.head, "");
    if (config_.projection > 0) linear("projection", "dense", Axis::none, Axis::hidden);
    for (const nn::HeadSpec& head : config_.more_heads) add_further(head);
    return std::move(list_);
  }

 private:
  // A matrix and its bias, or one of them; both are listed, whoever looks takes what is there.
  void linear(const std::string& module, const std::string& role, Axis rows, Axis columns) {
    if (module.empty()) return;
    put(module + ".weight", role + ".weight", rows, columns);
    put(module + ".bias", role + ".bias", rows, Axis::none);
  }
  void norm(const std::string& module, const std::string& role, Axis rows) {
    linear(module, role, rows, Axis::none);
  }
  void table(const std::string& module, const std::string& role, Axis rows, Axis columns) {
    if (!module.empty()) put(module + ".weight", role + ".weight", rows, columns);
  }
  void put(const std::string& name, const std::string& role, Axis rows, Axis columns) {
    list_.push_back({prefix_ + name, kind_ + role, rows, columns, decoder_, layer_});
  }

  void add_stack(const nn::Stack& stack, bool decoder) {
    decoder_ = decoder;
    layer_ = -1;
    prefix_.clear();
    table(stack.word, "word", Axis::vocabulary, Axis::embedding);
    table(stack.position, "position", Axis::positions, Axis::embedding);
    table(stack.segment, "segment", Axis::none, Axis::embedding);
    norm(stack.embedding_norm, "embedding_norm", Axis::embedding);
    linear(stack.projection, "projection", Axis::hidden, Axis::embedding);
    norm(stack.final_norm, "final_norm", Axis::hidden);
    table(stack.relative_bias, "relative_bias", Axis::none, Axis::heads);
    add_layers(stack);
  }

  void add_layers(const nn::Stack& stack) {
    for (layer_ = 0; layer_ < stack.layers; ++layer_) {
      prefix_ = str(stack.layer_prefix, layer_, ".");
      add_attention(stack.self, "self.");
      if (stack.cross) add_attention(stack.across, "across.");
      linear(stack.feed_forward.gate, "inner.gate", Axis::inner, Axis::hidden);
      linear(stack.feed_forward.in, "inner.in", Axis::inner, Axis::hidden);
      linear(stack.feed_forward.out, "inner.out", Axis::hidden, Axis::inner);
      norm(stack.feed_forward.norm, "inner.norm", Axis::hidden);
    }
    layer_ = -1;
    prefix_.clear();
  }

  void add_attention(const nn::AttentionNames& names, const std::string& kind) {
    linear(names.query, kind + "query", Axis::queries, Axis::hidden);
    linear(names.key, kind + "key", Axis::keys, Axis::hidden);
    linear(names.value, kind + "value", Axis::keys, Axis::hidden);
    linear(names.joined, kind + "joined", Axis::joined, Axis::hidden);
    linear(names.output, kind + "output", Axis::hidden, Axis::queries);
    norm(names.norm, kind + "norm", Axis::hidden);
    norm(names.query_norm, kind + "query_norm", Axis::head);
    norm(names.key_norm, kind + "key_norm", Axis::head);
  }

  // A head beside the model's own, with its layers.
  void add_further(const nn::HeadSpec& head) {
    decoder_ = plan_.decoder.layers > 0;
    const std::string kind = nn::head_prefix + head.name + ".";
    const nn::Stack stack = nn::head_stack(plan_, head);
    kind_ = kind;
    if (head.layers > 0) {
      add_layers(stack);
      norm(stack.final_norm, "final_norm", Axis::hidden);
    }
    nn::HeadPlan plan = nn::head_plan(config_, head);
    if (head.layers == 0) plan.pooler.clear();  // the body's, which is listed
    add_head(plan, head.kind, kind);
    kind_.clear();
  }

  void add_head(const nn::HeadPlan& head, nn::HeadKind kind, const std::string& own) {
    const Axis outputs = nn::predicts_tokens(kind) ? Axis::vocabulary : Axis::none;
    const Axis inside = head.dense_size > 0 && head.dense_size == config_.embedding_size
                            ? Axis::embedding
                            : Axis::hidden;
    linear(head.pooler, "pooler", Axis::hidden, Axis::hidden);
    linear(head.dense, "head.dense", inside, Axis::hidden);
    norm(head.dense_norm, "head.norm", inside);
    if (own.empty() || !head.out_tied)  // a tied table is the words'
      linear(head.out, "head.out", outputs, head.dense.empty() ? Axis::hidden : inside);
    if (!head.out_bias_name.empty()) {
      if (head.bias_is_buffer)
        put(head.out_bias_name, "head.out.bias", Axis::none, outputs);
      else
        put(head.out_bias_name, "head.out.bias", outputs, Axis::none);
    }
  }

  const nn::ModelConfig& config_;
  nn::Architecture plan_;
  std::vector<Sized> list_;
  std::string prefix_, kind_;  // of names; of roles
  bool decoder_ = false;
  int64_t layer_ = -1;
};

}  // namespace

std::vector<Sized> sized_tensors(const nn::ModelConfig& config) {
  return Lister(config).run();
}

void keep_entries(nn::ModelConfig& config, const std::vector<int64_t>& kept) {
  if (!config.raw.is_object()) return;
  auto list = config.raw.find("layer_types");
  if (list == config.raw.end() || !list->is_array()) return;
  nn::Json entries = nn::Json::array();
  for (int64_t layer : kept)
    if (static_cast<size_t>(layer) < list->size())
      entries.push_back((*list)[static_cast<size_t>(layer)]);
  *list = std::move(entries);
}

}  // namespace compress::surgery
