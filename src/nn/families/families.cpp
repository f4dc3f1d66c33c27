#include "families/families.h"

#include "compress/base/error.h"

namespace compress::nn {

std::vector<Family> all_families() {
  return {bert_family(),    roberta_family(), xlm_roberta_family(), distilbert_family(),
          electra_family(), gpt2_family(),    llama_family(),       mistral_family(),
          qwen2_family(),   qwen3_family(),   t5_family(),          bart_family(),
          opt_family(),     dan_family()};
}

HeadPlan token_head(const char* out, int64_t outputs, double dropout) {
  HeadPlan head;
  head.dropout = dropout;
  head.out = out;
  head.outputs = outputs;
  return head;
}

HeadPlan sentence_head(const ModelConfig& config, HeadPlan::From from, const std::string& stem,
                       const char* activation) {
  HeadPlan head;
  head.from = from;
  head.first_dropout = head.dropout = config.classifier_dropout;
  head.dense = stem + ".dense";
  head.dense_activation = activation;
  head.out = stem + ".out_proj";
  head.outputs = config.outputs();
  return head;
}

HeadPlan masked_head(const ModelConfig& config, const char* dense, const std::string& activation,
                     const char* norm, const char* out) {
  HeadPlan head;
  head.dense = dense;
  head.dense_activation = activation;
  head.dense_norm = norm;
  head.out = out;
  head.outputs = config.vocab_size;
  head.out_tied = config.tied;
  return head;
}

HeadPlan language_head(const ModelConfig& config) {
  HeadPlan head = token_head("lm_head", config.vocab_size, 0);
  head.out_bias = false;
  head.out_tied = config.tied;
  return head;
}

HeadPlan decoder_head(const ModelConfig& config, const char* tokens) {
  HeadPlan head;
  switch (config.head) {
    case HeadKind::classification:
    case HeadKind::regression:
    case HeadKind::multi_label:
      head = token_head("score", config.outputs(), 0);
      head.out_bias = false;
      head.from = HeadPlan::From::last_word;
      return head;
    case HeadKind::token_classification:
      return token_head(tokens, config.outputs(), config.classifier_dropout);
    case HeadKind::span:
      return token_head("qa_outputs", 2, 0);
    case HeadKind::causal_lm:
      return language_head(config);
    default:
      return head;
  }
}

std::vector<HeadClass> classes_of(const std::string& stem, std::vector<HeadClass> endings) {
  for (HeadClass& entry : endings) entry.name = stem + entry.name;
  return endings;
}

void expect_switch(const ModelConfig& config, const Json& json, const char* key, bool expected) {
  const auto found = json.find(key);
  if (found != json.end() && !found->is_null() && *found != expected)
    throw Error(ErrorKind::model, std::string("config.json: ") + key +
                                      (expected ? " false is" : " is") + " not supported for " +
                                      config.family);
}

}  // namespace compress::nn
