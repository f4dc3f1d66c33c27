#include "compress/optim/optim.h"

namespace compress::optim {

double rate_factor(const Schedule& schedule, const Averaging* averaging, double base,
                   const Progress& progress) {
  if (averaging == nullptr || !averaging->holds_rate() || progress.step < averaging->starts_at())
    return schedule.factor(progress);
  if (const std::optional<double> rate = averaging->constant_rate()) return *rate / base;
  Progress at_start = progress;
  at_start.step = averaging->starts_at();
  return schedule.factor(at_start);
}

}  // namespace compress::optim
