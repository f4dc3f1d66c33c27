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

std::vector<Family> all_families();

// A linear layer on the state of every token.
HeadPlan token_head(const char* out, int64_t outputs, double dropout);

}  // namespace compress::nn
