// DistilBERT (Sanh et al. 2019, arXiv 1910.01108): BERT's encoder without segments and pooler.

#include "families/families.h"

namespace compress::nn {

namespace {

HeadPlan distilbert_plan_head(const ModelConfig& c) {
  HeadPlan head;
  switch (c.head) {
    case HeadKind::classification:
    case HeadKind::regression:
    case HeadKind::multi_label:
    case HeadKind::multiple_choice:
      head.from = HeadPlan::From::first;
      head.dense = "pre_classifier";
      head.dense_activation = "relu";
      head.dropout = c.classifier_dropout;
      head.out = "classifier";
      head.outputs = c.head == HeadKind::multiple_choice ? 1 : c.outputs();
      return head;
    case HeadKind::token_classification:
      return token_head("classifier", c.outputs(), c.hidden_dropout);
    case HeadKind::span:
      return token_head("qa_outputs", 2, c.span_dropout);
    case HeadKind::masked_lm:
      return masked_head(c, "vocab_transform", c.activation, "vocab_layer_norm", "vocab_projector");
    default:
      return head;
  }
}

Architecture distilbert_plan(const ModelConfig& c) {
  Architecture a;
  a.position_rows = c.max_positions;
  a.embedding_dropout = c.hidden_dropout;
  Stack& s = a.encoder;
  s.layers = c.layers;
  s.heads = s.kv_heads = c.attention_heads;
  s.intermediate = c.intermediate_size;
  s.layer_prefix = "transformer.layer.";
  s.self.query = "attention.q_lin";
  s.self.key = "attention.k_lin";
  s.self.value = "attention.v_lin";
  s.self.output = "attention.out_lin";
  s.self.norm = "sa_layer_norm";
  s.feed_forward.in = "ffn.lin1";
  s.feed_forward.out = "ffn.lin2";
  s.feed_forward.norm = "output_layer_norm";
  s.word = "embeddings.word_embeddings";
  s.position = "embeddings.position_embeddings";
  s.embedding_norm = "embeddings.LayerNorm";
  a.head = distilbert_plan_head(c);
  return a;
}

void distilbert_finish(ModelConfig& config, const Json&) {
  config.norm_eps = 1e-12;
}

}  // namespace

Family distilbert_family() {
  using C = ModelConfig;
  Family f;
  f.model_type = "distilbert";
  f.prefix = "distilbert.";
  f.head_tensors = {"classifier.", "pre_classifier.", "vocab_", "qa_outputs."};
  f.classes = {{HeadKind::none, "DistilBertModel"},
               {HeadKind::classification, "DistilBertForSequenceClassification"},
               {HeadKind::token_classification, "DistilBertForTokenClassification"},
               {HeadKind::span, "DistilBertForQuestionAnswering"},
               {HeadKind::multiple_choice, "DistilBertForMultipleChoice"},
               {HeadKind::masked_lm, "DistilBertForMaskedLM"}};
  f.keys = {{"vocab_size", &C::vocab_size},
            {"dim", &C::hidden_size},
            {"n_layers", &C::layers},
            {"n_heads", &C::attention_heads},
            {"hidden_dim", &C::intermediate_size},
            {"max_position_embeddings", &C::max_positions},
            {"pad_token_id", &C::pad_token_id, int64_t{0}},
            {"initializer_range", &C::initializer_range, 0.02},
            {"dropout", &C::hidden_dropout, 0.1},
            {"attention_dropout", &C::attention_dropout, 0.1},
            {"seq_classif_dropout", &C::classifier_dropout, 0.2},
            {"qa_dropout", &C::span_dropout, 0.1},
            {"activation", &C::activation, "gelu"},
            {"sinusoidal_pos_embds", &C::frozen_positions, false},
            {"tie_word_embeddings", &C::tied, true}};
  f.aliases = {{"hidden_size", "dim"},
               {"num_attention_heads", "n_heads"},
               {"num_hidden_layers", "n_layers"}};
  f.ignored = {"embeddings.position_ids"};
  f.finish = distilbert_finish;
  f.architecture = distilbert_plan;
  return f;
}

}  // namespace compress::nn
