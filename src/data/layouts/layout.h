#pragma once
// A layout as a component: one entry of a file of this folder; register.cpp lists the files.

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "compress/data/layouts.h"
#include "files/reader.h"

namespace compress::data {

// The named cells of a row.
using NamedCells = std::vector<std::pair<std::string, std::string>>;

// Makes the rows of one object of a JSONL file. Throws RowProblem.
using RowMaker = std::function<std::vector<NamedCells>(const nlohmann::json& object)>;
struct RowProblem {
  std::string what, hint;
};

// A benchmark's own form of a file that is submitted: of the rows' ids, classes and scores (of the
// positive class, as log-odds).
using SubmissionMaker = std::string (*)(const std::vector<std::string>& ids,
                                        const std::vector<std::string>& predictions,
                                        const std::vector<double>& scores);

struct PublishedLayout {
  std::string name;     // benchmark, "/", task
  std::string summary;  // what is predicted
  // Keys of a data set as YAML. Names of files are those in the data set's `folder`.
  std::string keys;
  RowMaker rows = nullptr;  // null: the file's own columns
  // How its tasks make a benchmark's score: those that are a part of another one count with it,
  // those that are no task (diagnostics) not at all.
  enum class Counts { as_task, often_left_out, never } counts = Counts::as_task;
  std::string part_of;
  SubmissionMaker send = nullptr;  // null: as submission_text() has it
  // Rows that other files of the folder decide as well; called once a reading of a file.
  RowMaker (*rows_of)(const DatasetOptions& options) = nullptr;
  bool makes_rows() const { return rows != nullptr || rows_of != nullptr; }
};
// What decides how rows are made beside the layout's name.
std::string row_identity(const PublishedLayout& layout, const DatasetOptions& options);

// One benchmark a file.
std::vector<PublishedLayout> glue_layouts();
std::vector<PublishedLayout> super_glue_layouts();
std::vector<PublishedLayout> single_layouts();
std::vector<PublishedLayout> similarity_layouts();
std::vector<PublishedLayout> few_shot_layouts();

const std::vector<PublishedLayout>& layouts();
const PublishedLayout* find_layout(std::string_view name);

// JSONL whose objects become rows as the layout says.
std::unique_ptr<Reader> open_made_rows(Source& source, RowMaker rows, std::vector<Column> columns);

// Parts of nested JSON, for row makers; a RowProblem where there is none of that kind.
const nlohmann::json& part_at(const nlohmann::json& object, const char* key);
std::string text_at(const nlohmann::json& object, const char* key);
const nlohmann::json& list_at(const nlohmann::json& object, const char* key);

}  // namespace compress::data
