// ELECTRA (Clark et al. 2020, arXiv 2003.10555): BERT's encoder, discriminator and generator, with
// embeddings that may be narrower than the layers.

#include "compress/base/error.h"
#include "compress/nn/layers.h"
#include "families/bert.h"
#include "families/families.h"

namespace compress::nn {

namespace {

// What multiple choice makes of a row's states, by keys that other heads do not read.
std::string summary_activation(const ModelConfig& c) {
  const Json& json = c.raw.is_object() ? c.raw : Json::object();
  if (json.value("summary_type", "first") != "first" || !json.value("summary_use_proj", true))
    throw Error(ErrorKind::model,
                "config.json: multiple choice of electra reads the first token through a "
                "projection; other summary_type and summary_use_proj are not supported");
  auto name = json.find("summary_activation");
  if (name == json.end()) return "gelu";
  const std::string activation = name->is_string() ? name->get<std::string>() : "";
  if (!activation.empty() && activation != "tanh" && !is_activation(activation))
    throw Error(ErrorKind::model, "config.json: summary_activation '" + activation +
                                      "' is not supported for electra");
  return activation;
}

HeadPlan electra_plan_head(const ModelConfig& c) {
  HeadPlan head;
  switch (c.head) {
    case HeadKind::classification:
    case HeadKind::regression:
    case HeadKind::multi_label:
      return sentence_head(c, HeadPlan::From::first, "classifier", "gelu");
    case HeadKind::multiple_choice:
      head.from = HeadPlan::From::first;
      head.dense = "sequence_summary.summary";
      head.dense_activation = summary_activation(c);
      head.dropout = c.span_dropout;
      head.out = "classifier";
      head.outputs = 1;
      return head;
    case HeadKind::token_classification:
      return token_head("classifier", c.outputs(), c.classifier_dropout);
    case HeadKind::span:
      return token_head("qa_outputs", 2, 0);
    case HeadKind::replaced_token:
      head.dense = "discriminator_predictions.dense";
      head.dense_activation = c.activation;
      head.out = "discriminator_predictions.dense_prediction";
      head.outputs = 1;
      return head;
    case HeadKind::masked_lm:
      head = masked_head(c, "generator_predictions.dense", "gelu",
                         "generator_predictions.LayerNorm", "generator_lm_head");
      head.dense_size = c.embedding_size;
      return head;
    default:
      return head;
  }
}

Architecture electra_plan(const ModelConfig& c) {
  Architecture a = bert_encoder(c);
  if (c.embedding_size != c.hidden_size) a.encoder.projection = "embeddings_project";
  a.head = electra_plan_head(c);
  return a;
}

}  // namespace

Family electra_family() {
  Family f = bert_kin("electra", "electra.", 0);
  f.head_tensors = {
      "classifier.", "discriminator_predictions.", "generator_predictions.", "generator_lm_head.",
      "qa_outputs.", "sequence_summary."};
  f.classes = {{HeadKind::none, "ElectraModel"},
               {HeadKind::classification, "ElectraForSequenceClassification"},
               {HeadKind::token_classification, "ElectraForTokenClassification"},
               {HeadKind::span, "ElectraForQuestionAnswering"},
               {HeadKind::multiple_choice, "ElectraForMultipleChoice"},
               {HeadKind::masked_lm, "ElectraForMaskedLM"},
               {HeadKind::replaced_token, "ElectraForPreTraining"}};
  f.keys.push_back({"embedding_size", &ModelConfig::embedding_size, int64_t{128}});
  f.keys.push_back({"summary_last_dropout", &ModelConfig::span_dropout, 0.1});
  for (const char* key : {"summary_type", "summary_use_proj", "summary_activation"})
    f.also_read.emplace_back(key);
  f.architecture = electra_plan;
  return f;
}

}  // namespace compress::nn
