#pragma once
// What a model said of each row of a part, kept beside its scores: two models can be compared row
// by row, and the scores computed again.

#include <cstdint>
#include <filesystem>
#include <vector>

#include "compress/data/dataset.h"
#include "compress/eval/evaluate.h"

namespace compress::eval {

// One JSON object a line, in the order of the rows: {"row": line of the row in its file,
// "prediction", "label", "score"}. Of classes their names and the prediction's probability; of
// scores the numbers. False where the task has other predictions: then nothing is written.
// Error{disk}.
bool write_predictions(const std::filesystem::path& file, const data::Split& split,
                       const Evaluation& evaluation);

struct KeptPredictions {
  std::string key;  // a hash of the rows and their labels
  std::vector<int64_t> rows;
  Predictions predictions;  // classes and labels, or values and targets
};
// Error{data} naming file and line for what write_predictions() did not write.
KeptPredictions read_predictions(const std::filesystem::path& file);

// What a model scored on each row of a part, signed so that more is better.
struct RowScores {
  std::string rows;  // tells the rows and their labels from others
  std::vector<double> scores;
};
// Error{recipe} for a metric that is no mean over rows.
RowScores row_scores(const KeptPredictions& kept, const std::string& metric);
// first - second, row by row. Error{data} where they are not of the same rows and labels.
std::vector<double> row_differences(const RowScores& first, const RowScores& second);
// What the model of `first` scored on each row more than that of `second`, signed so that more is
// better. Error{data} where they are not of the same rows and labels; Error{recipe} for a metric
// that is no mean over rows.
std::vector<double> row_differences(const KeptPredictions& first, const KeptPredictions& second,
                                    const std::string& metric);
// Whether row_differences() can be told of a metric.
bool is_mean_over_rows(const std::string& metric);
// "accuracy, mse"
std::string means_over_rows();

}  // namespace compress::eval
