#pragma once
// The processes of one run, on PyTorch's own engine (c10d): a store on rank 0's machine, Gloo for
// host memory, NCCL for CUDA memory, and its Reducer, which overlaps the reduction of gradients
// with the backward pass (Li et al. 2020, arXiv 2006.15704).

#include "compress/data/torch.h"

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "compress/parallel/launch.h"

namespace compress::parallel {

// A connection to the other processes. Collective calls: every process makes the same ones in the
// same order, with tensors of equal shape and type, and all get the same bits. When another process
// ends or does not answer in time they throw Error{process}; nothing can be exchanged after that.
// One thread at a time.
class Processes {
 public:
  // Waits for all others. Error{process} when they do not come within `timeout`, which also limits
  // every later call.
  explicit Processes(const Launch& launch, std::chrono::seconds timeout = std::chrono::minutes(30));
  ~Processes();
  Processes(const Processes&) = delete;
  Processes& operator=(const Processes&) = delete;

  int rank() const;
  int world() const;
  int local_rank() const;
  bool first() const { return rank() == 0; }
  const Launch& launch() const;

  // In place, over all processes: sum, maximum, minimum. On the tensor's device.
  void sum(torch::Tensor values);
  void maximum(torch::Tensor values);
  void minimum(torch::Tensor values);
  // In place: sums divided by the number of processes, in few messages for many tensors.
  void average(const std::vector<torch::Tensor>& values);
  // Every process's number, by rank.
  std::vector<int64_t> gather(int64_t mine);
  // `rows` [n, ...] of every process, n differing, one after the other in the order of ranks.
  // `counts`: every process's n, where they were gathered before.
  torch::Tensor gather_rows(const torch::Tensor& rows);
  torch::Tensor gather_rows(const torch::Tensor& rows, const std::vector<int64_t>& counts);
  // True on all when it is on one.
  bool any(bool mine);
  // Rank 0's text.
  std::string from_first(const std::string& text);
  // Rank 0 runs `work` while the others wait for it; when it throws, rank 0 throws that and the
  // others Error{process}.
  void first_only(const std::function<void()>& work);
  void barrier();

 private:
  friend class GradientAverage;
  struct Group;
  std::unique_ptr<Group> group_;
};

// The same for code that works with one process or many: `processes` may be null.
inline bool is_first(const Processes* processes) {
  return processes == nullptr || processes->first();
}
void first_only(Processes* processes, const std::function<void()>& work);
// What rank 0 says, on all.
bool as_first(Processes* processes, bool mine);

// Averages gradients over the processes while the backward pass still runs: buckets of 25 MB, the
// first one of 1 MB.
class GradientAverage {
 public:
  // `leaves`: the tensors whose gradients autograd accumulates, the same in number, shape and order
  // everywhere; they must stay the same tensors. Leaves that no process's loss reaches keep an
  // undefined gradient.
  GradientAverage(Processes& processes, std::vector<torch::Tensor> leaves);
  ~GradientAverage();
  // Before loss.backward(), whose gradients then are averages when it returns. A backward pass
  // without this call stays local.
  void expect(const torch::Tensor& loss);
  bool fits(const std::vector<torch::Tensor>& leaves) const;  // the same tensors as bound

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Runs `work`; whatever it throws that is no Error becomes Error{process}: for calls into which
// GradientAverage hooks itself.
void translate(const Processes& processes, const std::function<void()>& work);

}  // namespace compress::parallel
