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
// scores the numbers; of label sets lists of names, and "log_odds" of each label; of written texts
// "written" and "references"; of questions, in their order, "id", "answer", "exact", "f1" and,
// where some have no answer, "has_answer" and "null_odds". Rows of queries have "query", and of
// classes the "log_odds" of the positive one. False where the task has other predictions: then
// nothing is written. Error{disk}.
bool write_predictions(const std::filesystem::path& file, const data::Split& split,
                       const Evaluation& evaluation);

// SQuAD's files: {id: answer} as its evaluation script reads it, and {id: null odds}, for the
// threshold; the second is not written where every question has an answer, or its name is empty.
// Error{disk}.
void write_answers(const std::filesystem::path& answers, const std::filesystem::path& null_odds,
                   const Predictions& predictions);

struct KeptPredictions {
  std::string key;            // a hash of the rows and what is right of them
  std::vector<int64_t> rows;  // of questions: their numbers
  Predictions predictions;
};
// Error{data} naming file and line for what write_predictions() did not write.
KeptPredictions read_predictions(const std::filesystem::path& file);

// What a model scored on each row (or query) of a part, signed so that more is better.
struct RowScores {
  std::string rows;  // tells the rows (queries) and their labels from others
  std::vector<double> scores;
};
// Error{recipe} for a metric that is no mean over rows or queries, or not of these predictions.
RowScores row_scores(const KeptPredictions& kept, const std::string& metric);
// first - second, row by row. Error{data} where they are not of the same rows and labels.
std::vector<double> row_differences(const RowScores& first, const RowScores& second);
// The same of what two models said of rows.
std::vector<double> row_differences(const KeptPredictions& first, const KeptPredictions& second,
                                    const std::string& metric);
// Whether row_differences() can be told of a metric: it is a mean over rows, questions or queries.
bool is_mean_over_rows(const std::string& metric);
// "accuracy, mse, ..."
std::string means_over_rows();

}  // namespace compress::eval
