#pragma once
// A data file as a stream of tokenised rows.

#include <limits>
#include <string_view>
#include <vector>

#include "labels.h"

namespace compress::data {

// Reads and tokenises a file in chunks of bounded size. Rows that cannot be used do not end the
// stream at once: the rest is still read to count them all.
class RowStream {
 public:
  // `head` says what is read: file, task, labels. The source and the tokenizer must outlive the
  // stream.
  RowStream(Source& source, const DatasetOptions& options, const text::Tokenizer& tokenizer,
            const Split& head, int threads);
  // The next rows, valid until the next call; null at the end. Error{data} as load_split; at the
  // end for all rows that cannot be used.
  const Split* next();
  int64_t blank_lines() const { return reader_->blank_lines(); }
  double fraction() const;  // of the file that was read

 private:
  bool read();  // fills chunk_, first_ and second_; false where nothing is left
  void tokenise();
  // Throws the error of the first row that the tokenizer refuses, with the row's place.
  void find_refused(const text::EncodeOptions& how) const;
  void raise() const;

  Source& source_;
  const text::Tokenizer& tokenizer_;
  const bool header_, pair_;
  const int64_t max_length_;
  const int threads_;
  const int64_t wanted_;
  Split chunk_;
  std::unique_ptr<Reader> reader_;
  TargetReader targets_;
  Record record_;
  std::vector<std::string_view> first_, second_;  // views of the source
  int64_t rows_ = 0;
  BadRows unusable_, empty_;
};

}  // namespace compress::data
