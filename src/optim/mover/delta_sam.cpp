#include <algorithm>
#include <cmath>

#include "compress/base/random.h"
#include "mover/ascent.h"
#include "mover/ascent_weights.h"

namespace compress::optim {

namespace {

using torch::Tensor;

constexpr int64_t most_probes = 64;

struct DeltaSamOptions {
  double rho = 0.05;
  double sigma = 0.001;
  int64_t probes = 1;
  std::string weighting = "curvature";
  bool renormalise = true;
  double clip = 10;
  std::string accumulation = "exact";
  std::string processes = "synchronised";

  static const recipe::Options<DeltaSamOptions>& options() {
    using O = DeltaSamOptions;
    static const auto description =
        recipe::Options<O>("delta_sam")
            .field("rho", &O::rho, "radius of the perturbation; 0 switches it off")
            .at_least(0)
            .field("sigma", &O::sigma, "standard deviation of the probes' noise on each weight")
            .above(0)
            .field(
                "probes", &O::probes,
                "random directions that are looked along; each takes two passes without gradient")
            .range(1, most_probes)
            .field("weighting", &O::weighting, "what a row's weight in the ascent is made of")
            .one_of({"uniform", "curvature", "curvature_over_slope"})
            .field("renormalise", &O::renormalise,
                   "the perturbation has length rho; otherwise rho times the weighted gradient")
            .field("clip", &O::clip, "a row's weight is at most this many times the mean weight")
            .at_least(1)
            .field("accumulation", &O::accumulation, accumulation_doc)
            .one_of(accumulation_names)
            .field("processes", &O::processes, processes_doc)
            .one_of(processes_names)
            .shorthand("rho");
    return description;
  }
};

class DeltaSam final : public Ascent {
 public:
  explicit DeltaSam(const DeltaSamOptions& options)
      : Ascent(options.rho, options.accumulation, options.processes), options_(options) {}

  void bind(const roles::Scene& scene) override {
    Ascent::bind(scene);
    seed_ = scene.seed;
    probed_.clear();
    for (nn::Parameter* parameter : scene.weights.trainable())
      if (parameter->role != nn::Role::embedding) probed_.push_back({parameter, {}, {}});
    if (uniform() || rho_ == 0 || scene.precision == nn::Precision::float32) return;
    check_precision(scene.precision, "sigma", options_.sigma,
                    [&](double, double) { return options_.sigma; });
  }

  std::string unrecordable() const override {
    return uniform() || rho_ == 0 ? Ascent::unrecordable()
                                  : "rows are weighed anew in every update";
  }

 protected:
  void look(const Progress& progress, Passes& passes, int64_t part) override {
    if (uniform()) return Ascent::look(progress, passes, part);
    const Tensor weights = row_weights(progress, passes, part);
    passes.pass({.part = part, .shared = shares(), .weights = weights});
  }
  bool normalises() const override { return options_.renormalise; }

 private:
  // A parameter that the noise reaches. An embedding's rows stay: a loss sees few of them, and the
  // noise would be drawn for all.
  struct Probed {
    nn::Parameter* parameter;
    Tensor saved, noise;  // its weights, and standard normal numbers on their device
  };

  bool uniform() const { return options_.weighting == "uniform"; }
  bool uniform_slope() const { return options_.weighting == "curvature"; }

  // v [rows] of the part's rows.
  Tensor row_weights(const Progress& progress, Passes& passes, int64_t part) {
    const Tensor here = passes.pass({.part = part, .gradient = false, .rows = true});
    save();
    Tensor curvature = torch::zeros_like(here), slope = torch::zeros_like(here);
    for (int64_t probe = 0; probe < options_.probes; ++probe) {
      // Parts that are perturbed for themselves look along directions of their own.
      draw(progress, probe + most_probes * std::max<int64_t>(part, 0));
      const Tensor ahead = losses_at(passes, part, options_.sigma),
                   behind = losses_at(passes, part, -options_.sigma);
      curvature += (ahead + behind - 2 * here).abs() / (options_.sigma * options_.sigma);
      slope += (ahead - behind).abs() * (std::sqrt(M_PI / 2) / (2 * options_.sigma));
    }
    put_back(passes);
    const auto probes = static_cast<double>(options_.probes);
    return ascent_weights(curvature / probes, uniform_slope() ? Tensor() : slope / probes,
                          options_.clip, options_.renormalise, shares() ? processes() : nullptr);
  }

