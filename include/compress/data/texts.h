#pragma once
// The texts of a data set's rows as its file has them, before anything is made of them.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

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

// Calls `take` with each text of the rows of a split ("train", ...) in the order of the file: the
// text, then its pair, the text to be written, the choices or the passage where the task has them.
// The words of a tagged row come as one text with spaces between them. Only the first `limit` rows
// are read; no text is cut to max_length, and rows with one of `skip_labels` count as well. The
// view is valid during the call. Errors of files and rows as load_split(), but for labels, which
// are not looked at.
void read_texts(const DatasetOptions& options, const std::string& split,
                const std::function<void(std::string_view)>& take);

}  // namespace compress::data
