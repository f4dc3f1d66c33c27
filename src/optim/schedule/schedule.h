#pragma once
// What the schedules share: warm-up, and a shape after it.

#include <algorithm>

#include "components.h"

namespace compress::optim {

// Factor t / W for t < W, the shape's after that. W is the warm-up in updates.
class WarmedSchedule : public Schedule {
 public:
  explicit WarmedSchedule(const Duration& warmup) : warmup_(warmup) {}

  double factor(const Progress& progress) const final {
    const int64_t warm = warmup_.resolve(progress.steps_per_epoch, progress.total_steps);
    if (progress.step < warm) return static_cast<double>(progress.step) / static_cast<double>(warm);
    return after_warmup(progress.step - warm, progress.total_steps - warm, progress);
  }

 protected:
  // Factor `t` updates after the warm-up, of `length` in all.
  virtual double after_warmup(int64_t t, int64_t length, const Progress& progress) const = 0;

  // t / length within [0, 1]; 1 where there is no length left.
  static double share(int64_t t, int64_t length) {
    if (length <= 0) return 1;
    return std::min(1.0, static_cast<double>(t) / static_cast<double>(length));
  }

 private:
  Duration warmup_;
};

inline constexpr const char* warmup_doc = "updates over which the rate grows from 0";

}  // namespace compress::optim
