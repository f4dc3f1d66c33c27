#include "schedule/schedule.h"

namespace compress::optim {

namespace {

struct ConstantOptions {
  Duration warmup = Duration::percent(0);

  static const recipe::Options<ConstantOptions>& options() {
    static const auto description = recipe::Options<ConstantOptions>("constant")
                                        .field("warmup", &ConstantOptions::warmup, warmup_doc);
    return description;
  }
};

class Constant final : public WarmedSchedule {
 public:
  explicit Constant(const ConstantOptions& options) : WarmedSchedule(options.warmup) {}

 protected:
  double after_warmup(int64_t, int64_t, const Progress&) const override { return 1; }
};

}  // namespace

void add_constant(ScheduleRegistry& registry) {
  registry.add(recipe::describe<ConstantOptions>(
                   "schedule", "constant", "the base rate throughout, after an optional warm-up",
                   "f(t) = t / W for t < W, then 1"),
               [](const recipe::Component& component) {
                 return std::make_unique<Constant>(component.as<ConstantOptions>());
               });
}

}  // namespace compress::optim
