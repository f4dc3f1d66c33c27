#pragma once
// Values that belong to rows of a data set: per row, or for each of a row's tokens. Parts of a
// stage keep some from one epoch for the next, stages leave some for later ones, and a teacher's
// answers are some. They are written and read by rows.

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "compress/nn/parameter.h"
#include "compress/parallel/processes.h"

namespace compress::storage {
class SafetensorsReader;
}

namespace compress::roles {

// Whether `offsets` [rows + 1] int64 rise from 0 to `count`: those of row r are values
// offsets[r] .. offsets[r + 1].
bool are_offsets(const torch::Tensor& offsets, int64_t rows, int64_t count);

// Rows starts[i] .. + counts[i] of a tensor, one run after the other. Runs are copied whole: rows
// of a data set lie together.
torch::Tensor gather_runs(const torch::Tensor& whole, const std::vector<int64_t>& starts,
                          const std::vector<int64_t>& counts);

// For N rows. Under each name there are values of one type (float32, float16, int32) and one shape
// behind their first dimension: a row has any number of them, 0 where nothing was ever put. What is
// put is read after the next settle(), the same by all processes, so that what a row's reader sees
// does not depend on which process put it, or when in the epoch.
class RowStore {
 public:
  explicit RowStore(int64_t rows = 0) : rows_(rows) {}
  int64_t rows() const { return rows_; }

  // Begins a name: what its values are, [shape...] each. Error{internal} for a second of that name
  // and for other types than float32, float16 and int32.
  void add(const std::string& name, torch::ScalarType type, const std::vector<int64_t>& shape = {});
  // Values of `rows`, on any device: [n, ...], one a row; or with `counts` (one a row) [sum of
  // counts, ...], one row's behind the other's. They take the place of those that the rows have.
  // Error{internal} for another type or shape than the name's, or rows outside.
  void put(const std::string& name, std::span<const int64_t> rows, const torch::Tensor& values,
           std::span<const int64_t> counts = {});

  struct Values {
    torch::Tensor values;  // [sum of counts, ...] on the CPU, undefined where nothing was settled
    std::vector<int64_t> counts;  // of each row; 0: it has none
  };
  // What was settled.
  Values get(const std::string& name, std::span<const int64_t> rows) const;
  // Whether anything was settled under the name.
  bool has(const std::string& name) const;
  std::vector<std::string> names() const;

  // All processes learn what each of them has put. A collective call.
  void share(parallel::Processes* processes);
  // The same, and what was put is read from now on.
  void settle(parallel::Processes* processes);

  // Everything, also what waits for settle(). Share it first: only one process saves.
  nn::TensorMap state() const;
  // Error{model} for what state() does not give.
  void load_state(const nn::TensorMap& state);

  // One file a name, `NAME.safetensors`: "values" [M, ...] and "offsets" [N + 1] int64; those of
  // row r are offsets[r] to offsets[r + 1]. Without what waits for settle().
  void save(const std::filesystem::path& folder) const;
  // What such a file of a folder holds, memory-mapped: only rows that are asked for are read. Its
  // tensor of values may have any name. Error{model} with the file for one that is not there, is
  // for another number of rows (where this one's is known), or does not hold what it must.
  void open(const std::filesystem::path& folder, const std::string& name);
  // Values in other memory, read alone: those of row r are offsets[r] to offsets[r + 1]; without
  // offsets [N,
  // ...], one a row.
  void adopt(const std::string& name, torch::Tensor values, torch::Tensor offsets = {});

 private:
  struct Put {
    std::vector<int64_t> rows, counts;
    torch::Tensor values;
  };
  struct Column {
    torch::Tensor like;               // [0, ...]: of a name that values are put under
    torch::Tensor values;             // settled; undefined: none
    torch::Tensor offsets;            // [N + 1] int64; undefined: one a row
    std::vector<Put> waiting, fresh;  // shared by all processes; put by this one since
    std::pair<int64_t, int64_t> range(int64_t row) const;
  };
  void check_rows(std::span<const int64_t> rows) const;
  void settle(Column& column) const;
  static Put exchanged(const std::vector<Put>& fresh, const torch::Tensor& like,
                       parallel::Processes& processes);

  int64_t rows_;
  std::map<std::string, Column> columns_;
  std::vector<std::shared_ptr<const storage::SafetensorsReader>> readers_;  // what values view
};

}  // namespace compress::roles
