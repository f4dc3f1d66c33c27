#include "schedule/schedule.h"

namespace compress::optim {

namespace {

struct CyclicLinearOptions {
  Duration cycle;
  Duration warmup = Duration::percent(0);
  double end_factor = 0;
  bool arrive = false;

  static const recipe::Options<CyclicLinearOptions>& options() {
    static const auto description =
        recipe::Options<CyclicLinearOptions>("cyclic_linear")
            .field("cycle", &CyclicLinearOptions::cycle, "length of one decay")
            .required()
            .above(0)
            .field("warmup", &CyclicLinearOptions::warmup, warmup_doc)
            .field("end_factor", &CyclicLinearOptions::end_factor, "factor that a decay leads to")
            .range(0, 1)
            .field("arrive", &CyclicLinearOptions::arrive,
                   "the last update of a cycle has end_factor: C - 1 in place of C, as in sparseml")
            .shorthand("cycle");
    return description;
  }
};

class CyclicLinear final : public WarmedSchedule {
 public:
  explicit CyclicLinear(const CyclicLinearOptions& options)
      : WarmedSchedule(options.warmup),
        cycle_(options.cycle),
        end_(options.end_factor),
        arrive_(options.arrive) {}

 protected:
  double after_warmup(int64_t t, int64_t, const Progress& progress) const override {
    const int64_t length =
        std::max<int64_t>(1, cycle_.resolve(progress.steps_per_epoch, progress.total_steps));
    // A cycle of one update is its start.
    const double passed = t % length == 0 ? 0 : share(t % length, arrive_ ? length - 1 : length);
    return end_ + (1 - end_) * (1 - passed);
  }

 private:
  Duration cycle_;
  double end_;
  bool arrive_;
};

}  // namespace

void add_cyclic_linear(ScheduleRegistry& registry) {
  registry.add(
      recipe::describe<CyclicLinearOptions>(
          "schedule", "cyclic_linear", "linear decay that starts again every cycle (saw-tooth)",
          "f(t) = t / W for t < W, then e + (1 - e) (1 - ((t - W) mod C) / C),  e = end_factor",
          "Kurtic & Alistarh 2022 (GMP*), arXiv 2210.06384",
          "The factor is 1 at every cycle's start, so that pruning steps are followed by a large "
          "rate; end_factor itself would be reached where the next cycle begins, unless `arrive` "
          "is "
          "set. GMP*'s rewinding; that of Prune Once for All is rewound_linear."),
      [](const recipe::Component& component) {
        return std::make_unique<CyclicLinear>(component.as<CyclicLinearOptions>());
      });
}

}  // namespace compress::optim
