#pragma once
// A layout as a component: one entry of a file of this folder; register.cpp lists the files.

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
using RowMaker = std::vector<NamedCells> (*)(const nlohmann::json& object);
struct RowProblem {
  std::string what, hint;
};

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
};

// One benchmark a file.
std::vector<PublishedLayout> glue_layouts();
std::vector<PublishedLayout> super_glue_layouts();
std::vector<PublishedLayout> single_layouts();

const std::vector<PublishedLayout>& layouts();
const PublishedLayout* find_layout(std::string_view name);

// JSONL whose objects become rows as the layout says.
std::unique_ptr<Reader> open_made_rows(Source& source, RowMaker rows, std::vector<Column> columns);

}  // namespace compress::data
