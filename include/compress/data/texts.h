#pragma once
// The texts of a data set's rows as its file has them, for stages that write rows of their own.

#include <cstdint>
#include <memory>
#include <string>

#include "compress/data/dataset.h"

namespace compress::data {

struct TextRow {
  int64_t line = 0;        // as Split::lines
  std::string text, pair;  // of the data set's columns; `pair` is "" without one
};

// Reads one part row by row, whatever labels and lengths say: rows that load_split leaves out are
// read, and the limit is not applied. For tasks whose rows are a text or a pair of texts.
class TextReader {
 public:
  // Error{data} as load_split for the file and its columns.
  TextReader(const DatasetOptions& options, const std::string& part);
  ~TextReader();
  TextReader(const TextReader&) = delete;
  TextReader& operator=(const TextReader&) = delete;
  // False at the end. Error{data} with the line of a row that cannot be read.
  bool next(TextRow& row);
  std::string place(int64_t line) const;  // "data/movies/train.tsv:17"

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace compress::data
