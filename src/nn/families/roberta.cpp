// RoBERTa (Liu et al. 2019, arXiv 1907.11692) and XLM-RoBERTa (Conneau et al. 2020, arXiv
// 1911.02116): BERT's encoder with positions that begin behind the padding's, one segment.

#include "families/bert.h"
#include "families/families.h"

namespace compress::nn {

namespace {

HeadPlan roberta_plan_head(const ModelConfig& c) {
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
    case HeadKind::multi_label:
      return sentence_head(c, HeadPlan::From::first, "classifier", "tanh");
    case HeadKind::token_classification:
      return token_head("classifier", c.outputs(), c.classifier_dropout);
    case HeadKind::span:
      return token_head("qa_outputs", 2, 0);
    case HeadKind::masked_lm:
      refuse_untied(c);
      head = masked_head(c, "lm_head.dense", "gelu", "lm_head.layer_norm", "lm_head.decoder");
      head.out_bias_name = "lm_head.bias";
      return head;
    default:
      return head;
  }
}

Architecture roberta_plan(const ModelConfig& c) {
  Architecture a = bert_encoder(c);
  a.position_offset = c.pad_token_id + 1;
  a.head = roberta_plan_head(c);
  return a;
}

Family roberta_make(const char* type, const std::string& stem) {
  Family f = bert_kin(type, "roberta.", 1);
  f.head_tensors = {"classifier.", "lm_head.", "qa_outputs."};
  f.optional_tensors = {"pooler."};
  f.classes = classes_of(stem, {{HeadKind::none, "Model"},
                                {HeadKind::classification, "ForSequenceClassification"},
                                {HeadKind::token_classification, "ForTokenClassification"},
                                {HeadKind::span, "ForQuestionAnswering"},
                                {HeadKind::multiple_choice, "ForMultipleChoice"},
                                {HeadKind::masked_lm, "ForMaskedLM"}});
  f.architecture = roberta_plan;
  return f;
}

}  // namespace

Family roberta_family() {
  return roberta_make("roberta", "Roberta");
}

Family xlm_roberta_family() {
  return roberta_make("xlm-roberta", "XLMRoberta");
}

}  // namespace compress::nn
