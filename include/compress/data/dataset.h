#pragma once
// Text data sets: what a recipe says of one, and its splits read, checked and tokenised once.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "compress/data/array.h"
#include "compress/data/batch.h"
#include "compress/recipe/options.h"
#include "compress/recipe/reference.h"
#include "compress/text/tokenizer.h"

namespace compress::data {

// language_model: each token's label is the next one of its row. sequence_to_sequence: a row is a
// source text and the text to be written for it. token_classification: a class for each word. span:
// the part of a passage that answers a question. multiple_choice: which of several second texts
// fits the first. multi_label: any number of classes. prompted: which of several answers a language
// model thinks likeliest behind a prompt. cloze: the one token that a masked LM is to put in a gap.
// similarity: two texts, each read by itself, and how near their embeddings are to be.
enum class Task {
  classification,
  regression,
  unlabelled,
  language_model,
  sequence_to_sequence,
  token_classification,
  span,
  multiple_choice,
  next_sentence,
  multi_label,
  prompted,
  cloze,
  similarity
};

// Where the rows of a part come from: a file (`train: data/train.tsv`), or an earlier stage of the
// recipe (`train: {stage: annotate}`), whose file is then not known before that stage has run.
struct Origin {
  // "" = none, or not known yet. A file that exists; "-", standard input; a pattern (`part-*.tsv`);
  // or several of these with " + " between them, read one after the other (files/contents.h).
  std::string file;
  recipe::RowsReference stage;
  recipe::Mark mark;
  Origin() = default;
  Origin(std::string path) : file(std::move(path)) {}  // NOLINT: a path is where rows come from
  Origin(const char* path) : file(path) {}             // NOLINT
  bool empty() const { return file.empty() && stage.empty(); }
};

// Which rows of the training file are read: those of an index file, or a share of each class.
struct SubsetOptions {
  std::string file;                // numbers of rows from 0, one a line
  std::optional<double> fraction;  // of the rows of each class, at least one of each
  std::optional<int64_t> per_class;
  int64_t seed = 1;
  recipe::Mark mark;
  static const recipe::Options<SubsetOptions>& options();
};

// Rows of some domains: training and validation do not see them, the test part has no others.
struct HeldOutOptions {
  std::string column;
  std::vector<std::string> values;
  std::string part;  // which part the options are of, once part_options() has said so
  recipe::Mark mark;
  static const recipe::Options<HeldOutOptions>& options();
};

// Rows without labels whose answers a benchmark's server scores.
struct SubmissionOptions {
  Origin file;
  std::string text, pair;      // "": as the data set
  std::string id;              // column of what names a row; "": its number from 0
  std::optional<bool> header;  // left out: as the data set
  std::string as;              // name of the file that is written
  std::string key;             // jsonl: the key of the row's name
  std::vector<double> clip;    // bounds of scores, or empty
  recipe::Mark mark;
  static const recipe::Options<SubmissionOptions>& options();
};

// One entry of a recipe's `data:` map. A `layout` fills in what its benchmark's files have
// (data/layouts.h) where the entry does not say it. Names of columns may be templates of several
// ("{premise} because", files/templates.h).
struct DatasetOptions {
  std::string layout, folder;
  std::string format;  // tsv | csv | jsonl | conll | squad | text; "" = by the file's extension
  Origin train, validation, test;
  std::string text;                     // column: name, or number from 0 (span: the question)
  std::string pair;                     // second sentence's column (span: the passage), "" = none
  std::string label;                    // column of the label, score, or words' classes
  std::string target;                   // column of the text to be written (sequence_to_sequence)
  std::string task = "classification";  // name of a Task
  std::vector<std::string>
      labels;  // class names in order; empty = sorted names found in the training file
  std::vector<std::string>
      soft_labels;  // columns of probabilities, one a class, instead of `label`
  std::vector<std::string> label_columns;  // multi_label: columns of 0 or 1, one a class, instead
  std::string label_separator;             // multi_label: what separates names in the label's cell
  std::vector<std::string> skip_labels;    // rows with one of these labels are left out
  // Columns of further accepted texts beside `target`, which scores compare with and nothing else.
  std::vector<std::string> references;
  std::vector<std::string> verbalizer;  // prompted: the text that answers for each of `labels`
  std::string option_score = "mean";    // prompted: mean | sum of an answer's log-probabilities
  recipe::Reference positive;           // the class that `f1` is about; "" = see classes.h
  std::string answer, answer_start;  // span: columns of the answer and of its place, in characters
  std::vector<std::string> choices;  // multiple_choice: columns of the second texts
  std::string weight;     // column of what a row's losses are multiplied by in training, "" = none
  std::string group;      // column whose text is the same for the rows of one query, "" = none
  std::string id;         // column of what names a row: two with the same are bad rows, "" = none
  std::string candidate;  // column of the answer that a row of a group proposes, "" = none
  std::vector<recipe::MetricReference> metrics;  // where a stage names none; empty: the task's
  std::string bad_rows;                          // refuse | skip; "" = see load_split
  std::optional<SubsetOptions> subset;
  std::optional<HeldOutOptions> held_out;
  std::optional<SubmissionOptions> submission;
  bool header = true;
  bool ragged = false;              // rows may have more cells than the first one
  std::optional<bool> quoting;      // default: csv yes, tsv no
  int64_t max_length = 128;         // tokens a row, special ones included
  int64_t max_target_length = 128;  // the same of the text to be written
  // span: tokens that neighbouring windows of a long passage share; left out, a third of
  // max_length, but at most half of what the question leaves
  std::optional<int64_t> stride;
  bool append_end = true;    // language_model: the end-of-text token behind each text
  bool concatenate = false;  // language_model: all texts in one, cut into rows of max_length
  // unlabelled: rows of fewer tokens (special ones included), or of which this share or more is
  // unknown, are left out; a longer text than max_length becomes several rows.
  int64_t min_length = 0;
  std::optional<recipe::Fraction> max_unknown;
  bool split_long = false;
  int64_t duplicates = 1;        // next_sentence: times that pairs are drawn of all documents
  recipe::Component compose;     // how rows are made of others when they are packed (compose.h)
  std::optional<int64_t> limit;  // first n rows of each split only
  std::optional<int64_t> train_limit;  // first n rows of the training split, in place of `limit`
  std::string cache = "auto";          // auto | off | folder: where tokenised rows are kept
  recipe::Mark mark;
  static const recipe::Options<DatasetOptions>& options();
};

// The metrics that the data set itself names.
inline std::vector<std::string> metrics_of(const DatasetOptions& options) {
  return recipe::names_of(options.metrics);
}

// Whether something stands at a part's place that can be read.
bool can_be_read(const std::string& file);
// The files that a name stands for: a pattern's, or several names'. Error{data} where a pattern
// fits none.
std::vector<std::filesystem::path> files_behind(const std::filesystem::path& file);

// The columns behind names that may be templates.
std::vector<std::string> columns_of(const std::vector<std::string>& names);

// The parts of a data set by name, in the order train, validation, test; those without rows too.
std::vector<std::pair<std::string, const Origin*>> parts_of(const DatasetOptions& options);

// The options as they hold for one part: its number of rows is `limit`, `train_limit` is unset, and
// `held_out` knows the part.
DatasetOptions part_options(const DatasetOptions& options, const std::string& part);
// Whether they do not yet.
bool differ_by_part(const DatasetOptions& options, const std::string& part);

class Composer;
class RowTexts;
struct PassageSource;
struct Mixture;
Task task_of(const DatasetOptions& options);  // Error{recipe} for an unknown one

// One split, tokenised: T tokens of N rows packed one after the other, in memory or in a mapped
// file of the cache.
struct Split {
  std::string name;  // "train", "validation", "test"
  std::filesystem::path file;
  Task task = Task::classification;
  std::vector<std::string> labels;  // class names by index (classification, of words too)
  Array<int32_t> ids;               // [T]
  Array<int64_t> offsets;           // [N + 1]
  // [N] tokens with segment 0 (the rest have segment 1). For sequence_to_sequence: tokens of the
  // source; the target follows them.
  Array<int32_t> first_lengths;
  Array<int32_t> classes;        // [N] hard labels, or empty
  Array<int32_t> token_classes;  // [T] token_classification: -100 but at a word's first token
  Array<int32_t> spans;          // [2 N] span: first and last token of the answer, in the row
  Array<float> values;           // [N] regression targets, or empty
  Array<float> soft;             // [N * C] soft labels (multi_label: all labels), or empty
  Array<float> weights;          // [N] Targets::weights, or empty
  Array<int64_t> groups;         // [N] group_number() of the row's group, or empty
  // prompted: the tokens of each class's answer, and whether the mean of their log-probabilities
  // counts, not the sum.
  std::vector<std::vector<int32_t>> options;
  bool option_mean = true;
  // language_model: whether rows are a text with its target behind it. first_lengths then count the
  // text's tokens, and those of the target have the mark "answer".
  bool answers = false;
  Array<int64_t> lines;              // [N] 1-based line of each row in its file
  int64_t blank_lines = 0;           // skipped
  int64_t empty_rows = 0;            // rows without text that were left out
  int64_t skipped = 0;               // rows of the file with one of the options' skip_labels
  std::string positive;              // as in the options
  std::vector<std::string> metrics;  // as in the options
  // SHA-256 of the file's content, the options that decide what is read from it (max_length too),
  // the class names and the tokenizer: two splits with the same hash hold the same tokens and
  // targets.
  std::string content_hash;
  // The mapped file that holds the arrays (empty = memory), and the tokenizer's vocabulary, below
  // which pack() then holds their ids (0 = the ids were checked).
  std::filesystem::path cache;
  int64_t vocabulary = 0;
  // multiple_choice, similarity: so many texts make one row, the arrays above say N for rows()
  // times that.
  int64_t choices = 1;
  // Where a score needs texts: what it was read from; see passages.h.
  std::shared_ptr<PassageSource> passages;
  // The splits that it is a mixture of; of its own it then has offsets alone. See mixture.h.
  std::shared_ptr<const Mixture> mixture;
  // What pack() makes rows of others with; null: rows are as they stand here, and as length() says.
  std::shared_ptr<const Composer> composer;
  // The texts of its rows; see texts.h. Null where it was not read from a file.
  std::shared_ptr<RowTexts> row_texts;

