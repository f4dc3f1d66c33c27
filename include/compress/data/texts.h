#pragma once
// The texts of a data set's rows as its file has them, before anything is made of them.

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "compress/data/dataset.h"

namespace compress::data {

struct TextRow {
  int64_t line = 0;                 // as Split::lines
  std::string text, pair;           // of the data set's columns; `pair` is "" without one
  std::vector<std::string> others;  // cells of the other columns that were asked for
};

// Reads one part row by row, whatever labels and lengths say: rows that load_split leaves out are
// read, and the limit is not applied. For tasks whose rows are a text or a pair of texts.
class TextReader {
 public:
  // `others`: names of further columns, each once and none of them a text. Error{data} as
  // load_split for the file and its columns.
  TextReader(const DatasetOptions& options, const std::string& part,
             const std::vector<std::string>& others = {});
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

// The texts of a split's rows by their numbers, read from the file when they are asked for: what is
// kept is where each record of it lies, 16 bytes a record, from the first question on. May be asked
// from many threads.
class RowTexts {
 public:
  // `sha256`: of the file that the rows were read from.
  RowTexts(DatasetOptions options, std::string part, std::string sha256);
  ~RowTexts();
  RowTexts(const RowTexts&) = delete;
  RowTexts& operator=(const RowTexts&) = delete;
  // The columns of the record on `line` as read_texts() names them, of a list each item.
  // Error{data} where the file, at the first question, is no longer what it was.
  std::vector<std::string> at(int64_t line);

 private:
  struct State;
  const DatasetOptions options_;
  const std::string part_, sha256_;
  std::mutex mutex_;
  std::unique_ptr<State> state_;  // from the first question on
};

// The texts of row `row`, in a mixture of its source's: of the whole record, whatever was cut or
// put in front of it. Rows that are made of documents have all sentences of the first text's
// document.
std::vector<std::string> texts_of_row(const Split& split, int64_t row);

// Calls `take` with each text of the rows of a split ("train", ...) in the order of the file: the
// text, then its pair, the text to be written, the choices or the passage where the task has them.
// The words of a tagged row come as one text with spaces between them. Only the first `limit` rows
// are read; no text is cut to max_length, and rows with one of `skip_labels` count as well. The
// view is valid during the call. Errors of files and rows as load_split(), but for labels, which
// are not looked at.
void read_texts(const DatasetOptions& options, const std::string& split,
                const std::function<void(std::string_view)>& take);

}  // namespace compress::data
