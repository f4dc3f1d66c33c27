// BERT (Devlin et al. 2019, arXiv 1810.04805): post-norm encoder, learned positions, segment
// embeddings.

#include "families/bert.h"

#include "compress/base/error.h"
#include "families/families.h"

namespace compress::nn {

namespace {

std::vector<ConfigKey> keys_of(int64_t pad) {
  using C = ModelConfig;
  return {{"vocab_size", &C::vocab_size},
          {"hidden_size", &C::hidden_size},
          {"num_hidden_layers", &C::layers},
          {"num_attention_heads", &C::attention_heads},
          {"intermediate_size", &C::intermediate_size},
          {"max_position_embeddings", &C::max_positions},
          {"type_vocab_size", &C::type_vocab_size, int64_t{2}},
          {"pad_token_id", &C::pad_token_id, pad},
          {"layer_norm_eps", &C::norm_eps, 1e-12},
          {"initializer_range", &C::initializer_range, 0.02},
          {"hidden_dropout_prob", &C::hidden_dropout, 0.1},
          {"attention_probs_dropout_prob", &C::attention_dropout, 0.1},
          {"classifier_dropout", &C::classifier_dropout, -1.0},
          {"hidden_act", &C::activation, "gelu"},
          {"tie_word_embeddings", &C::tied, true}};
}

void bert_finish(ModelConfig& config, const Json& json) {
  if (config.classifier_dropout < 0) config.classifier_dropout = config.hidden_dropout;
  auto kind = json.find("position_embedding_type");
  if (kind != json.end() && kind->is_string() && *kind != "absolute")
    throw Error(ErrorKind::model, "config.json: position_embedding_type " + kind->dump() +
                                      " is not supported for " + config.family);
  expect_switch(config, json, "is_decoder", false);
  expect_switch(config, json, "add_cross_attention", false);
  if (config.type_vocab_size < 1)
    throw Error(ErrorKind::model,
                "config.json: type_vocab_size must be 1 or more, as layers read a "
                "token's type");
}

}  // namespace

Family bert_kin(const char* type, const char* prefix, int64_t pad) {
  Family f;
  f.model_type = type;
  f.prefix = prefix;
  f.keys = keys_of(pad);
  f.ignored = {"embeddings.position_ids", "embeddings.token_type_ids"};
  f.also_read = {"position_embedding_type", "is_decoder", "add_cross_attention"};
  f.finish = bert_finish;
  return f;
}

void refuse_untied(const ModelConfig& config) {
  if (!config.tied)
    throw Error(ErrorKind::model,
                "config.json: tie_word_embeddings false is not supported for a masked LM of " +
                    config.family);
}

Architecture bert_encoder(const ModelConfig& c) {
  Architecture a;
  Stack& s = a.encoder;
  s.layers = c.layers;
  s.heads = s.kv_heads = c.attention_heads;
  s.intermediate = c.intermediate_size;
  s.layer_prefix = "encoder.layer.";
  s.self.query = "attention.self.query";
  s.self.key = "attention.self.key";
  s.self.value = "attention.self.value";
  s.self.output = "attention.output.dense";
  s.self.norm = "attention.output.LayerNorm";
  s.feed_forward.in = "intermediate.dense";
  s.feed_forward.out = "output.dense";
  s.feed_forward.norm = "output.LayerNorm";
  s.word = "embeddings.word_embeddings";
  s.position = "embeddings.position_embeddings";
  s.segment = "embeddings.token_type_embeddings";
  s.embedding_norm = "embeddings.LayerNorm";
  a.position_rows = c.max_positions;
  a.embedding_dropout = c.hidden_dropout;
  return a;
}

namespace {

HeadPlan plan_head(const ModelConfig& c) {
  HeadPlan head;
  switch (c.head) {
    case HeadKind::none:
    case HeadKind::classification:
    case HeadKind::regression:
    case HeadKind::multi_label:
    case HeadKind::multiple_choice:
      head.from = HeadPlan::From::first;
      head.pooler = "pooler.dense";
      head.dropout = c.classifier_dropout;
      if (c.head == HeadKind::none) return head;
      head.out = "classifier";
      head.outputs = c.head == HeadKind::multiple_choice ? 1 : c.outputs();
      return head;
    case HeadKind::token_classification:
      return token_head("classifier", c.outputs(), c.classifier_dropout);
    case HeadKind::span:
      return token_head("qa_outputs", 2, 0);
    case HeadKind::masked_lm:
      refuse_untied(c);
      head = masked_head(c, "cls.predictions.transform.dense", c.activation,
                         "cls.predictions.transform.LayerNorm", "cls.predictions.decoder");
      head.out_bias_name = "cls.predictions.bias";
      return head;
    default:
      return head;
  }
}

Architecture bert_plan(const ModelConfig& c) {
  Architecture a = bert_encoder(c);
  a.head = plan_head(c);
  return a;
}

}  // namespace

Family bert_family() {
  // Whether the second text of a row follows the first one in their document.
  const HeadSpec next_sentence{.name = "next_sentence",
                               .kind = HeadKind::classification,
                               .labels = {"is_next", "not_next"},
                               .module = "cls.seq_relationship"};
  Family f = bert_kin("bert", "bert.", 0);
  f.head_tensors = {"classifier.", "cls.", "qa_outputs."};
  f.optional_tensors = {"pooler."};
  f.classes = {{HeadKind::none, "BertModel"},
               {HeadKind::classification, "BertForSequenceClassification"},
               {HeadKind::token_classification, "BertForTokenClassification"},
               {HeadKind::span, "BertForQuestionAnswering"},
               {HeadKind::multiple_choice, "BertForMultipleChoice"},
               {HeadKind::masked_lm, "BertForMaskedLM"},
               {HeadKind::masked_lm, "BertForPreTraining", nullptr, {next_sentence}}};
  f.architecture = bert_plan;
  return f;
}

}  // namespace compress::nn
