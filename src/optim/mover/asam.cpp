#include "compress/base/strings.h"
#include "mover/ascent.h"

namespace compress::optim {

namespace {

struct AsamOptions {
  double rho = 0.5;
  double eta = 0.01;
  std::string accumulation = "exact";
  std::string processes = "synchronised";

  static const recipe::Options<AsamOptions>& options() {
    static const auto description =
        recipe::Options<AsamOptions>("asam")
            .field("rho", &AsamOptions::rho, "radius, relative to the weights; 0 switches it off")
            .at_least(0)
            .field("eta", &AsamOptions::eta, "added to |w|, so that zeros move too")
            .at_least(0)
            .field("accumulation", &AsamOptions::accumulation, accumulation_doc)
            .one_of(accumulation_names)
            .field("processes", &AsamOptions::processes, processes_doc)
            .one_of(processes_names)
            .shorthand("rho");
    return description;
  }
};

class Asam final : public Ascent {
 public:
  explicit Asam(const AsamOptions& options)
      : Ascent(options.rho, options.accumulation, options.processes), eta_(options.eta) {}

 protected:
  torch::Tensor norm(const std::vector<Piece>& pieces) override {
    std::vector<torch::Tensor> norms;
    norms.reserve(pieces.size());
    for (const Piece& piece : pieces)
      norms.push_back((scaled(piece) ? scale(piece).mul_(piece.gradient) : piece.gradient).norm());
    return at::stack(norms).norm();
  }

  torch::Tensor direction(const Piece& piece) override {
    if (!scaled(piece)) return piece.gradient;
    return scale(piece).square_().mul_(piece.gradient);
  }

  double typical(double share, double weight_rms) const override {
    return share * (weight_rms + eta_);
  }

 private:
  static bool scaled(const Piece& piece) { return ends_with(piece.parameter->name, "weight"); }

  // T = |w| + eta in memory that all pieces share, of the largest one's size.
  torch::Tensor scale(const Piece& piece) {
    if (!scratch_.defined() || scratch_.numel() < piece.saved.numel() ||
        scratch_.device() != piece.saved.device())
      scratch_ = torch::empty({piece.saved.numel()}, piece.saved.options());
    torch::Tensor view = scratch_.narrow(0, 0, piece.saved.numel()).view(piece.saved.sizes());
    return at::abs_out(view, piece.saved).add_(eta_);
  }

  double eta_;
  torch::Tensor scratch_;
};

}  // namespace

void add_asam(MoverRegistry& registry) {
  registry.add(
      recipe::describe<AsamOptions>(
          "sharpness", "asam", "SAM in a neighbourhood that scales with the weights",
          "T = |w| + eta for tensors named ...weight, 1 elsewhere\n"
          "eps = rho T^2 g / (||T g||_2 + 1e-12);  then as SAM",
          "Kwon et al. 2021, arXiv 2102.11600, equation 12 and algorithm 1",
          "With eta = 0, rescaling neighbouring layers without changing the function does not "
          "change the perturbed loss. Time, memory and the precision check as for sam; the "
          "perturbation of a weight w is taken as rho (|w| + eta) / sqrt(N)."),
      [](const recipe::Component& component) {
        return std::make_unique<Asam>(component.as<AsamOptions>());
      });
}

}  // namespace compress::optim
