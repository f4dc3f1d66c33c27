#pragma once
// Adam on an embedding whose gradient exists in a few rows: the other rows are left as they are and
// catch up, update by update and to the same bits, when they are next read. Memory of a row is then
// touched when the row is used, not in every update.

#include <vector>

#include "compress/optim/optim.h"
#include "optimizer/adam_kernel.h"

namespace compress::optim {

class LateRows final : public nn::RowUpdates {
 public:
  // `parameter` [rows, width] is contiguous on the CPU; `mean` and `square` are its moments.
  LateRows(nn::Parameter& parameter, torch::Tensor mean, torch::Tensor square,
           const kernels::AdamConstants& constants);
  ~LateRows() override;
  LateRows(const LateRows&) = delete;
  LateRows& operator=(const LateRows&) = delete;

  // Keeps the parameter's average, too.
  void follow(Snapshots* snapshots) { snapshots_ = snapshots; }
  // The update `step` with the gradient in rows `touched` (distinct); the others wait.
  void update(const kernels::AdamStep& step, const torch::Tensor& touched,
              const torch::Tensor& gradient);
  void settle(const torch::Tensor& ids) override;
  void settle() override;
  // Moments and weights were replaced: nothing waits.
  void reset();

 private:
  struct Waiting {
    int64_t row;
    int64_t done;  // updates of steps_ that it has had
  };
  void replay(const std::vector<Waiting>& rows);
  float* average();  // null when none is kept

  nn::Parameter& parameter_;
  torch::Tensor mean_, square_;
  kernels::AdamConstants constants_;
  Snapshots* snapshots_ = nullptr;
  int64_t rows_, width_;
  std::vector<kernels::AdamStep> steps_;  // updates since all rows were settled
  std::vector<int32_t> done_;             // of each row
  std::vector<uint8_t> moved_;            // rows whose moments may differ from 0
};

}  // namespace compress::optim
