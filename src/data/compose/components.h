#pragma once
// Ways to make rows of others, one a file.

#include "compress/data/compose.h"

namespace compress::data {

void add_demonstrations(ComposerRegistry& registry);

// The splits's composer as `options` say; the training part is read where it is another one.
void compose_rows(const DatasetOptions& options, const text::Tokenizer& tokenizer, int threads,
                  Split& split);
// Its part in the hash of what is read.
std::string composed_hash(const DatasetOptions& options, const std::string& part,
                          const std::string& rows, const std::string& train);

}  // namespace compress::data
