#pragma once
// What averages of weights share: snapshots at whole multiples of `every` from `start` on, in
// float32 buffers that are allocated once, and the exchange with the live weights.

#include <unordered_map>

#include "components.h"

namespace compress::optim {

// Which weights are the first of an average.
enum class First {
  updated,  // those at the start, of which at least one update was made
  start,    // those at the start, be it the stage's own
  later     // those `every` updates behind the start
};

class SnapshotAverage : public Averaging, public Snapshots {
 public:
  SnapshotAverage(const Duration& start, const Duration& every, First first = First::updated)
      : begin_(start), period_(every), first_(first) {}

  void bind(const roles::Scene& scene) override;
  // Takes the weights that the stage begins with, where they are the first ones.
  bool before_update(const Progress& progress) override;
  void after_update(const Progress& progress) override;
  bool ready() const override { return count_ > 0; }
  Snapshots* snapshots() override { return this; }
  void leave(const std::vector<const nn::Parameter*>& parameters) override;
  double share(int64_t updates) const override;
  torch::Tensor& average(const nn::Parameter& parameter) override;
  void swap() override;
  int64_t starts_at() const override { return start_; }
  nn::TensorMap state() const override;
  void load_state(const nn::TensorMap& state) override;

 protected:
  // Weight of the next snapshot when `count` >= 1 were taken: average <- average + share (w -
  // average).
  virtual double share_of_next(int64_t count) const = 0;

 private:
  Duration begin_, period_;
  First first_;
  int64_t start_ = 1;     // updates before averaging begins
  int64_t snapshot_ = 1;  // updates before the first snapshot
  int64_t every_ = 1;
  int64_t count_ = 0;  // snapshots taken
  bool swapped_ = false;
  std::vector<nn::Parameter*> parameters_;
  std::vector<torch::Tensor> averages_;  // the buffers
  std::unordered_map<const nn::Parameter*, size_t> index_;
  std::vector<torch::Tensor> own_live_, own_averages_;  // of those that nobody else keeps
};

}  // namespace compress::optim
