#pragma once
// The families that this build knows; each in its own file.

#include "compress/nn/architecture.h"

namespace compress::nn {

Family bert_family();
Family roberta_family();
Family xlm_roberta_family();
Family distilbert_family();
Family electra_family();
Family gpt2_family();
Family llama_family();
Family mistral_family();
Family qwen2_family();
Family qwen3_family();
Family t5_family();
Family bart_family();
Family opt_family();
Family dan_family();

std::vector<Family> all_families();

// Heads that several families have.
//
// A linear layer on the state of every token.
HeadPlan token_head(const char* out, int64_t outputs, double dropout);
// One state a row through `<stem>.dense` and `<stem>.out_proj`, with dropout before each.
HeadPlan sentence_head(const ModelConfig& config, HeadPlan::From from, const std::string& stem,
                       const char* activation);
// The state through a dense layer and a norm to the vocabulary.
HeadPlan masked_head(const ModelConfig& config, const char* dense, const std::string& activation,
                     const char* norm, const char* out);
// `lm_head`: causal, or of a decoder behind an encoder.
HeadPlan language_head(const ModelConfig& config);
// The head of a decoder alone; `tokens` is the module that classifies tokens.
HeadPlan decoder_head(const ModelConfig& config, const char* tokens);

// The classes of a family whose names begin with `stem`.
std::vector<HeadClass> classes_of(const std::string& stem, std::vector<HeadClass> endings);

// Class names in order of their ids, of id2label or num_labels. Error{model} where a name or an id
// is there twice, or an id is missing.
std::vector<std::string> labels_of(const Json& json);
// Whether label2id says otherwise than id2label.
bool label2id_differs(const Json& json);

// Keys of config.json that the family does not read, other than those that say nothing about what a
// model computes.
std::vector<std::string> unread_keys(const Family& family, const Json& json);

// Error{model} where the switch `key` does not say what the family's layers do.
void expect_switch(const ModelConfig& config, const Json& json, const char* key, bool expected);

}  // namespace compress::nn
