#include "compress/data/submission.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/data/classes.h"
#include "layouts/layout.h"
#include "tasks/task.h"

namespace compress::data {

namespace {

const SubmissionOptions& submission_of(const DatasetOptions& options) {
  if (options.submission) return *options.submission;
  throw Error(ErrorKind::recipe, "the data set names no rows to submit", options.mark.text(),
              "add `submission: {file: test.tsv, as: NAME.tsv}`, or a `layout` that has them");
}

nlohmann::json number_or_text(const std::string& text) {
  const std::optional<int64_t> number = placeholder_number(text);
  return number && str(*number) == text ? nlohmann::json(*number) : nlohmann::json(text);
}

}  // namespace

DatasetOptions rows_to_submit(const DatasetOptions& options) {
  const SubmissionOptions& submission = submission_of(options);
  DatasetOptions rows = options;
  rows.train = rows.validation = Origin();
  rows.test = submission.file;
  rows.subset.reset();
  rows.held_out.reset();
  rows.candidate.clear();
  rows.bad_rows.clear();  // every row is to be answered
  rows.skip_labels.clear();
  rows.weight.clear();
  rows.id.clear();
  rows.metrics.clear();
  if (!submission.text.empty()) rows.text = submission.text;
  if (!submission.pair.empty()) rows.pair = submission.pair;
  if (submission.header) rows.header = *submission.header;
  const TaskKind& kind = kind_of(rows);
  if (!kind.facts().labelled || kind.text_kind() != CellKind::one)
    throw Error(ErrorKind::recipe, str("rows of ", kind.facts().name, " are not submitted so"),
                submission.mark.text(), "classes, scores and choices are");
  rows.soft_labels.clear();
  if (kind.facts().class_names) rows.labels = label_names(options);
  // A choice's own names are its numbers.
  rows.label = rows.labels.empty() ? "{=0}" : "{=" + rows.labels.front() + "}";
  return rows;
}

std::vector<std::string> ids_to_submit(const DatasetOptions& options) {
  const SubmissionOptions& submission = submission_of(options);
  const DatasetOptions rows = rows_to_submit(options);
  Source source(split_file(rows, "test"));
  const std::string& column = submission.id.empty() ? rows.text : submission.id;
  auto reader = open_reader(source, rows, {{column, false}});
  std::vector<std::string> ids;
  Record record;
  BadRows bad;
  const int64_t most = rows.limit.value_or(std::numeric_limits<int64_t>::max());
  while (static_cast<int64_t>(ids.size()) < most && reader->next(record)) {
    if (!record.problem.empty()) bad.add(record.line, record.problem, record.hint);
    ids.push_back(submission.id.empty() || record.cells.empty()
                      ? str(ids.size())
                      : std::string(trim(record.cells[0])));
    source.forget();
  }
  bad.raise(source, static_cast<int64_t>(ids.size()));
  return ids;
}

std::string submission_text(const SubmissionOptions& submission,
                            const std::vector<std::string>& ids,
                            const std::vector<std::string>& predictions) {
  if (ids.size() != predictions.size())
    throw Error(ErrorKind::internal, "rows and predictions of a submission differ in number");
  const bool lines = submission.as.ends_with(".jsonl");
  const std::string key = submission.key.empty() ? "index" : submission.key;
  std::string text = lines ? "" : "index\tprediction\n";
  for (size_t row = 0; row < ids.size(); ++row) {
    if (!lines) {
      text += ids[row] + "\t" + predictions[row] + "\n";
      continue;
    }
    nlohmann::ordered_json line;
    line[key] = number_or_text(ids[row]);
    line["label"] = number_or_text(predictions[row]);
    text += line.dump() + "\n";
  }
  return text;
}

std::string submission_text(const DatasetOptions& options, const std::vector<std::string>& ids,
                            const std::vector<std::string>& predictions,
                            const std::vector<double>& scores) {
  const PublishedLayout* layout = find_layout(options.layout);
  if (layout == nullptr || layout->send == nullptr)
    return submission_text(submission_of(options), ids, predictions);
  if (ids.size() != predictions.size() || ids.size() != scores.size())
    throw Error(ErrorKind::internal, "rows and predictions of a submission differ in number");
  return layout->send(ids, predictions, scores);
}

std::string submitted(const SubmissionOptions& submission, double score) {
  if (submission.clip.size() == 2)
    score = std::clamp(score, submission.clip[0], submission.clip[1]);
  return fixed(score, 3);
}

}  // namespace compress::data
