#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "schedule/schedule.h"

namespace compress::optim {

namespace {

struct RewoundLinearOptions {
  Duration begin = Duration::percent(0);
  Duration end = Duration::percent(50);
  Duration every;
  Duration warmup = Duration::percent(0);

  static const recipe::Options<RewoundLinearOptions>& options() {
    using R = RewoundLinearOptions;
    static const auto description =
        recipe::Options<R>("rewound_linear")
            .field("begin", &R::begin, "update from which the decay is put back")
            .field("end", &R::end, "update from which it goes on to the end of the stage")
            .field("every", &R::every,
                   "updates after which it is put back, those of a pruning step")
            .required()
            .above(0)
            .field("warmup", &R::warmup, warmup_doc)
            .shorthand("every");
    return description;
  }
};

class RewoundLinear final : public Schedule {
 public:
  explicit RewoundLinear(const RewoundLinearOptions& options) : options_(options) {}

  void bind(const roles::Scene& scene) override {
    const Lengths l = resolve(scene.length);
    if (l.begin > l.end || l.end > scene.length.total_steps)
      throw Error(ErrorKind::recipe,
                  str("the rate is put back from update ", l.begin, " to ", l.end, " of ",
                      scene.length.total_steps),
                  mark_.text(), "begin before the end, and end within the stage");
    if (l.outside <= l.warmup)
      throw Error(ErrorKind::recipe,
                  str("no decay is left: the warm-up has ", l.warmup, " of the ", l.outside,
                      " updates outside `begin` and `end`"),
                  mark_.text(), "shorten the warm-up, or end earlier");
  }

  double factor(const Progress& progress) const override {
    const Lengths l = resolve(progress.length());
    const int64_t t = progress.step;
    if (t < l.warmup) return static_cast<double>(t) / static_cast<double>(l.warmup);
    int64_t passed = t;  // as if the time from begin to end had not been
    if (t >= l.end)
      passed = t - (l.end - l.begin);
    else if (t >= l.begin)
      passed = l.begin + (t - l.begin) % l.every;
    const auto left = static_cast<double>(std::max<int64_t>(0, l.outside - passed));
    return left / static_cast<double>(std::max<int64_t>(1, l.outside - l.warmup));
  }

 private:
  // In updates.
  struct Lengths {
    int64_t warmup, begin, end, every;
    int64_t outside;  // of begin and end
  };

  Lengths resolve(const Length& length) const {
    auto steps = [&](const Duration& duration) {
      return duration.resolve(length.steps_per_epoch, length.total_steps);
    };
    const int64_t begin = steps(options_.begin), end = steps(options_.end);
    return {steps(options_.warmup), begin, end, std::max<int64_t>(1, steps(options_.every)),
            length.total_steps - (end - begin)};
  }

  RewoundLinearOptions options_;
};

}  // namespace

void add_rewound_linear(ScheduleRegistry& registry) {
  registry.add(
      recipe::describe<RewoundLinearOptions>(
          "schedule", "rewound_linear", "linear decay that is put back while weights are pruned",
          "R = T - (end - begin);  f(t) = t / W for t < W, then (R - t') / (R - W)\n"
          "t' = t before begin;  begin + (t - begin) mod every up to end;  t - (end - begin) after",
          "Zafrir et al. 2021, arXiv 2111.05754, its published code (which begins at 0)",
          "A saw-tooth near the full rate while masks change, then the decay that a stage without "
          "that time would have had. With begin 0 the first factors are above 1, by W / (R - W), "
          "as in the code. Give it the begin, end and every of the pruning; GMP*'s rewinding, "
          "whole "
          "decays one after the other, is cyclic_linear."),
      [](const recipe::Component& component) {
        return std::make_unique<RewoundLinear>(component.as<RewoundLinearOptions>());
      });
}

}  // namespace compress::optim
