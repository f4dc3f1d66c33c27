#pragma once
// A data file as a stream of tokenised rows.

#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "compress/text/batch.h"
#include "files/reader.h"
#include "rows/documents.h"
#include "tasks/task.h"

namespace compress::data {

// Puts a token behind each text that has fewer than `max_length` (0 = no limit) and does not end
// with it.
void append_token(text::PackedIds& packed, int32_t token, int64_t max_length);
// Takes away a token that ends a text, of those that have others.
void drop_ends(text::PackedIds& packed, int32_t token);
// Leaves out the texts that have no tokens but `special` ones, with what `chunk` holds of their
// rows (lines, weights, groups). How many they were.
int64_t drop_empty(text::PackedIds& packed, int64_t special, Split& chunk);
// Leaves out the marked texts with all that `chunk` holds of their rows; of an example with
// choices, one marked text takes the others with it.
void drop_rows(text::PackedIds& packed, const std::vector<bool>& marked, Split& chunk);
// The special tokens before and behind a text.
struct Ends {
  std::vector<int32_t> front, back;
};
// Makes of each text with more than `max_length` tokens several, each of them between the special
// tokens, with what `chunk` holds of their rows.
void split_long(text::PackedIds& packed, int64_t max_length, const Ends& ends, Split& chunk);
// Leaves out the texts of fewer than `min_length` tokens, or of whose tokens the share
// `max_unknown` or more are `unknown`, with what `chunk` holds of their rows. How many they were.
int64_t drop_poor(text::PackedIds& packed, int64_t min_length, std::optional<double> max_unknown,
                  int32_t unknown, Split& chunk);
// Each text of `first`, followed by that of `second`; first_lengths are those of `first`.
text::PackedIds alternated(const text::PackedIds& first, const text::PackedIds& second);

// Texts one behind the other, cut into rows of one length.
class Blocks {
 public:
  explicit Blocks(int64_t length) : length_(length) {}
  // Takes the rows of `chunk` and leaves in it those that are full.
  void cut(Split& chunk);
  // Leaves in `chunk` what remained, a shorter row; false where nothing did.
  bool finish(Split& chunk);

 private:
  void add(Split& chunk);  // what is collected, as a row

  int64_t length_, line_ = 0;  // line_: of the first token that is collected
  std::vector<int32_t> rest_;
};

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
  int64_t empty_rows() const { return dropped_; }  // without text, left out
  int64_t skipped() const { return skipped_; }     // with one of `skip_labels`, left out
  double fraction() const;                         // of the file that was read

  // Ways to make tokens of the texts at hand, for TaskKind::tokenise.
  void tokenise_texts();
  void tokenise_words();
  void tokenise_passages();
  void tokenise_documents();
  void tokenise_gaps();  // src/data/tasks/cloze.cpp

 private:
  size_t take_texts();
  Ends ends() const;
  bool read();  // fills chunk_, first_ and second_; false where nothing is left
  text::PackedIds encode(std::span<const std::string_view> first,
                         std::span<const std::string_view> second, int64_t max_length,
                         bool special = true) const;
  // Special tokens that every text has; -1 where a row has no room for others.
  int64_t special(int64_t max_length) const;
  void find_empty(const text::PackedIds& packed, int64_t special, const char* what);
  // With `bad_rows: skip`: takes back the last row, which cannot be used.
  void take_back();
  // Throws the error of the first text that the tokenizer refuses, with its row's place.
  void find_refused(std::span<const std::string_view> first,
                    std::span<const std::string_view> second, const text::EncodeOptions& how) const;
  void raise() const;

  Source& source_;
  const text::Tokenizer& tokenizer_;
  const DatasetOptions& options_;
  const bool header_, pair_, target_, placed_, drops_;  // drops_: rows without text are left out
  const int64_t max_length_, max_target_length_;
  const int32_t end_;  // behind each text; -1 = none
  const int threads_;
  const int64_t wanted_;
  Split chunk_;
  std::unique_ptr<Reader> reader_;
  TargetReader targets_;
  Record record_;
  std::vector<std::string_view> first_, second_;    // views of the source
  std::vector<std::string_view> answers_, places_;  // the same (span)
  std::optional<Blocks> blocks_;
  const bool skips_bad_;
  std::vector<bool> lacking_;  // texts at hand that have no token, or whose target has none
  std::optional<SentencePairs> pairs_;  // next_sentence
  int64_t documents_ = 0;               // that were read for it
  int64_t rows_ = 0, dropped_ = 0, skipped_ = 0;
  bool left_any_ = false;
  int64_t poor_ = 0;  // left out by min_length and max_unknown
  BadRows unusable_, empty_;
};

}  // namespace compress::data