  int64_t texts() const { return static_cast<int64_t>(offsets.size()) - 1; }
  int64_t rows() const { return texts() / choices; }
  int64_t length(int64_t row) const {
    return offsets[(row + 1) * choices] - offsets[row * choices];
  }
  // Rows that an epoch of training has: rows(), or what a mixture says.
  int64_t epoch_rows() const;
  std::string place(int64_t row) const;  // "data/movies/train.tsv:17"
};

// The number of a group: 63 bits of the SHA-256 of its text, so that no table of names has to be
// kept, whatever reads the file in whatever order. Spaces around it do not count.
int64_t group_number(std::string_view text);

// Reads and tokenises one split ("train", "validation", "test") in `threads` threads (0 = one a
// processor).
//
// What a line is says compress/base/lines.h; with quoting, line ends inside quoted cells are
// characters. Blank lines are skipped. A tsv or csv row has as many cells as the header, or the
// first row, more only where they are empty. With quoting, RFC 4180 holds. JSONL has one object a
// line: texts are strings; labels and scores strings, numbers or booleans. Spaces around labels and
// numbers do not count.
//
// A row without text (no token but the tokenizer's special ones) is left out and counted for
// language_model and unlabelled, whatever the file's format; the limit counts the others.
//
// For language_model, the tokenizer's end-of-text token follows each text that is not cut, where
// the tokenizer has one and did not write it itself (append_end). With `concatenate`, the rows of
// the split are not those of the file: all texts are one sequence, cut into rows of max_length
// tokens, the last one shorter, and a row's line is that in which it begins. For
// sequence_to_sequence, both texts have the special tokens of a single text. A language model's
// target follows its text: special tokens are those of the text alone (an end-of-text token that
// the tokenizer puts behind it is taken away), the end-of-text token stands behind the target, and
// each of the two is cut for itself (max_length, max_target_length).
//
// For next_sentence, a text is a list of sentences, a document, of which rows are made as by BERT's
// create_pretraining_data.py (rows/documents.h); a row's line is that of its document, the limit
// counts documents, and a document without a token counts as an empty row.
//
// With `compose`, the rows are those of the file, and pack() puts others in front of them
// (compose.h); for another part than "train" that one is read, too.
//
// For classification, `labels` are the class names: empty = as label_names() says. A row's label is
// found among them by name, or by number where all of them are placeholders (classes.h). Rows whose
// label is one of `skip_labels` are left out and counted; a tagged word with such a label has no
// class. For multi_label the same holds of each of a row's labels, and soft labels are a
// probability each. Class names that look like "no class" are warned about with the training split.
// Soft labels become probabilities with sum 1 (a sum within 1e-3 of 1 is accepted) in the order of
// `labels`, matched by name. A weight is a finite number, not negative; a group any text or number
// (its column may be one of the texts). All windows of a passage and choices of an example have
// those of their row.
//
// With `bad_rows: skip`, rows that cannot be used are left out, and a warning counts them and lists
// the first five. With `bad_rows: refuse`, rows without text are refused whatever the task, and so
// are groups without a row of the positive class.
//
// The file is read in pieces of some megabytes. With a cache (options.cache; auto: for files above
// 64 MB, in `tokenised/` of $COMPRESS_CACHE, $XDG_CACHE_HOME/compress or ~/.cache/compress), the
// tokens go to a file named after content_hash, and the split shows that file: what is in memory
// does not grow with it. Where several processes want it, one makes it and the others wait. A
// damaged cache file is made anew with a warning; where `auto` cannot write, the split is read into
// memory.
//
// Errors{data}: missing file (with the nearest name in its folder), empty file or header only, a
// column that is not there (with the nearest name), NUL bytes, a row above 16 MB; and, all bad rows
// counted and the first five listed with their lines: bad UTF-8, short or long rows, unclosed
// quotes, bad JSON, empty or unknown labels (with the nearest name), scores that are not finite
// numbers, soft labels that are no distribution, negative weights, empty groups, texts (and
// targets) without a token. Errors{recipe}: no such file in the options, unknown format, no label
// column for a labelled task, a `positive` that is no class. Error{disk} when a folder named in
// options.cache cannot be written.
Split load_split(const DatasetOptions& options, const std::string& name,
                 const text::Tokenizer& tokenizer, const std::vector<std::string>& labels = {},
                 int threads = 0);

// Error{data} with the place of the first row of which a text has more than `tokens` tokens.
void check_longest(const Split& split, int64_t tokens);

// The class names in order: as the options say (`labels`, else the names of the `soft_labels`
// columns), or the distinct labels of the whole training file, whatever `limit`, sorted (by value
// when all are integers, else by bytes; booleans of JSONL are "false", "true") without
// `skip_labels`. Reads only the label column. Empty for other tasks than classification.
// Error{data} when the file has one label only or more than 10,000; otherwise as load_split.
std::vector<std::string> label_names(const DatasetOptions& options);

// Hash of a split's file and of the options that decide what is made of it, without tokenising (for
// stage identity). Neither the file's path nor the cache is part of it; a file that has not changed
// since it was hashed (size, times, inode) is not read again. Class names found in the training
// file are not either: hash that file too.
std::string source_hash(const DatasetOptions& options, const std::string& name);
// Number of rows without tokenising, `limit` applied and `skip_labels` left out, for the plan.
// Reads the file once and does not judge rows, but leaves out those with an empty text where
// load_split does; counts records, not lines, where quoting is on. Where counts_are_guesses() it is
// a guess, four bytes a token.
int64_t count_rows(const DatasetOptions& options, const std::string& name);
// Whether rows are known only when their tokens are.
bool counts_are_guesses(const DatasetOptions& options);

// Packs rows of a split into a batch on the CPU, in the given order (in pinned memory when `pin`
// and there is a GPU). Class indices become one-hot rows of Targets::distribution. For a language
// model's split token_labels are the next tokens, and the mark "answer" is those that are of a
// row's target, where rows have one; for a sequence-to-sequence split the targets go
// to Batch::decoder and, all of them, to token_labels. Where the split has a composer, rows are
// what it makes of them by `draw`: 0 is the same always, other numbers are what an epoch draws.
// Error{data} for ids of a mapped split that lie outside the vocabulary.
Batch pack(const Split& split, std::span<const int64_t> rows, bool pin = false, uint64_t draw = 0);
// Tokens of a row as pack() lays it out.
int64_t packed_length(const Split& split, int64_t row, uint64_t draw = 0);

}  // namespace compress::data

template <>
struct compress::recipe::Type<compress::data::Origin> {
  static std::string name();
  static Json schema();
  static bool read(const Node& node, data::Origin& value, Problems& problems);
  static Node write(const data::Origin& value);
  static void references(const data::Origin& value, const std::string& path,
                         std::vector<Referred>& found);
};

// Fills in what the entry's layout says before it is read.
template <>
struct compress::recipe::Type<compress::data::DatasetOptions> {
  static std::string name();
  static Json schema();
  static bool read(const Node& node, data::DatasetOptions& value, Problems& problems);
  static Node write(const data::DatasetOptions& value);
  static void references(const data::DatasetOptions& value, const std::string& path,
                         std::vector<Referred>& found);
};
