#include "averaging/average.h"

namespace compress::optim {

namespace {

struct EmaOptions {
  double decay = 0.999;
  Duration start = Duration::percent(0);
  Duration every = Duration::steps(1);

  static const recipe::Options<EmaOptions>& options() {
    static const auto description =
        recipe::Options<EmaOptions>("ema")
            .field("decay", &EmaOptions::decay, "weight of the past average")
            .range(0, 0.99999999)
            .field("start", &EmaOptions::start,
                   "the update after which the first snapshot is taken")
            .field("every", &EmaOptions::every, "updates between snapshots")
            .above(0)
            .shorthand("decay");
    return description;
  }
};

class Ema final : public SnapshotAverage {
 public:
  explicit Ema(const EmaOptions& options)
      : SnapshotAverage(options.start, options.every), decay_(options.decay) {}

 protected:
  double share_of_next(int64_t) const override { return 1 - decay_; }

 private:
  double decay_;
};

}  // namespace

void add_ema(AveragingRegistry& registry) {
  registry.add(
      recipe::describe<EmaOptions>(
          "averaging", "ema", "exponential moving average of the weights",
          "w_ema <- decay w_ema + (1 - decay) w   (the first snapshot is a copy)",
          "Polyak & Juditsky 1992; Tarvainen & Valpola 2017, arXiv 1703.01780, equation 1",
          "Training does not see the average. It is float32 and is what the stage leaves. A "
          "pruning pattern must be fixed by the start, or the average fills its zeros."),
      [](const recipe::Component& component) {
        return std::make_unique<Ema>(component.as<EmaOptions>());
      });
}

}  // namespace compress::optim
