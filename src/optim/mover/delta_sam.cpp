#include <algorithm>
#include <cmath>

#include "compress/base/random.h"
#include "mover/ascent.h"

namespace compress::optim {

namespace {

using torch::Tensor;

struct DeltaSamOptions {
  double rho = 0.05;
  double sigma = 0.001;
  int64_t probes = 1;
  std::string weighting = "curvature";
  bool renormalise = true;
  double clip = 10;

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
            .range(1, 64)
            .field("weighting", &O::weighting, "what a row's weight in the ascent is made of")
            .one_of({"uniform", "curvature", "curvature_over_slope"})
            .field("renormalise", &O::renormalise,
                   "the perturbation has length rho; otherwise rho times the weighted gradient")
            .field("clip", &O::clip, "a row's weight is at most this many times the mean weight")
            .at_least(1)
            .shorthand("rho");
    return description;
  }
};

class DeltaSam final : public Ascent {
 public:
  explicit DeltaSam(const DeltaSamOptions& options)
      : Ascent(options.rho, "exact", "synchronised"), options_(options) {}

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
    return uniform() || rho_ == 0 ? "" : "rows are weighed anew in every update";
  }

  void gradients(const Progress& progress, Passes& passes) override {
    if (uniform() || rho_ == 0) return Ascent::gradients(progress, passes);
    passes.pass({.weights = row_weights(progress, passes)});
    descend(passes);
  }

 protected:
  bool normalises() const override { return options_.renormalise; }

 private:
  // A parameter that the noise reaches. An embedding's rows stay: a loss sees few of them, and the
  // noise would be drawn for all.
  struct Probed {
    nn::Parameter* parameter;
    Tensor saved, noise;  // its weights, and standard normal numbers on their device
  };

  bool uniform() const { return options_.weighting == "uniform"; }

  // v [rows], of mean 1 where `renormalise` makes the rest of no account.
  Tensor row_weights(const Progress& progress, Passes& passes) {
    const Tensor here = passes.pass({.gradient = false, .rows = true});
    save();
    Tensor curvature = torch::zeros_like(here), slope = torch::zeros_like(here);
    for (int64_t probe = 0; probe < options_.probes; ++probe) {
      draw(progress, probe);
      const Tensor ahead = look(passes, options_.sigma), behind = look(passes, -options_.sigma);
      curvature += (ahead + behind - 2 * here).abs() / (options_.sigma * options_.sigma);
      slope += (ahead - behind).abs() * (std::sqrt(M_PI / 2) / (2 * options_.sigma));
    }
    put_back(passes);
    const auto probes = static_cast<double>(options_.probes);
    curvature /= probes;
    slope /= probes;
    Tensor weights = curvature;
    if (options_.weighting == "curvature_over_slope") weights = curvature / slope.clamp_min(1e-12);
    // Means over the rows of all processes.
    Tensor sums = at::stack({weights.sum(), curvature.sum(),
                             torch::full({}, static_cast<double>(here.size(0)), here.options())});
    if (processes() != nullptr) processes()->sum(sums);
    const Tensor rows = sums[2].clamp_min(1), mean = sums[0] / rows;
    weights = weights.minimum(mean * options_.clip);
    const Tensor scale = options_.renormalise ? mean : sums[1] / rows;
    // Losses without any curvature leave all rows alike.
    return at::where(scale.gt(0), weights / scale.clamp_min(1e-30), torch::ones_like(weights));
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

  // The rows' losses at w + scale * noise.
  Tensor look(Passes& passes, double scale) {
    torch::NoGradGuard no_grad;
    for (Probed& probed : probed_)
      probed.parameter->latent.detach().copy_(probed.saved).add_(probed.noise, scale);
    passes.weights_moved();
    return passes.pass({.gradient = false, .rows = true});
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
          "same dropout. The noise leaves embeddings alone. Second differences cancel: a sigma "
          "that "
          "is too small gives noise, one that is too large leaves the neighbourhood. The published "
          "code is not available, and the paper's formula for the weights was not verified."),
      [](const recipe::Component& component) {
        return std::make_unique<DeltaSam>(component.as<DeltaSamOptions>());
      });
}

}  // namespace compress::optim
