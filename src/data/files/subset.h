#pragma once
// Some rows of the training file.

#include <memory>

#include "files/reader.h"

namespace compress::data {

// Leaves the rows of options.subset. Rows that cannot be used stay: they are still to be told.
// Error{data}: a row number that is none or beyond the file, an empty index.
std::unique_ptr<Reader> open_subset(Source& source, const DatasetOptions& options,
                                    std::unique_ptr<Reader> reader);

// What decides the subset, as text (with the index file's content).
std::string subset_identity(const DatasetOptions& options);

}  // namespace compress::data
