// Deep averaging networks: the average of a text's n-grams through dense layers (Iyyer et al. 2015,
// ACL, section 3; Ye et al. 2022, arXiv 2110.08536, section 3.2, with n-grams of up to four words).
//
//   h = sum_t w_t E[token_t] / max(1, sum_t w_t),  h <- f(W_i h + b_i) for each dense layer
//
// w_t is 0 for padding tokens and, in training, for tokens that n-gram dropout leaves out. The
// model is no stack of layers over tokens, so it has states of rows alone: Outputs::hidden stays
// empty, and Outputs::pooled is the last h.

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/nn/layers.h"
#include "families/families.h"
#include "transformer/assembler.h"

namespace compress::nn {

namespace {

using torch::Tensor;

constexpr const char* table_name = "embeddings";
constexpr int64_t most_layers = 64;

// Keys that no other family has, in config.json only.
int64_t dense_layers(const ModelConfig& config) {
  return config.raw.is_object() ? config.raw.value("num_dense_layers", int64_t{1}) : 1;
}
bool dan_sums(const ModelConfig& config) {
  return config.raw.is_object() && config.raw.value("reduction", std::string("mean")) == "sum";
}

std::string dense_name(int64_t layer) {
  return str("dense.", layer);
}
// What the dense layer reads.
int64_t dense_input(const ModelConfig& config, int64_t layer) {
  return layer == 0 ? config.embedding_size : config.hidden_size;
}

std::vector<NamedShape> body(const ModelConfig& config) {
  std::vector<NamedShape> list = {
      {str(table_name, ".weight"), {config.vocab_size, config.embedding_size}}};
  for (int64_t i = 0; i < dense_layers(config); ++i) {
    list.push_back({dense_name(i) + ".weight", {config.hidden_size, dense_input(config, i)}});
    list.push_back({dense_name(i) + ".bias", {config.hidden_size}});
  }
  return list;
}

class Dan final : public Model {
 public:
  Dan(const ModelState& state, const ModelConfig& config, uint64_t seed) : Model(config) {
    if (!config_.attachments.empty())
      throw Error(ErrorKind::model, "nothing can be attached to a dan model: it has no layers");
    if (config_.projection > 0)
      throw Error(ErrorKind::model, "a projection of embeddings is not supported for dan");
    if (state.tensors.empty())
      throw Error(ErrorKind::model, "the model has no weights yet", {},
                  "`surgery: initialise` draws them");
    Assembler assemble(state, params_, seed);
    table_.word = assemble.take(str(table_name, ".weight"), Role::embedding, -1,
                                {config_.vocab_size, config_.embedding_size});
    for (int64_t i = 0; i < dense_layers(config_); ++i)
      dense_.push_back(assemble.linear(dense_name(i), Role::other, -1, config_.hidden_size,
                                       dense_input(config_, i), /*bias=*/true));
    own_ = head(assemble, architecture(config_).head);
    for (const HeadSpec& spec : config_.more_heads)
      more_.emplace_back(spec.name, head(assemble, head_plan(config_, spec)));
    assemble.finish();
    table_.word->row_gradient = true;
  }

  Outputs forward(const data::Batch& batch, const Capture& capture, const Pass& pass) override {
    if (capture.hidden || capture.any_attention())
      throw Error(ErrorKind::model, "a dan model has no layers to capture");
    if (pass.training) begin_draws(device(), pass.dropout_seed, batch.part);
    DropoutSeeds seeds(pass.dropout_seed, pass.training, batch.part);
    const RowInfo rows{
        .training = pass.training, .seed = pass.dropout_seed, .first = batch.part.first_row};
    Tensor x = average(batch, seeds);
    for (const Linear& layer : dense_) x = layer.activated(x, rows, config_.activation);
    Outputs out;
    if (config_.head == HeadKind::embedding)
      out.pooled = config_.normalize ? x / x.norm(2, 1, /*keepdim=*/true).clamp_min(1e-12) : x;
    else if (capture.pooled || config_.head == HeadKind::none)
      out.pooled = x;
    if (own_.out.weight != nullptr) out.logits = logits(own_, x, rows, seeds);
    for (const auto& [name, head] : more_) {
      if (!capture.heads.contains(name)) continue;
      // Draws of its own: what one head draws does not change with the others.
      DropoutSeeds apart = seeds.apart(name);
      HeadOutputs& said = out.more[name];
      if (capture.pooled) said.pooled = x;
      said.logits = logits(head, x, rows, apart);
    }
    return out;
  }

 private:
  struct Head {
    Linear out;
    double dropout = 0;
  };

  Head head(Assembler& assemble, const HeadPlan& plan) const {
    Head made;
    if (plan.out.empty()) return made;
    made.dropout = plan.dropout;
    made.out = assemble.linear(plan.out, Role::head, -1, plan.outputs, config_.hidden_size,
                               /*bias=*/true, config_.initializer_range);
    return made;
  }

