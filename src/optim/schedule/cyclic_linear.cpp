#include "schedule/schedule.h"

namespace compress::optim {

namespace {

struct CyclicLinearOptions {
  Duration cycle;
  Duration warmup = Duration::percent(0);
  double end_factor = 0;

  static const recipe::Options<CyclicLinearOptions>& options() {
    static const auto description =
        recipe::Options<CyclicLinearOptions>("cyclic_linear")
            .field("cycle", &CyclicLinearOptions::cycle, "length of one decay")
            .required()
            .above(0)
            .field("warmup", &CyclicLinearOptions::warmup, warmup_doc)
            .field("end_factor", &CyclicLinearOptions::end_factor, "factor that a decay leads to")
            .range(0, 1)
            .shorthand("cycle");
    return description;
  }
};

class CyclicLinear final : public WarmedSchedule {
 public:
  explicit CyclicLinear(const CyclicLinearOptions& options)
      : WarmedSchedule(options.warmup), cycle_(options.cycle), end_(options.end_factor) {}

 protected:
  double after_warmup(int64_t t, int64_t, const Progress& progress) const override {
    const int64_t length =
        std::max<int64_t>(1, cycle_.resolve(progress.steps_per_epoch, progress.total_steps));
    return end_ + (1 - end_) * (1 - share(t % length, length));
  }

 private:
  Duration cycle_;
  double end_;
};

}  // namespace

void add_cyclic_linear(ScheduleRegistry& registry) {
  registry.add(
      recipe::describe<CyclicLinearOptions>(
          "schedule", "cyclic_linear", "linear decay that starts again every cycle (saw-tooth)",
          "f(t) = t / W for t < W, then e + (1 - e) (1 - ((t - W) mod C) / C),  e = end_factor",
          "Kurtic & Alistarh 2022 (GMP*), arXiv 2210.06384",
          "The factor is 1 at every cycle's start, so that pruning steps are followed by a large "
          "rate; end_factor itself would be reached where the next cycle begins."),
      [](const recipe::Component& component) {
        return std::make_unique<CyclicLinear>(component.as<CyclicLinearOptions>());
      });
}

}  // namespace compress::optim
