#pragma once
// The order of training and the thread that prepares batches.

#include <cstdint>
#include <memory>
#include <vector>

#include "compress/data/dataset.h"

namespace compress::data {

// How rows become batches.
struct SamplerOptions {
  int64_t batch = 32;  // rows an update
  uint64_t seed = 0;
  int64_t window = 50;  // batches whose rows are sorted by length together; 1 = no sorting
  bool shuffle = true;  // false = file order, unsorted
  // Of several processes that share each batch: this one packs rows [n rank / world, n (rank + 1) /
  // world) of the n rows (a share without rows: the first row, which does not count).
  int64_t rank = 0, world = 1;
};

// The batches of one epoch as row numbers: a seeded permutation of all rows, windows of `window`
// batches sorted by length (ties stay as permuted) and cut, then the batches permuted. A pure
// function of (lengths, options, epoch), drawn from the stream "data". Every row once;
// steps_per_epoch batches, of which at most one is partial.
std::vector<std::vector<int64_t>> epoch_batches(const Split& split, const SamplerOptions& options,
                                                int64_t epoch);
// Updates in one epoch.
int64_t steps_per_epoch(int64_t rows, int64_t batch);

// Batches for evaluation and teachers: rows sorted by length, the longest first so that memory
// peaks at once, equal ones in file order. Every row once.
std::vector<std::vector<int64_t>> evaluation_batches(const Split& split, int64_t batch);

// Hands out the packed batches of update 0, 1, 2, ... over epochs without end, preparing the next
// few in a thread. Starting at `first_step` costs nothing but that epoch's permutation. The same
// batches whatever the thread's speed. The split must outlive the loader. Error{data} for a split
// without rows. One thread at a time may call next(), which throws what went wrong in the thread,
// after the batches before it; the destructor stops the thread at once.
class Loader {
 public:
  Loader(const Split& split, SamplerOptions options, int64_t first_step, bool pin = false,
         int depth = 4);
  ~Loader();
  Batch next();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace compress::data
