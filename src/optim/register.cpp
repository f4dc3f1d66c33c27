#include "components.h"

namespace compress::optim {

const OptimizerRegistry& optimizers() {
  static const OptimizerRegistry registry = [] {
    OptimizerRegistry list("optimizer");
    add_adamw(list);
    add_sgd(list);
    return list;
  }();
  return registry;
}

const ScheduleRegistry& schedules() {
  static const ScheduleRegistry registry = [] {
    ScheduleRegistry list("schedule");
    add_constant(list);
    add_linear(list);
    add_cosine(list);
    add_cyclic_linear(list);
    add_rewound_linear(list);
    return list;
  }();
  return registry;
}

const MoverRegistry& movers() {
  static const MoverRegistry registry = [] {
    MoverRegistry list("sharpness");
    add_sam(list);
    add_asam(list);
    add_delta_sam(list);
    return list;
  }();
  return registry;
}

const AveragingRegistry& averagings() {
  static const AveragingRegistry registry = [] {
    AveragingRegistry list("averaging");
    add_swa(list);
    add_ema(list);
    return list;
  }();
  return registry;
}

recipe::Component default_optimizer() {
  return optimizers().defaults("adamw");
}
recipe::Component default_schedule() {
  return schedules().defaults("linear");
}

}  // namespace compress::optim
