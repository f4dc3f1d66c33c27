// Gradual magnitude pruning.

#include <algorithm>
#include <cmath>
#include <optional>

#include "components.h"
#include "compress/base/error.h"
#include "compress/base/log.h"
#include "compress/base/strings.h"
#include "pruning/mask.h"
#include "pruning/pattern.h"
#include "pruning/threshold.h"
#include "selection.h"

namespace compress::constraint {

namespace {

using recipe::Fraction;

struct MagnitudeOptions {
  std::optional<Fraction> sparsity;  // left out for n of m alone
  Fraction initial;
  Duration begin = Duration::percent(0);
  Duration end = Duration::percent(50);
  Duration every = Duration::steps(10);
  std::optional<Duration> until;
  std::string schedule = "cubic";
  std::string scope = "global";
  std::string threshold = "exact";
  std::optional<PatternOptions> pattern;
  std::vector<std::string> targets = {"encoder"};
  std::vector<std::string> exclude;
  bool regrowth = true;

  static const recipe::Options<MagnitudeOptions>& options();
  // What n of m says is exact, however the recipe rounds it.
  double final_sparsity() const {
    const nn::Pattern units = pattern_of(pattern);
    if (!units.groups()) return sparsity ? sparsity->value : 0;
    return 1 - static_cast<double>(units.kept) / static_cast<double>(units.of);
  }
};

void check_sparsity(const MagnitudeOptions& o, const recipe::Mark& mark,
                    recipe::Problems& problems) {
  const bool groups = pattern_of(o.pattern).groups();
  if (!o.sparsity && !groups)
    problems.add(mark, "magnitude needs 'sparsity'",
                 "the part of the weights that ends as zeros: 80%");
  if (o.sparsity && o.sparsity->value >= 1)
    problems.add(mark, "sparsity must be below 1: no weight would be left", "write 90% or 0.9");
  const double last = o.final_sparsity();
  if (o.initial.value > last)
    problems.add(mark, str("initial ", percent(o.initial.value), " is above the final sparsity ",
                           percent(last)));
  if (groups && o.sparsity && std::abs(last - o.sparsity->value) > 1e-4)
    problems.add(mark,
                 str(o.pattern->pattern().text(), " is a sparsity of ", percent(last), ", not of ",
                     percent(o.sparsity->value)),
                 "leave `sparsity` out");
}

void check_magnitude(const MagnitudeOptions& o, const recipe::Mark& mark,
                     recipe::Problems& problems) {
  check_sparsity(o, mark, problems);
  if (o.begin.unit == o.end.unit && o.begin.value > o.end.value && o.schedule != "constant")
    problems.add(mark,
                 "pruning begins at " + o.begin.text() + ", after its end at " + o.end.text());
  if (o.targets.empty()) problems.add(mark, "targets is empty: nothing would be pruned");
}

const recipe::Options<MagnitudeOptions>& MagnitudeOptions::options() {
  using M = MagnitudeOptions;
  static const auto description =
      recipe::Options<M>("magnitude")
          .field(
              "sparsity", &M::sparsity,
              "part of the targets' weights that ends as zeros, below 1; needed unless `pattern` "
              "is n of m, which says it")
          .field("initial", &M::initial, "sparsity of the first step, at `begin`")
          .field("begin", &M::begin, "update of the first step")
          .field("end", &M::end, "update at which the full sparsity is reached")
          .field("every", &M::every, "updates between steps")
          .above(0)
          .field("until", &M::until,
                 "masks are chosen anew at the full sparsity up to this update; default: `end`. "
                 "The pattern is fixed from there")
          .field("schedule", &M::schedule,
                 "how sparsity grows; constant: all at once at `begin`, `end` unused")
          .one_of({"cubic", "linear", "constant"})
          .field("scope", &M::scope, "rank weights over all targets, or prune each tensor alike")
          .one_of({"global", "uniform"})
          .field("threshold", &M::threshold,
                 "exact: round(s n) zeros; strict: the k = floor(s n)-th smallest magnitude is the "
                 "threshold, and what is not above it becomes 0, all weights that tie with it too")
          .one_of({"exact", "strict"})
          .field("pattern", &M::pattern,
                 "{block: [1, 4]}: weights go in blocks of so many outputs and inputs; {n: 2, of: "
                 "4}: 2 of each 4 inputs stay; left out: each weight for itself")
          .field("targets", &M::targets, "roles, groups of roles or globs over tensor names")
          .field("exclude", &M::exclude, "globs over tensor names")
          .field("regrowth", &M::regrowth,
                 "masked weights keep their value and may return at a later step")
          .check(check_magnitude)
          .shorthand("sparsity");
  return description;
}

class Magnitude final : public Constraint {
 public:
  explicit Magnitude(const MagnitudeOptions& options) : options_(options) {}

