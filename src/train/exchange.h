#pragma once
// What a training stage exchanges with the other processes of the run. Each works on its share of
// every batch; gradients are averaged, and everything else follows from them and is the same bits
// on all. With one process nothing happens here.

#include <memory>
#include <string>
#include <vector>

#include "compress/parallel/processes.h"
#include "compress/train/binding.h"

namespace compress::train {

class Exchange {
 public:
  // `processes` may be null: one alone.
  Exchange(parallel::Processes* processes, Binding& binding)
      : processes_(processes), binding_(binding) {}

  int64_t world() const { return processes_ == nullptr ? 1 : processes_->world(); }
  // The backward pass of a loss that is this process's share of the whole batch's. `overlap`:
  // gradients are averaged over processes meanwhile.
  void backward(const torch::Tensor& loss, bool overlap);
  // Averages complete gradients of latents, those of embeddings by rows. With `rows_only` the
  // others were averaged in backward().
  void average_gradients(bool rows_only);
  // Tells a share of a batch how many tokens with a label the whole update has, and how many with
  // each mark, where an augment chose them.
  void count_labels(data::Batch& batch);
  // A gradient that overflowed on one process is one on all: a scalar, the largest of all.
  void largest(const torch::Tensor& value);
  // Sums of each value over all processes, in place.
  void sum(NamedValues& values);

  struct Agreement {
    bool finite = true, stop = false;
  };
  // All learn whether a loss somewhere is not finite, and whether all are to stop.
  Agreement agree(bool finite, bool stop);
  // Error{process} when weights, masks or averages are not the same bits everywhere. `when` says at
  // which step of which stage that is.
  void check_equal(const std::string& when);

 private:
  void average_tables(const std::vector<nn::Parameter*>& tables);
  // `counts`: how many rows each process touched.
  void average_touched(const std::vector<nn::Parameter*>& tables,
                       const std::vector<int64_t>& counts);
  void average_rows();

  parallel::Processes* processes_;
  Binding& binding_;
  std::unique_ptr<parallel::GradientAverage> overlap_;  // made when the first gradients are
};

}  // namespace compress::train
