#include "axes.h"

#include "compress/base/strings.h"

namespace compress::surgery {

namespace {

class Lister {
 public:
  explicit Lister(const nn::ModelConfig& config)
      : config_(config), plan_(nn::architecture(config)) {}

  std::vector<Sized> run() {
    if (plan_.encoder.layers > 0) add_stack(plan_.encoder, false);
    if (plan_.decoder.layers > 0) add_stack(plan_.decoder, true);
    add_head();
    return std::move(list_);
  }

 private:
  // A matrix and its bias, or one of them; both are listed, whoever looks takes what is there.
  void linear(const std::string& module, Axis rows, Axis columns) {
    if (module.empty()) return;
    put(module + ".weight", rows, columns);
    put(module + ".bias", rows, Axis::none);
  }
  void norm(const std::string& module, Axis rows) { linear(module, rows, Axis::none); }
  void put(const std::string& name, Axis rows, Axis columns) {
    if (name.front() == '.') return;  // a module that the family does not have
    list_.push_back({prefix_ + name, rows, columns, decoder_, layer_});
  }

  void add_stack(const nn::Stack& stack, bool decoder) {
    decoder_ = decoder;
    layer_ = -1;
    prefix_.clear();
    put(stack.word + ".weight", Axis::vocabulary, Axis::embedding);
    put(stack.position + ".weight", Axis::positions, Axis::embedding);
    put(stack.segment + ".weight", Axis::none, Axis::embedding);
    norm(stack.embedding_norm, Axis::embedding);
    linear(stack.projection, Axis::hidden, Axis::embedding);
    norm(stack.final_norm, Axis::hidden);
    put(stack.relative_bias + ".weight", Axis::none, Axis::heads);
    for (layer_ = 0; layer_ < stack.layers; ++layer_) {
      prefix_ = str(stack.layer_prefix, layer_, ".");
      add_attention(stack.self);
      if (stack.cross) add_attention(stack.across);
      linear(stack.feed_forward.gate, Axis::inner, Axis::hidden);
      linear(stack.feed_forward.in, Axis::inner, Axis::hidden);
      linear(stack.feed_forward.out, Axis::hidden, Axis::inner);
      norm(stack.feed_forward.norm, Axis::hidden);
    }
    layer_ = -1;
    prefix_.clear();
  }

  void add_attention(const nn::AttentionNames& names) {
    linear(names.query, Axis::queries, Axis::hidden);
    linear(names.key, Axis::keys, Axis::hidden);
    linear(names.value, Axis::keys, Axis::hidden);
    linear(names.joined, Axis::joined, Axis::hidden);
    linear(names.output, Axis::hidden, Axis::queries);
    norm(names.norm, Axis::hidden);
    norm(names.query_norm, Axis::head);
    norm(names.key_norm, Axis::head);
  }

  void add_head() {
    const nn::HeadPlan& head = plan_.head;
    const Axis outputs = nn::predicts_tokens(config_.head) ? Axis::vocabulary : Axis::none;
    const Axis inside = head.dense_size > 0 && head.dense_size == config_.embedding_size
                            ? Axis::embedding
                            : Axis::hidden;
    linear(head.pooler, Axis::hidden, Axis::hidden);
    linear(head.dense, inside, Axis::hidden);
    norm(head.dense_norm, inside);
    if (!head.out.empty()) linear(head.out, outputs, head.dense.empty() ? Axis::hidden : inside);
    if (!head.out_bias_name.empty()) {
      if (head.bias_is_buffer)
        put(head.out_bias_name, Axis::none, outputs);
      else
        put(head.out_bias_name, outputs, Axis::none);
    }
    if (config_.projection > 0) linear("projection", Axis::none, Axis::hidden);
  }

  const nn::ModelConfig& config_;
  nn::Architecture plan_;
  std::vector<Sized> list_;
  std::string prefix_;
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