  void bind(const roles::Scene& scene) override {
    resolve(scene.length);
    moments_ = scene.moments;
    const nn::Pattern pattern = pattern_of(options_.pattern);
    const auto targets = select(scene.weights, {options_.targets, options_.exclude}, mark_);
    if (options_.pattern) check_divides(pattern, targets, options_.pattern->mark);
    masks_.bind(targets, pattern);
  }
  std::vector<Match> matches() const override {
    return masks_.matches(str("pruned to ", percent(options_.final_sparsity()),
                              masks_.pattern().behind(), " (", options_.scope, ")"));
  }
  bool before_update(const Progress& progress) override;
  void after_update(const Progress&) override {
    if (!options_.regrowth) masks_.apply_to_latents();
  }
  int64_t pattern_fixed_from() const override { return until_ + 1; }
  nn::TensorMap state() const override { return masks_.state(); }
  void load_state(const nn::TensorMap& state) override { masks_.load_state(state); }
  void finish() override { masks_.apply_to_latents(); }
  std::string report() const override;

 private:
  void resolve(const Length& length);
  bool due(int64_t step) const {
    return step >= begin_ && step <= until_ &&
           (step == end_ || step == until_ || (step - begin_) % every_ == 0);
  }
  double target(int64_t step) const;
  // Masks `sparsity` of what the pattern ranks in `part`: exactly, or whatever is not above the
  // threshold.
  void prune(const std::vector<Mask*>& part, double sparsity);
  [[noreturn]] void refuse_not_finite(const std::vector<Mask*>& part) const;

