#pragma once
// The order of training and the thread that prepares batches.

#include <cstddef>
#include <cstdint>
#include <iterator>
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
  int64_t width = 1;    // tokens by which lengths may differ and yet sort as equal
  // Where several processes share each batch, this one packs rows [n rank / world, n (rank + 1) /
  // world) of the n rows (a share without rows: the first row, which does not count).
  int64_t rank = 0, world = 1;
};

// An order of rows, cut into batches that are made when they are asked for: four bytes a row. Reads
// like a container of vectors of row numbers; may be read from many threads at once.
class Batches {
 public:
  // Batch i holds rows[place * batch ...] with place = order[i], or i where `order` is empty.
  Batches(std::vector<uint32_t> rows, int64_t batch, std::vector<uint32_t> order = {});

  size_t size() const { return count_; }
  int64_t rows() const { return static_cast<int64_t>(rows_.size()); }
  // The rows of batch i < size().
  std::vector<int64_t> operator[](size_t i) const;

  class Iterator {
   public:
    using value_type = std::vector<int64_t>;
    using difference_type = std::ptrdiff_t;
    Iterator() = default;
    Iterator(const Batches* batches, size_t at) : batches_(batches), at_(at) {}
    value_type operator*() const { return (*batches_)[at_]; }
    Iterator& operator++() {
      ++at_;
      return *this;
    }
    Iterator operator++(int) { return {batches_, at_++}; }
    bool operator==(const Iterator&) const = default;

   private:
    const Batches* batches_ = nullptr;
    size_t at_ = 0;
  };
  Iterator begin() const { return {this, 0}; }
  Iterator end() const { return {this, count_}; }

 private:
  std::vector<uint32_t> rows_, order_;
  size_t batch_, count_;
};

// The batches of one epoch as row numbers: a seeded permutation of all rows, windows of `window`
// batches sorted by length / `width` (ties stay as permuted) and cut, then the batches permuted. A
// pure function of (lengths, options, epoch), drawn from the stream "data". Every row once, and of
// a mixture the rows that mixed_rows() names; steps_per_epoch batches, of which at most one is
// partial. Error{data} above 4,294,967,295 rows.
Batches epoch_batches(const Split& split, const SamplerOptions& options, int64_t epoch);
// Updates in one epoch.
int64_t steps_per_epoch(int64_t rows, int64_t batch);

// Batches for evaluation and teachers: rows sorted by length, the longest first so that memory
// peaks at once, equal ones in file order. Every row once; with a `limit` above 0 and below the
// number of rows, the first `limit` rows in file order instead.
Batches evaluation_batches(const Split& split, int64_t batch, int64_t limit = 0);

// Hands out the packed batches of update 0, 1, 2, ... over epochs without end, preparing the next
// few in a thread. Starting at `first_step` costs nothing but that epoch's permutation. The same
// batches whatever the thread's speed. The split must outlive the loader. Error{data} for a split
// without rows. One thread at a time may call next(), which throws what went wrong in the thread,
// after the batches before it; the destructor stops the thread at once.
class Loader {
 public:
  Loader(const Split& split, SamplerOptions options, int64_t first_step, bool pin = false,
         int depth = 4);
  // The same with further views: splits that hold the same rows as other tokens (data/views.h).
  Loader(const Split& split, std::vector<const Split*> views, SamplerOptions options,
         int64_t first_step, bool pin = false, int depth = 4);
  ~Loader();
  Batch next();
  // The batch and, of the same rows, that of each further view.
  std::vector<Batch> next_views();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace compress::data
