#pragma once
// What averages of weights share: snapshots at whole multiples of `every` from `start` on, in
// float32 buffers that are allocated once, and the exchange with the live weights.

#include <unordered_map>

#include "components.h"

namespace compress::optim {

class SnapshotAverage : public Averaging, public Snapshots {
 public:
  SnapshotAverage(const Duration& start, const Duration& every) : begin_(start), period_(every) {}

  void bind(const roles::Scene& scene) override;
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
  int64_t start_ = 1;  // first update after which a snapshot is taken
  int64_t every_ = 1;
  int64_t count_ = 0;  // snapshots taken
  bool swapped_ = false;
  std::vector<nn::Parameter*> parameters_;
  std::vector<torch::Tensor> averages_;  // the buffers
  std::unordered_map<const nn::Parameter*, size_t> index_;
  std::vector<torch::Tensor> own_live_, own_averages_;  // of those that nobody else keeps
};

}  // namespace compress::optim