  static Tensor logits(const Head& head, const Tensor& x, const RowInfo& rows,
                       DropoutSeeds& seeds) {
    const Tensor kept = seeds.training() && head.dropout > 0
                            ? dropout(x, head.dropout, seeds.next(), seeds.first_row() * x.size(1))
                            : x;
    return head.out(kept, rows).to(torch::kFloat32);
  }

  // 1 for the tokens that count, else 0: [T, 1].
  Tensor weights(const data::Batch& batch, DropoutSeeds& seeds) const {
    Tensor weights = batch.token_ids.ne(config_.pad_token_id).to(torch::kFloat32).unsqueeze(1);
    const double p = config_.embedding_dropout;
    if (!seeds.training() || p <= 0) return weights;
    // Four draws a token, of which one counts: a part of an update draws what the whole would where
    // its first element's number is a multiple of four.
    const Tensor drawn =
        dropout(weights.expand({-1, 4}).contiguous(), p, seeds.next(), seeds.first_token() * 4);
    return drawn.narrow(1, 0, 1).gt(0).to(torch::kFloat32);
  }

  // [B, embedding_size]
  Tensor average(const data::Batch& batch, DropoutSeeds& seeds) const {
    const int64_t tokens = batch.token_ids.size(0);
    const Tensor states = table_(batch, tokens), kept = weights(batch, seeds);
    const Tensor rows = batch.slots.floor_divide(batch.longest);
    const Tensor sum = torch::zeros({batch.rows(), states.size(1)}, states.options())
                           .index_add(0, rows, states * kept);
    if (dan_sums(config_)) return seeds.training() ? sum / (1 - config_.embedding_dropout) : sum;
    const Tensor count =
        torch::zeros({batch.rows(), 1}, kept.options()).index_add(0, rows, kept).clamp_min(1);
    return sum / count;
  }

  Embeddings table_;
  std::vector<Linear> dense_;
  Head own_;
  std::vector<std::pair<std::string, Head>> more_;
};

Architecture dan_plan(const ModelConfig& c) {
  Architecture a;
  a.positions = Positions::none;
  a.encoder.word = table_name;
  switch (c.head) {
    case HeadKind::classification:
    case HeadKind::regression:
    case HeadKind::multi_label:
      a.head = token_head("classifier", c.outputs(), c.classifier_dropout);
      a.head.from = HeadPlan::From::first;
      break;
    default:
      break;
  }
  return a;
}

void dan_finish(ModelConfig& config, const Json& json) {
  auto refuse = [](const std::string& what) {
    throw Error(ErrorKind::model, "config.json: " + what);
  };
  const auto layers = json.find("num_dense_layers");
  if (layers != json.end() && !layers->is_number_integer())
    refuse("'num_dense_layers' must be a whole number");
  if (layers != json.end() && (layers->get<int64_t>() < 0 || layers->get<int64_t>() > most_layers))
    refuse(str("num_dense_layers must be 0 to ", most_layers));
  if (dense_layers(config) == 0 && config.hidden_size != config.embedding_size)
    refuse("without dense layers hidden_size must be embedding_size");
  const auto reduction = json.find("reduction");
  if (reduction != json.end() && *reduction != "mean" && *reduction != "sum")
    refuse("'reduction' must be \"mean\" or \"sum\"");
  if (config.pad_token_id < 0 || config.pad_token_id >= config.vocab_size)
    refuse(str("pad_token_id ", config.pad_token_id, " is no token of a vocab_size of ",
               config.vocab_size));
}

std::unique_ptr<Model> build_dan(const ModelState& state, const ModelConfig& config,
                                 uint64_t seed) {
  return std::make_unique<Dan>(state, config, seed);
}

}  // namespace

Family dan_family() {
  using C = ModelConfig;
  Family f;
  f.model_type = "dan";
  f.head_tensors = {"classifier."};
  f.classes = {{HeadKind::none, "DanModel"},
               {HeadKind::classification, "DanForSequenceClassification"}};
  f.keys = {{"vocab_size", &C::vocab_size},
            {"embedding_size", &C::embedding_size},
            {"hidden_size", &C::hidden_size},
            {"max_ngrams", &C::max_positions, int64_t{0}},
            {"pad_token_id", &C::pad_token_id, int64_t{0}},
            {"initializer_range", &C::initializer_range, 0.1},
            {"ngram_dropout", &C::embedding_dropout, 0.1},
            {"classifier_dropout", &C::classifier_dropout, 0.1},
            {"hidden_act", &C::activation, "relu"}};
  f.also_read = {"num_dense_layers", "reduction"};
  f.finish = dan_finish;
  f.architecture = dan_plan;
  f.build = build_dan;
  f.body = body;
  return f;
}

}  // namespace compress::nn