  void save() {
    torch::NoGradGuard no_grad;
    for (Probed& probed : probed_) {
      const Tensor latent = probed.parameter->latent.detach();
      if (probed.saved.defined())
        probed.saved.copy_(latent);
      else
        probed.saved = latent.clone();
    }
  }

  void draw(const Progress& progress, int64_t probe) {
    auto generator = at::detail::createCPUGenerator(stream_seed(
        seed_, "noise", static_cast<uint64_t>(progress.step), static_cast<uint64_t>(probe)));
    for (Probed& probed : probed_) {
      // On the CPU, so that a card draws the same.
      Tensor noise = probed.noise.defined() && probed.noise.is_cpu()
                         ? probed.noise
                         : torch::empty(probed.saved.sizes());
      probed.noise = noise.normal_(0, 1, generator).to(probed.saved.device());
    }
  }

  // The losses of the part's rows at w + scale * noise.
  Tensor losses_at(Passes& passes, int64_t part, double scale) {
    torch::NoGradGuard no_grad;
    for (Probed& probed : probed_)
      probed.parameter->latent.detach().copy_(probed.saved).add_(probed.noise, scale);
    passes.weights_moved();
    return passes.pass({.part = part, .gradient = false, .rows = true});
  }

  void put_back(Passes& passes) {
    torch::NoGradGuard no_grad;
    for (Probed& probed : probed_) probed.parameter->latent.detach().copy_(probed.saved);
    passes.weights_restored();
  }

  DeltaSamOptions options_;
  uint64_t seed_ = 0;
  std::vector<Probed> probed_;
};

}  // namespace

Tensor ascent_weights(const Tensor& curvature, const Tensor& slope, double clip, bool renormalise,
                      parallel::Processes* processes) {
  Tensor weights = slope.defined() ? curvature / slope.clamp_min(1e-12) : curvature;
  Tensor sums =
      at::stack({weights.sum(), curvature.sum(),
                 torch::full({}, static_cast<double>(curvature.size(0)), curvature.options())});
  if (processes != nullptr) processes->sum(sums);
  const Tensor rows = sums[2].clamp_min(1), mean = sums[0] / rows;
  weights = weights.minimum(mean * clip);
  const Tensor scale = renormalise ? mean : sums[1] / rows;
  return at::where(scale.gt(0), weights / scale.clamp_min(1e-30), torch::ones_like(weights));
}

void add_delta_sam(MoverRegistry& registry) {
  registry.add(
      recipe::describe<DeltaSamOptions>(
          "sharpness", "delta_sam",
          "SAM whose ascent weighs the rows by how fast their gradients turn",
          "d ~ N(0, sigma^2);  c_i = |l_i(w + d) + l_i(w - d) - 2 l_i(w)| / sigma^2   (curvature)\n"
          "s_i = sqrt(pi / 2) |l_i(w + d) - l_i(w - d)| / (2 sigma)   (slope)\n"
          "v_i = 1 (uniform), c_i or c_i / s_i;  g = gradient of (1/B) sum_i v_i l_i\n"
          "eps = rho g / (||g||_2 + 1e-12), or with renormalise: false  rho sum_i v_i g_i / sum_i "
          "c_i\n"
          "g' = gradient at w + eps, unweighted;  the optimizer steps from w along g'",
          "Zhou et al. 2022, arXiv 2112.08772 (Findings of EMNLP): the idea; the weights' formula "
          "is "
          "our reading of it",
          "With uniform weights it is sam, bit for bit. Else two passes without gradient for each "
          "probe and one at w come before sam's two: about twice sam's time. All passes see the "
          "same dropout, weights are put back from a copy, and what `clip` cuts is g' alone. The "
          "noise leaves embeddings alone. Second differences cancel: a sigma "
          "that "
          "is too small gives noise, one that is too large leaves the neighbourhood. The published "
          "code is not available, and the paper's formula for the weights was not verified."),
      [](const recipe::Component& component) {
        return std::make_unique<DeltaSam>(component.as<DeltaSamOptions>());
      });
}

}  // namespace compress::optim
