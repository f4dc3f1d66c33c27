#include "compress/eval/kept.h"

#include <algorithm>
#include <fstream>
#include <map>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/hash.h"
#include "compress/base/strings.h"
#include "compress/eval/metric.h"

namespace compress::eval {

namespace {

using nn::Json;

std::string class_name(const data::Split& split, int64_t number) {
  const auto at = static_cast<size_t>(number);
  return at < split.labels.size() ? split.labels[at] : std::to_string(number);
}

[[noreturn]] void refuse(const std::filesystem::path& file, int64_t line, const std::string& what) {
  throw Error(ErrorKind::data, what, str(file.string(), ":", line),
              "run the stage that was scored again");
}

// Numbers of classes by name, in the order in which the names appear.
class Names {
 public:
  int64_t number(const std::string& name) {
    return numbers_.try_emplace(name, static_cast<int64_t>(numbers_.size())).first->second;
  }
  int64_t count() const { return static_cast<int64_t>(numbers_.size()); }

 private:
  std::map<std::string, int64_t> numbers_;
};

}  // namespace

bool write_predictions(const std::filesystem::path& file, const data::Split& split,
                       const Evaluation& evaluation) {
  const Predictions& found = evaluation.predictions;
  const bool classes = !found.classes.empty() && evaluation.logits.defined(),
             values = !found.values.empty();
  if (!classes && !values) return false;
  const auto count = static_cast<size_t>(evaluation.rows);
  if ((classes ? found.classes.size() : found.values.size()) != count) return false;
  torch::Tensor shares;
  if (classes) shares = at::softmax(evaluation.logits, 1);
  std::string text;
  for (size_t row = 0; row < count; ++row) {
    const int64_t first = static_cast<int64_t>(row) * split.choices;
    Json line = {{"row", split.lines[static_cast<size_t>(first)]}};
    if (classes) {
      const int64_t chosen = found.classes[row];
      line["prediction"] = class_name(split, chosen);
      line["label"] = class_name(split, found.labels[row]);
      line["score"] =
          shares.const_data_ptr<float>()[static_cast<int64_t>(row) * shares.size(1) + chosen];
    } else {
      line["prediction"] = found.values[row];
      line["label"] = found.targets[row];
    }
    text += line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  }
  write_file(file, text);
  return true;
}

KeptPredictions read_predictions(const std::filesystem::path& file) {
  std::ifstream input(file);
  if (!input)
    throw Error(ErrorKind::data, "there are no predictions", file.string(),
                "run the stage again; they are kept for classes and scores of rows");
  KeptPredictions kept;
  Predictions& found = kept.predictions;
  Names names;
  Sha256 key;
  constexpr auto replace = Json::error_handler_t::replace;
  int64_t at = 0;
  for (std::string text; std::getline(input, text);) {
    ++at;
    const Json line = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!line.is_object() || !line.contains("row") || !line["row"].is_number_integer() ||
        !line.contains("prediction") || !line.contains("label"))
      refuse(file, at, "this is no prediction");
    const Json &prediction = line["prediction"], &label = line["label"];
    if (prediction.is_string() && label.is_string() && found.values.empty()) {
      found.classes.push_back(names.number(prediction.get<std::string>()));
      found.labels.push_back(names.number(label.get<std::string>()));
    } else if (prediction.is_number() && label.is_number() && found.classes.empty()) {
      found.values.push_back(prediction.get<double>());
      found.targets.push_back(label.get<double>());
    } else {
      refuse(file, at, "a prediction and its label are two names or two numbers, as all lines");
    }
    kept.rows.push_back(line["row"].get<int64_t>());
    key.update(str(kept.rows.back(), " ", label.dump(-1, ' ', false, replace), "\n"));
  }
  if (kept.rows.empty()) refuse(file, 1, "the file has no prediction");
  found.num_classes = names.count();
  kept.key = key.hex().substr(0, 16);
  return kept;
}

bool is_mean_over_rows(const std::string& metric) {
  return is_metric(metric) && metric_of(metric).kind->of_rows != nullptr;
}

std::string means_over_rows() {
  std::vector<std::string> names;
  for (const std::string& name : metrics().names())
    if (is_mean_over_rows(name)) names.push_back(name);
  return join(names, ", ");
}

RowScores row_scores(const KeptPredictions& kept, const std::string& metric) {
  if (!is_mean_over_rows(metric))
    throw Error(ErrorKind::recipe, "the metric '" + metric + "' is no mean over rows", {},
                "those that are: " + means_over_rows());
  const MetricKind& kind = *metric_of(metric).kind;
  RowScores found{kept.key, kind.of_rows(kept.predictions)};
  if (found.scores.size() != kept.rows.size())
    throw Error(ErrorKind::recipe, "the metric '" + metric + "' does not fit these predictions", {},
                "accuracy is of classes, mse of scores");
  if (!kind.higher_is_better)
    for (double& score : found.scores) score = -score;
  return found;
}

std::vector<double> row_differences(const RowScores& first, const RowScores& second) {
  if (first.rows != second.rows || first.scores.size() != second.scores.size())
    throw Error(ErrorKind::data, "the two models were scored on other rows", {},
                "compare stages that are scored on the same data");
  std::vector<double> differences;
  for (size_t row = 0; row < first.scores.size(); ++row)
    differences.push_back(first.scores[row] - second.scores[row]);
  return differences;
}

std::vector<double> row_differences(const KeptPredictions& first, const KeptPredictions& second,
                                    const std::string& metric) {
  return row_differences(row_scores(first, metric), row_scores(second, metric));
}

}  // namespace compress::eval
