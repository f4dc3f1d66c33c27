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

// Reads one line after the other, all of one kind.
class PredictionReader {
 public:
  PredictionReader(const std::filesystem::path& file, KeptPredictions& kept)
      : file_(file), kept_(kept), found_(kept.predictions) {}

  void read(const std::string& text) {
    ++at_;
    const Json line = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!line.is_object() || !line.contains("row") || !line["row"].is_number_integer())
      refuse(file_, at_, "this is no prediction");
    try {
      take(line);
    } catch (const Json::exception&) {
      refuse(file_, at_, "this is no prediction");
    }
    kept_.rows.push_back(line["row"].get<int64_t>());
    for (const char* right : {"label", "references", "id"})
      if (line.contains(right))
        key_.update(str(kept_.rows.back(), " ",
                        line[right].dump(-1, ' ', false, Json::error_handler_t::replace), "\n"));
  }

  void finish() {
    if (kept_.rows.empty()) refuse(file_, 1, "the file has no prediction");
    found_.num_classes = names_.count();
    kept_.key = key_.hex().substr(0, 16);
  }

 private:
  enum class Kind { none, classes, values, sets, answers, texts };
  // All lines say the same things.
  void is(Kind kind) {
    if (kind_ != Kind::none && kind_ != kind)
      refuse(file_, at_, "a prediction and its label are of another kind than those before");
    kind_ = kind;
  }

  void take(const Json& line) {
    if (line.contains("answer")) return take_answer(line);
    if (line.contains("written")) {
      is(Kind::texts);
      found_.texts.written.push_back(line["written"].get<std::string>());
      found_.texts.references.push_back(line.at("references").get<std::vector<std::string>>());
      if (found_.texts.references.back().empty()) refuse(file_, at_, "a text without references");
      return;
    }
    const Json &prediction = line.at("prediction"), &label = line.at("label");
    if (prediction.is_array() && label.is_array()) return take_set(line);
    if (prediction.is_string() && label.is_string()) {
      is(Kind::classes);
      found_.classes.push_back(names_.number(prediction.get<std::string>()));
      found_.labels.push_back(names_.number(label.get<std::string>()));
    } else if (prediction.is_number() && label.is_number()) {
      is(Kind::values);
      found_.values.push_back(prediction.get<double>());
      found_.targets.push_back(label.get<double>());
    } else {
      refuse(file_, at_, "a prediction and its label are two names or two numbers, as all lines");
    }
    take_query(line);
  }

  void take_query(const Json& line) {
    RankedRows& ranked = found_.ranked;
    const bool first = kept_.rows.empty(), query = line.contains("query");
    if (!first && query == ranked.groups.empty())
      refuse(file_, at_, "queries are of all rows or none");
    if (!query) return;
    ranked.groups.push_back(line["query"].get<int64_t>());
    if (line.contains("candidate"))
      ranked.candidates.push_back(line["candidate"].get<std::string>());
    const bool values = kind_ == Kind::values;
    ranked.scores.push_back(values ? found_.values.back() : line.at("log_odds").get<double>());
    ranked.relevance.push_back(values                            ? found_.targets.back()
                               : line.at("relevant").get<bool>() ? 1
                                                                 : 0);
  }

  void take_set(const Json& line) {
    is(Kind::sets);
    LabelSets& sets = found_.sets;
    const Json& odds = line.at("log_odds");
    if (sets.labels == 0) {
      sets.labels = static_cast<int64_t>(odds.size());
      for (const auto& [name, value] : odds.items()) names_.number(name);
    }
    if (static_cast<int64_t>(odds.size()) != sets.labels || sets.labels == 0)
      refuse(file_, at_, "other labels than before");
    const size_t first = sets.scores.size(), width = odds.size();
    sets.scores.resize(first + width);
    sets.chosen.resize(first + width);
    sets.given.resize(first + width);
    auto place = [&](const std::string& name) {
      const auto label = static_cast<size_t>(names_.number(name));
      if (label >= width) refuse(file_, at_, "a label without log-odds");
      return first + label;
    };
    for (const auto& [name, value] : odds.items()) sets.scores[place(name)] = value.get<double>();
    for (const Json& name : line["prediction"]) sets.chosen[place(name.get<std::string>())] = 1;
    for (const Json& name : line["label"]) sets.given[place(name.get<std::string>())] = 1;
  }

  void take_answer(const Json& line) {
    is(Kind::answers);
    Answers& answers = found_.answers;
    answers.ids.push_back(line.at("id").get<std::string>());
    answers.texts.push_back(line["answer"].get<std::string>());
    answers.exact.push_back(line.at("exact").get<double>());
    answers.f1.push_back(line.at("f1").get<double>());
    if (line.contains("has_answer")) answers.has_answer.push_back(line["has_answer"].get<bool>());
    if (!answers.has_answer.empty() && answers.has_answer.size() != answers.exact.size())
      refuse(file_, at_, "has_answer is of all questions or of none");
  }

  const std::filesystem::path& file_;
  KeptPredictions& kept_;
  Predictions& found_;
  Names names_;
  Sha256 key_;
  Kind kind_ = Kind::none;
  int64_t at_ = 0;
};

}  // namespace

KeptPredictions read_predictions(const std::filesystem::path& file) {
  std::ifstream input(file);
  if (!input)
    throw Error(ErrorKind::data, "there are no predictions", file.string(),
                "run the stage again; they are kept for what is said of rows, questions and texts");
  KeptPredictions kept;
  PredictionReader reader(file, kept);
  for (std::string text; std::getline(input, text);) reader.read(text);
  reader.finish();
  return kept;
}

bool is_mean_over_rows(const std::string& metric) {
  return is_metric(metric) && metric_of(metric).kind->parts != nullptr;
}

std::string means_over_rows() {
  std::vector<std::string> names;
  for (const std::string& name : metrics().names()) {
    const bool any = name.ends_with("@k");  // asked for with a number
    if (is_mean_over_rows(any ? name.substr(0, name.size() - 1) + "1" : name))
      names.push_back(name);
  }
  return join(names, ", ");
}

RowScores row_scores(const KeptPredictions& kept, const std::string& metric) {
  if (!is_mean_over_rows(metric))
    throw Error(ErrorKind::recipe, "the metric '" + metric + "' is no mean over rows or queries",
                {}, "those that are: " + means_over_rows());
  const AskedMetric asked = metric_of(metric);
  Parts parts = asked.kind->parts(kept.predictions, asked.at);
  if (parts.values.empty())
    throw Error(ErrorKind::recipe, "the metric '" + metric + "' does not fit these predictions", {},
                "accuracy is of classes, mse of scores, map of rows of queries");
  RowScores found{kept.key, std::move(parts.values)};
  if (!parts.ids.empty()) {
    std::string ids;
    for (int64_t id : parts.ids) ids += str(id, " ");
    found.rows += " " + sha256(ids).substr(0, 8);
  }
  if (!asked.kind->higher_is_better)
    for (double& score : found.scores) score = -score;
  return found;
}

std::vector<double> row_differences(const RowScores& first, const RowScores& second) {
  if (first.rows != second.rows || first.scores.size() != second.scores.size())
    throw Error(ErrorKind::data, "the two models were scored on other rows or queries", {},
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