  MagnitudeOptions options_;
  Moments moments_;
  int64_t begin_ = 0, end_ = 0, until_ = 0, every_ = 1;
  Masks masks_;
};

void Magnitude::resolve(const Length& length) {
  auto steps = [&](const Duration& duration) {
    return duration.resolve(length.steps_per_epoch, length.total_steps);
  };
  auto refuse = [&](const std::string& what) {
    throw Error(ErrorKind::recipe, what, mark_.text(),
                str("the stage has ", length.total_steps, " updates"));
  };
  begin_ = steps(options_.begin);
  end_ = options_.schedule == "constant" ? begin_ : steps(options_.end);
  every_ = std::max<int64_t>(1, steps(options_.every));
  if (begin_ >= length.total_steps)
    refuse(str("pruning would begin at update ", begin_, ", after the stage"));
  if (end_ > length.total_steps)
    refuse(str("pruning would end at update ", end_, ", after the stage"));
  if (begin_ > end_)
    refuse(str("pruning begins at update ", begin_, ", after its end at update ", end_));
  // The last step comes before an update, so that the weights that stay can follow.
  end_ = std::min(end_, length.total_steps - 1);
  if (options_.until && steps(*options_.until) > length.total_steps)
    refuse(str("`until` is update ", steps(*options_.until), ", after the stage"));
  until_ = std::min(options_.until ? steps(*options_.until) : end_, length.total_steps - 1);
  if (until_ < end_)
    refuse(str("`until` is update ", until_, ", before pruning ends at update ", end_));
}

double Magnitude::target(int64_t step) const {
  const double last = options_.final_sparsity(), first = options_.initial.value;
  if (step >= end_) return last;
  const double left = 1 - static_cast<double>(step - begin_) / static_cast<double>(end_ - begin_);
  return last + (first - last) * (options_.schedule == "cubic" ? left * left * left : left);
}

bool Magnitude::before_update(const Progress& progress) {
  if (!due(progress.step)) return false;
  const double sparsity = target(progress.step);
  std::vector<Mask*> all;
  for (Mask& mask : masks_.list()) all.push_back(&mask);
  if (options_.scope == "global") {
    prune(all, sparsity);
  } else {
    for (Mask* mask : all) prune({mask}, sparsity);
  }
  masks_.apply_to_moments(moments_);
  if (!options_.regrowth) masks_.apply_to_latents();
  if (progress.step == until_)
    for (const std::string& name : masks_.emptied())
      log::warn(name + " was pruned away as a whole");
  return true;
}

void Magnitude::prune(const std::vector<Mask*>& part, double sparsity) {
  const nn::Pattern& pattern = masks_.pattern();
  std::vector<torch::Tensor> scores, before, kept;
  std::vector<Ranked> ranked;
  int64_t count = 0;
  for (const Mask* mask : part) {
    const torch::Tensor weight = mask->parameter->latent.detach().to(torch::kCPU).contiguous();
    const bool sticky = !options_.regrowth && mask->keep.defined();
    const torch::Tensor keep = sticky ? mask->keep.to(torch::kCPU).contiguous() : torch::Tensor();
    scores.push_back(unit_scores(weight, keep, pattern));
    before.push_back(mask_of_units(keep, pattern));
    kept.push_back(torch::empty(scores.back().sizes(), torch::kUInt8));
    ranked.push_back({scores.back().const_data_ptr<float>(),
                      sticky ? before.back().const_data_ptr<uint8_t>() : nullptr,
                      kept.back().mutable_data_ptr<uint8_t>(), scores.back().numel()});
    count += scores.back().numel();
  }
  const bool strict = options_.threshold == "strict";
  const double wanted = sparsity * static_cast<double>(count);
  int64_t smallest = strict ? static_cast<int64_t>(wanted) : std::llround(wanted);
  if (pattern.groups() && sparsity >= options_.final_sparsity())
    smallest = most_masked(count, pattern);
  if (!mask_smallest(ranked, smallest)) refuse_not_finite(part);
  if (strict && smallest > 0) mask_ties(ranked);
  for (size_t i = 0; i < part.size(); ++i) part[i]->set(mask_of_weights(kept[i], pattern));
}

void Magnitude::refuse_not_finite(const std::vector<Mask*>& part) const {
  std::string name;
  for (const Mask* mask : part)
    if (name.empty() && !mask->parameter->latent.detach().isfinite().all().item<bool>())
      name = mask->parameter->name;
  throw Error(ErrorKind::diverged, "a weight of " + name + " is not finite", mark_.text(),
              "lower the learning rate, or clip gradients");
}

std::string Magnitude::report() const {
  std::string line = masks_.report();
  const double wanted = options_.final_sparsity() * static_cast<double>(masks_.count());
  // Uniform counts are rounded for each tensor, and a unit goes as a whole.
  const auto unit = static_cast<double>(masks_.pattern().rows * masks_.pattern().columns);
  bool reached =
      static_cast<double>(masks_.zeros()) + unit * static_cast<double>(masks_.list().size()) >=
      std::floor(wanted);
  return reached ? line : line + ", short of " + percent(options_.final_sparsity());
}

}  // namespace

void add_magnitude(PruningRegistry& registry) {
  registry.add(
      recipe::describe<MagnitudeOptions>(
          "pruning", "magnitude", "gradual pruning of the smallest weights",
          "s(t) = s_f + (s_i - s_f) (1 - x)^3,  x = (t - begin) / (end - begin)   (cubic)\n"
          "s(t) = s_f + (s_i - s_f) (1 - x)   (linear);  s(t) = s_f at begin   (constant)\n"
          "zeros = round(s n): the smallest |w|;  effective w = mask * w;  dL/dw = mask * "
          "dL/d(effective)",
          "Zhu & Gupta 2017, arXiv 1710.01878, eq. 1; with regrowth as in Zafrir et al. 2021, "
          "arXiv 2111.05754; a large first step (`initial`) as in Kurtic & Alistarh 2022, arXiv "
          "2210.06384; blocks: Narang et al. 2017, arXiv 1711.02782; n of m: Zhou et al. 2021, "
          "arXiv 2102.04010",
          "Counts are exact: round(s n) zeros over all targets (global) or in each tensor "
          "(uniform); among equal magnitudes the earlier weight goes first. `threshold: strict` is "
          "the rule of Prune Once for All's published code, where equal magnitudes all go. The "
          "mask is computed anew before the updates begin, begin + every, ..., end and until; an "
          "end at the stage's last update or after it counts as the last update. With `pattern: "
          "{block: [r, c]}` what is ranked and counted are blocks of r outputs and c inputs, by "
          "their mean magnitude; with `{n: 2, of: 4}` at most 2 weights of 4 consecutive inputs "
          "of an output are not zero at the end, and on the way the smallest of those that may go "
          "are the first. A block's sizes, and `of`, must divide all targets. With regrowth a "
          "masked "
          "weight keeps its value, gets no gradient and may return at the next step; without, it "
          "is "
          "zeroed for good. Optimizer moments of masked weights are zeroed at each step. Averaging "
          "must not begin before the pattern is fixed."),
      [](const recipe::Component& component) {
        return std::make_unique<Magnitude>(component.as<MagnitudeOptions>());
      });
}

}  // namespace compress::constraint
