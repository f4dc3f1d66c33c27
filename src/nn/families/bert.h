#pragma once
// What BERT, RoBERTa and ELECTRA have in common.

#include "compress/nn/architecture.h"

namespace compress::nn {

// The keys, ignored buffers and checks of a family; `pad` is its usual padding token.
Family bert_kin(const char* type, const char* prefix, int64_t pad);
// Error{model} for a masked LM whose output table is not the word embedding.
void refuse_untied(const ModelConfig& config);
// The encoder, without a head.
Architecture bert_encoder(const ModelConfig& config);

}  // namespace compress::nn
