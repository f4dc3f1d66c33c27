#pragma once
// What BERT, RoBERTa and ELECTRA have in common: keys, and an encoder but for its details.

#include "compress/nn/architecture.h"

namespace compress::nn {

std::vector<ConfigKey> bert_keys(int64_t segments, double eps, int64_t pad);
void finish_bert(ModelConfig& config, const Json& json);
void write_bert(const ModelConfig& config, Json& json);
// A masked LM's own table would bring a second bias with it, which files name in several ways.
void refuse_untied(const ModelConfig& config);
Architecture bert_encoder(const ModelConfig& config);

}  // namespace compress::nn
