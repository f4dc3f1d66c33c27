// Writes what is kept of each row.

#include "compress/base/files.h"
#include "compress/eval/kept.h"

namespace compress::eval {

namespace {

using nn::Json;

std::string class_name(const data::Split& split, int64_t number) {
  const auto at = static_cast<size_t>(number);
  return at < split.labels.size() ? split.labels[at] : std::to_string(number);
}

std::vector<std::string> names_of(const data::Split& split, const uint8_t* holds) {
  std::vector<std::string> names;
  for (size_t label = 0; label < split.labels.size(); ++label)
    if (holds[label] != 0) names.push_back(split.labels[label]);
  return names;
}

std::string dumped(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// What is said of each row.
class Writer {
 public:
  Writer(const data::Split& split, const Evaluation& evaluation)
      : split_(split), evaluation_(evaluation), found_(evaluation.predictions) {
    if (!found_.classes.empty() && evaluation.logits.defined())
      shares_ = at::softmax(evaluation.logits, 1);
  }

  bool fits() const {
    const auto count = static_cast<size_t>(evaluation_.rows);
    return (shares_.defined() && found_.classes.size() == count) || found_.values.size() == count ||
           found_.sets.rows() == evaluation_.rows || found_.texts.written.size() == count;
  }

  Json line(size_t row) const {
    const int64_t first = static_cast<int64_t>(row) * split_.choices;
    Json line = {{"row", split_.lines[static_cast<size_t>(first)]}};
    if (shares_.defined()) {
      const int64_t chosen = found_.classes[row];
      line["prediction"] = class_name(split_, chosen);
      line["label"] = class_name(split_, found_.labels[row]);
      line["score"] =
          shares_.const_data_ptr<float>()[static_cast<int64_t>(row) * shares_.size(1) + chosen];
    } else if (!found_.values.empty()) {
      line["prediction"] = found_.values[row];
      line["label"] = found_.targets[row];
    } else if (found_.sets.labels > 0) {
      add_set(row, line);
    } else {
      line["written"] = found_.texts.written[row];
      line["references"] = found_.texts.references[row];
    }
    if (row >= found_.ranked.groups.size()) return line;
    line["query"] = found_.ranked.groups[row];
    if (row < found_.ranked.candidates.size()) line["candidate"] = found_.ranked.candidates[row];
    if (shares_.defined()) {
      line["log_odds"] = found_.ranked.scores[row];
      line["relevant"] = found_.ranked.relevance[row] > 0;
    }
    return line;
  }

 private:
  void add_set(size_t row, Json& line) const {
    const auto width = static_cast<size_t>(found_.sets.labels);
    line["prediction"] = names_of(split_, found_.sets.chosen.data() + row * width);
    line["label"] = names_of(split_, found_.sets.given.data() + row * width);
    for (size_t label = 0; label < width; ++label)
      line["log_odds"][class_name(split_, static_cast<int64_t>(label))] =
          found_.sets.scores[row * width + label];
  }

  const data::Split& split_;
  const Evaluation& evaluation_;
  const Predictions& found_;
  torch::Tensor shares_;
};

std::string lines_of(const Answers& answers) {
  std::string text;
  for (size_t i = 0; i < answers.exact.size(); ++i) {
    Json line = {{"row", i + 1},
                 {"id", answers.ids[i]},
                 {"answer", answers.texts[i]},
                 {"exact", answers.exact[i]},
                 {"f1", answers.f1[i]}};
    if (!answers.has_answer.empty()) {
      line["has_answer"] = answers.has_answer[i] != 0;
      line["null_odds"] = answers.null_odds[i];
    }
    text += dumped(line) + "\n";
  }
  return text;
}

}  // namespace

bool write_predictions(const std::filesystem::path& file, const data::Split& split,
                       const Evaluation& evaluation) {
  if (const Answers& answers = evaluation.predictions.answers; answers.questions() > 0) {
    write_file(file, lines_of(answers));
    return true;
  }
  const Writer writer(split, evaluation);
  if (!writer.fits()) return false;
  std::string text;
  for (int64_t row = 0; row < evaluation.rows; ++row)
    text += dumped(writer.line(static_cast<size_t>(row))) + "\n";
  write_file(file, text);
  return true;
}

void write_answers(const std::filesystem::path& file, const std::filesystem::path& null_odds,
                   const Predictions& predictions) {
  const Answers& answers = predictions.answers;
  Json texts = Json::object(), odds = Json::object();
  for (size_t i = 0; i < answers.ids.size(); ++i) {
    texts[answers.ids[i]] = answers.texts[i];
    if (!answers.null_odds.empty()) odds[answers.ids[i]] = answers.null_odds[i];
  }
  write_file(file, dumped(texts) + "\n");
  if (!odds.empty() && !null_odds.empty()) write_file(null_odds, dumped(odds) + "\n");
}

}  // namespace compress::eval
