#include "averaging/average.h"
#include "compress/base/error.h"

namespace compress::optim {

namespace {

struct SwaOptions {
  Duration start = Duration::percent(50);
  Duration every = Duration::steps(1);
  std::optional<double> lr;
  std::optional<bool> start_weights;

  static const recipe::Options<SwaOptions>& options() {
    static const auto description =
        recipe::Options<SwaOptions>("swa")
            .field("start", &SwaOptions::start,
                   "the update after which the first snapshot is taken")
            .field("every", &SwaOptions::every, "updates between snapshots")
            .above(0)
            .field("lr", &SwaOptions::lr,
                   "constant learning rate from the start on; default: where the schedule is at "
                   "the start")
            .above(0)
            .field("start_weights", &SwaOptions::start_weights,
                   "whether the weights at the start are the first model, be it those that the "
                   "stage begins with (Lu et al., algorithm 1), or those `every` updates later; "
                   "default: yes, of weights that were updated")
            .shorthand("start");
    return description;
  }
};

class Swa final : public SnapshotAverage {
 public:
  explicit Swa(const SwaOptions& options)
      : SnapshotAverage(options.start, options.every, first(options)), rate_(options.lr) {}

  void bind(const roles::Scene& scene) override {
    SnapshotAverage::bind(scene);
    if (starts_at() == 0 && !rate_)
      throw Error(ErrorKind::recipe,
                  "averaging begins with the stage, where the schedule may still warm up",
                  mark_.text(), "name the constant rate: `lr`");
  }

  bool holds_rate() const override { return true; }
  std::optional<double> constant_rate() const override { return rate_; }

 protected:
  double share_of_next(int64_t count) const override {
    return 1.0 / static_cast<double>(count + 1);
  }

 private:
  static First first(const SwaOptions& options) {
    if (!options.start_weights) return First::updated;
    return *options.start_weights ? First::start : First::later;
  }

  std::optional<double> rate_;
};

}  // namespace

void add_swa(AveragingRegistry& registry) {
  registry.add(
      recipe::describe<SwaOptions>(
          "averaging", "swa", "mean of the weights along the trajectory",
          "w_swa <- (n w_swa + w) / (n + 1);  n <- n + 1   (the first snapshot is a copy)",
          "Izmailov et al. 2018, arXiv 1803.05407; Lu et al. 2022, arXiv 2212.05956 (every step, "
          "with a high constant rate, for language models)",
          "Training does not see the mean: its trajectory is the same with and without. The mean "
          "is float32 and is what the stage leaves. From T updates, floor((T - start) / every) + 1 "
          "snapshots are taken, where start is at least 1 unless `start_weights` says more: the "
          "weights at the start and those after each `every` updates of a constant rate, which is "
          "Lu et al.'s algorithm 1. A pruning pattern must be fixed by the start, or the mean "
          "fills its zeros."),
      [](const recipe::Component& component) {
        return std::make_unique<Swa>(component.as<SwaOptions>());
      });
}

}  // namespace compress::optim
