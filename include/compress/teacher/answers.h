#pragma once
// A teacher's answers for every row of a split, computed once: kept in memory, or in files that
// stages, runs and jobs share. Asking (answer), keeping (CacheWriter) and reading (Answers) are
// separate, so that several processes can share the asking.

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "compress/data/dataset.h"
#include "compress/nn/model.h"
#include "compress/roles/row_store.h"
#include "compress/storage/safetensors.h"
#include "compress/teacher/teacher.h"

namespace compress::teacher {

// Which signals are kept, for N rows of together T tokens.
struct Wanted {
  bool logits = false;          // [N, C] float32
  bool pooled = false;          // [N, H] float16
  std::vector<int64_t> hidden;  // these of Outputs::hidden, rising: [T, H] float16 each
  int64_t top_k = 0;  // of token logits: nn::TopTokens, float16 log-probabilities; 0 = not kept

  bool nothing() const { return !logits && !pooled && hidden.empty() && top_k == 0; }
  std::string text() const;  // "logits, hidden states 2, 4, 6"
};

// What is asked: which rows, and of what sizes the answers are.
struct Questions {
  const data::Split* split = nullptr;  // outlives what is made from this
  // Rows as every epoch sees them: packed, with fixed changes (masking). Empty: data::pack.
  std::function<data::Batch(std::span<const int64_t>)> pack;
  int64_t classes = 0, width = 0, layers = 0, vocabulary = 0;
  Wanted wanted;
};

// Rows `begin` .. `end` - 1 of a split.
struct Range {
  int64_t begin = 0, end = 0;
};

// The units of asking: following rows of about 16,000 tokens. Their answers are a function of the
// teacher and the split, whoever computes them.
std::vector<Range> ranges(const data::Split& split);

// The answers for a range, in the order of the split, on the CPU. What is not wanted is undefined.
struct Piece {
  torch::Tensor logits;                     // [rows, C] float32
  torch::Tensor pooled;                     // [rows, H] float16
  std::map<int64_t, torch::Tensor> hidden;  // [tokens, H] float16
  torch::Tensor counts;                     // [rows] int64: predicted positions, sum m
  torch::Tensor positions;                  // [m] int32: the position inside its row
  torch::Tensor ids;                        // [m, k] int32
  torch::Tensor log_probs;                  // [m, k] float16
  torch::Tensor tail;                       // [m] float32
};
// Asks the teacher, in batches of 64 rows of similar length. Error{diverged} for values that are
// not finite, or not in float16.
Piece answer(Teacher& teacher, const Questions& questions, Range range);

// The k largest log-probabilities of each row of logits [M, V] and the tail's, 0 < k < V.
nn::TopTokens top_tokens(const torch::Tensor& logits, int64_t k);
// Predicted positions of each row: [N + 1] offsets into the rows of Piece::ids of all pieces.
torch::Tensor predicted_offsets(const Questions& questions);

// Answers for all rows of a split.
class Answers {
 public:
  // In memory, from the pieces of ranges(split) in order.
  Answers(const Questions& questions, const std::vector<Piece>& pieces);
  // From the files of `entry` (see Cache): memory-mapped, only rows that are asked for are read.
  Answers(const Questions& questions, const std::filesystem::path& entry, const std::string& key);

  // Outputs for a batch of the split's rows: logits, token_index and top_tokens as they were
  // wanted, pooled and hidden as captured (of hidden only the wanted layers are defined), float32,
  // on the batch's device. Error{model} naming the file for values that are not finite, ids outside
  // the vocabulary, or predicted positions that are not the batch's; Error{internal} for a capture
  // that is not kept.
  nn::Outputs signals(const data::Batch& batch, const nn::Capture& capture) const;

 private:
  torch::Tensor kept(const std::string& file, const std::string& key, const std::string& name,
                     torch::ScalarType type, const std::vector<int64_t>& shape);
  void open_top_tokens(const std::string& key);
  void add_top_tokens(const data::Batch& batch, nn::Outputs& outputs) const;

  // A signal's rows for a batch, as they are kept.
  torch::Tensor rows_of(const std::string& signal, const data::Batch& batch) const;

  Questions questions_;
  std::filesystem::path entry_;  // empty: in memory
  roles::RowStore values_;       // by the names of files.h
  std::map<std::string, std::unique_ptr<storage::SafetensorsReader>> readers_;  // what tensors view
};

// A teacher of this configuration that gives kept answers: the weights need not stay in memory.
std::unique_ptr<Teacher> remembered(const nn::ModelConfig& config,
                                    std::shared_ptr<const Answers> answers);

// The answers to `questions` under `key`, a JSON object that says in full what they are a function
// of (teacher, data, tokenizer, ...), in a folder of its own inside `folder`, named after the key's
// hash: key.json and one safetensors file a signal (logits, pooled, hidden-<n>, top_tokens), each
// with the key in its metadata.
class Cache {
 public:
  Cache(std::filesystem::path folder, nn::Json key, Questions questions);
  const std::filesystem::path& entry() const { return entry_; }
  const std::string& key() const { return key_; }  // as one line, for the metadata
  const nn::Json& fields() const { return fields_; }
  // The wanted signals that have no file (for top_k: none that keeps as many).
  Wanted missing() const;
  // What tells the most similar entry of the folder from this one: "the nearest entry, ab12...,
  // differs in: teacher"; "" when there is no other.
  std::string nearest() const;
  // Error{model} for a file that does not hold what its name says: another key, shape or type.
  std::shared_ptr<const Answers> read() const;

 private:
  std::filesystem::path folder_, entry_;
  nn::Json fields_;
  std::string key_;
  Questions questions_;
};

// Writes the files of what `questions` want side by side as pieces come, in the order of
// ranges(split); memory stays at one piece. The entry's folder must be there. Nothing appears
// before commit(). Error{disk} when the disk has no room for them.
class CacheWriter {
 public:
  CacheWriter(const Cache& cache, const Questions& questions);
  void append(const Piece& piece, Range range);
  void commit();
  uint64_t bytes() const { return bytes_; }

 private:
  void add(const std::string& file, std::vector<storage::TensorInfo> tensors,
           const std::string& key);
  void put(const std::string& file, const char* name, int64_t row, const torch::Tensor& rows);

  std::filesystem::path entry_;
  std::string key_text_;
  Wanted wanted_;
  const data::Split* split_;
  std::map<std::string, storage::SafetensorsWriter> files_;
  torch::Tensor predicted_;
  int64_t rows_ = 0, tokens_ = 0, positions_ = 0;
  uint64_t bytes_ = 0;
};

// What to do where the folder lacks something.
enum class Missing { compute, refuse };

// All of it for one process: the answers that `folder` keeps under `key`, after computing and
// keeping what it lacks (`compute` gives the answers of a range for the questions it is handed). Of
// several processes that want the same at once, one computes while the others wait. With
// Missing::refuse nothing is written, and what is lacking is an Error{model} that tells how the
// nearest entry differs. `told` is called with a line for the log.
std::shared_ptr<const Answers> cached(const std::filesystem::path& folder, const nn::Json& key,
                                      const Questions& questions, Missing missing,
                                      const std::function<Piece(const Questions&, Range)>& compute,
                                      const std::function<void(const std::string&)>& told);

}  // namespace compress::teacher
