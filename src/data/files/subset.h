#pragma once
// Some rows of the training file, or of all files those of some domains.

#include <functional>
#include <memory>
#include <vector>

#include "files/reader.h"

namespace compress::data {

// Leaves the rows of options.subset. Rows that cannot be used stay: they are still to be told.
// Error{data}: a row number that is none or beyond the file, an empty index.
std::unique_ptr<Reader> open_subset(Source& source, const DatasetOptions& options,
                                    std::unique_ptr<Reader> reader);

// Leaves the rows of the domains that the options' part has (options.held_out). Rows that cannot be
// used stay. Error{data} at the file's end where it had rows and none is left.
std::unique_ptr<Reader> open_held_out(
    Source& source, const DatasetOptions& options, std::vector<Column> columns,
    const std::function<std::unique_ptr<Reader>(std::vector<Column>)>& open);

// What decides the subset, as text (with the index file's content).
std::string subset_identity(const DatasetOptions& options);

}  // namespace compress::data
