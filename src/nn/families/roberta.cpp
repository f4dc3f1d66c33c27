// RoBERTa (Liu et al. 2019, arXiv 1907.11692) and XLM-RoBERTa (Conneau et al. 2020, arXiv
// 1911.02116): BERT's encoder with positions that begin behind the padding's, one segment.

#include <deque>

#include "bert.h"
#include "families.h"

namespace compress::nn {

namespace {

HeadPlan plan_head(const ModelConfig& c) {
  HeadPlan head;
  switch (c.head) {
    case HeadKind::none:
      head.from = HeadPlan::From::first;
      head.pooler = "pooler.dense";
      return head;
    case HeadKind::multiple_choice:
      head.from = HeadPlan::From::first;
      head.pooler = "pooler.dense";
      head.dropout = c.hidden_dropout;
      head.out = "classifier";
      head.outputs = 1;
      return head;
    case HeadKind::classification:
    case HeadKind::regression:
      head.from = HeadPlan::From::first;
      head.first_dropout = head.dropout = c.classifier_dropout;
      head.dense = "classifier.dense";
      head.dense_activation = "tanh";
      head.out = "classifier.out_proj";
      head.outputs = c.outputs();
      return head;
    case HeadKind::token_classification:
      return token_head("classifier", c.outputs(), c.classifier_dropout);
    case HeadKind::span:
      return token_head("qa_outputs", 2, 0);
    case HeadKind::masked_lm:
      refuse_untied(c);
      head.dense = "lm_head.dense";
      head.dense_activation = "gelu";
      head.dense_norm = "lm_head.layer_norm";
      head.out = "lm_head.decoder";
      head.outputs = c.vocab_size;
      head.out_tied = true;
      head.out_bias_name = "lm_head.bias";
      return head;
    default:
      return head;
  }
}

Architecture plan(const ModelConfig& c) {
  Architecture a = bert_encoder(c);
  a.position_offset = c.pad_token_id + 1;
  a.head = plan_head(c);
  return a;
}

Family make(const char* type, const std::string& stem) {
  Family f;
  f.model_type = type;
  f.prefix = "roberta.";
  f.head_tensors = {"classifier.", "lm_head.", "qa_outputs."};
  f.optional_tensors = {"pooler."};
  static std::deque<std::string> names;  // what the table's pointers show
  auto named = [&](HeadKind head, const char* rest) {
    names.push_back(stem + rest);
    f.classes.push_back({head, names.back().c_str()});
  };
  named(HeadKind::none, "Model");
  named(HeadKind::classification, "ForSequenceClassification");
  named(HeadKind::token_classification, "ForTokenClassification");
  named(HeadKind::span, "ForQuestionAnswering");
  named(HeadKind::multiple_choice, "ForMultipleChoice");
  named(HeadKind::masked_lm, "ForMaskedLM");
  f.keys = bert_keys(2, 1e-12, 1);
  f.ignored = {"embeddings.position_ids", "embeddings.token_type_ids"};
  f.finish = finish_bert;
  f.write = write_bert;
  f.architecture = plan;
  return f;
}

}  // namespace

Family roberta_family() {
  return make("roberta", "Roberta");
}

Family xlm_roberta_family() {
  return make("xlm-roberta", "XLMRoberta");
}

}  // namespace compress::nn
