#include "schedule/schedule.h"

namespace compress::optim {

namespace {

struct LinearOptions {
  Duration warmup = Duration::percent(0);
  double end_factor = 0;

  static const recipe::Options<LinearOptions>& options() {
    static const auto description =
        recipe::Options<LinearOptions>("linear")
            .field("warmup", &LinearOptions::warmup, warmup_doc)
            .field("end_factor", &LinearOptions::end_factor, "factor at the end of the stage")
            .range(0, 1);
    return description;
  }
};

class Linear final : public WarmedSchedule {
 public:
  explicit Linear(const LinearOptions& options)
      : WarmedSchedule(options.warmup), end_(options.end_factor) {}

 protected:
  double after_warmup(int64_t t, int64_t length, const Progress&) const override {
    return end_ + (1 - end_) * (1 - share(t, length));
  }

 private:
  double end_;
};

}  // namespace

void add_linear(ScheduleRegistry& registry) {
  registry.add(
      recipe::describe<LinearOptions>(
          "schedule", "linear", "linear warm-up, then linear decay to the end of the stage",
          "f(t) = t / W for t < W, then e + (1 - e) (T - t) / (T - W),  e = end_factor",
          "Devlin et al. 2019, arXiv 1810.04805, appendix A.2",
          "The numbers of Hugging Face's get_linear_schedule_with_warmup: with a warm-up, the "
          "first update has rate 0."),
      [](const recipe::Component& component) {
        return std::make_unique<Linear>(component.as<LinearOptions>());
      });
}

}  // namespace compress::optim
