#include <cmath>
#include <numbers>

#include "schedule/schedule.h"

namespace compress::optim {

namespace {

struct CosineOptions {
  Duration warmup = Duration::percent(0);
  double end_factor = 0;

  static const recipe::Options<CosineOptions>& options() {
    static const auto description =
        recipe::Options<CosineOptions>("cosine")
            .field("warmup", &CosineOptions::warmup, warmup_doc)
            .field("end_factor", &CosineOptions::end_factor, "factor at the end of the stage")
            .range(0, 1);
    return description;
  }
};

class Cosine final : public WarmedSchedule {
 public:
  explicit Cosine(const CosineOptions& options)
      : WarmedSchedule(options.warmup), end_(options.end_factor) {}

 protected:
  double after_warmup(int64_t t, int64_t length, const Progress&) const override {
    return end_ + (1 - end_) * 0.5 * (1 + std::cos(std::numbers::pi * share(t, length)));
  }

 private:
  double end_;
};

}  // namespace

void add_cosine(ScheduleRegistry& registry) {
  registry.add(recipe::describe<CosineOptions>(
                   "schedule", "cosine", "linear warm-up, then half a cosine to the end",
                   "f(t) = t / W for t < W, then e + (1 - e) (1 + cos(pi (t - W) / (T - W))) / 2,"
                   "  e = end_factor",
                   "Loshchilov & Hutter 2017, arXiv 1608.03983, equation 5 (one cycle)"),
               [](const recipe::Component& component) {
                 return std::make_unique<Cosine>(component.as<CosineOptions>());
               });
}

}  // namespace compress::optim
