#pragma once
// Rows without labels whose answers a benchmark's server scores.

#include <filesystem>
#include <string>
#include <vector>

#include "compress/data/dataset.h"

namespace compress::data {

// The data set whose test part is the rows to submit; each has the first class, or the score 0, so
// that it is read as labelled rows are. Error{recipe} where the data set says nothing of them.
DatasetOptions rows_to_submit(const DatasetOptions& options);

// What names each row, in the order of the rows: the column `id` of the submission, or the row's
// number from 0. Error{data} as load_split.
std::vector<std::string> ids_to_submit(const DatasetOptions& options);

// The file's text: a line for each row with its id and its prediction, a class name or a score. For
// a name that ends in .jsonl, objects {key: id, "label": prediction}, in which ids and predictions
// that are whole numbers are such; else a table with the columns index and prediction.
// Error{internal} where there are more ids than predictions.
std::string submission_text(const SubmissionOptions& submission,
                            const std::vector<std::string>& ids,
                            const std::vector<std::string>& predictions);
// The same as the data set's layout has it, of which some are nested; `scores` are those of the
// positive class, where rows are of groups.
std::string submission_text(const DatasetOptions& options, const std::vector<std::string>& ids,
                            const std::vector<std::string>& predictions,
                            const std::vector<double>& scores);
// A score as it is submitted: within `clip`.
std::string submitted(const SubmissionOptions& submission, double score);

}  // namespace compress::data
