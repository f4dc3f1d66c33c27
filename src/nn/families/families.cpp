#include "families.h"

namespace compress::nn {

std::vector<Family> all_families() {
  return {bert_family(),    roberta_family(), xlm_roberta_family(), distilbert_family(),
          electra_family(), gpt2_family(),    llama_family(),       mistral_family(),
          qwen2_family(),   qwen3_family(),   t5_family(),          bart_family(),
          opt_family()};
}

HeadPlan token_head(const char* out, int64_t outputs, double dropout) {
  HeadPlan head;
  head.dropout = dropout;
  head.out = out;
  head.outputs = outputs;
  return head;
}

}  // namespace compress::nn
