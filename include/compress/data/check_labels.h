#pragma once
// Whether a part's labels are its classes, told before any row is tokenised.

#include <string>
#include <vector>

#include "compress/data/dataset.h"

namespace compress::data {

// Reads the cells of one part's rows. Error{data} that lists the rows whose label is none of
// `labels`, or that cannot be read, as load_split() would; nothing where `bad_rows` skips them or
// the task's labels are no names. The part has a file.
void check_labels(const DatasetOptions& options, const std::string& part,
                  const std::vector<std::string>& labels);

}  // namespace compress::data
