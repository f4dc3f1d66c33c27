#include "mover/ascent.h"

namespace compress::optim {

namespace {

struct SamOptions {
  double rho = 0.05;
  std::string accumulation = "exact";
  std::string processes = "synchronised";

  static const recipe::Options<SamOptions>& options() {
    static const auto description =
        recipe::Options<SamOptions>("sam")
            .field("rho", &SamOptions::rho, "radius of the perturbation; 0 switches it off")
            .at_least(0)
            .field("accumulation", &SamOptions::accumulation, accumulation_doc)
            .one_of(accumulation_names)
            .field("processes", &SamOptions::processes, processes_doc)
            .one_of(processes_names)
            .shorthand("rho");
    return description;
  }
};

class Sam final : public Ascent {
 public:
  explicit Sam(const SamOptions& options)
      : Ascent(options.rho, options.accumulation, options.processes) {}
};

}  // namespace

void add_sam(MoverRegistry& registry) {
  registry.add(
      recipe::describe<SamOptions>(
          "sharpness", "sam", "steps along the gradient at the worst point nearby",
          "eps = rho g / (||g||_2 + 1e-12);  g' = gradient at w + eps;  the optimizer steps from w "
          "along g'\n||g||_2 is one norm over all parameters",
          "Foret et al. 2021, arXiv 2010.01412, equation 2",
          "A second forward and backward pass on the same batch with the same dropout: about twice "
          "the time. Weights are put back bit for bit. Of an embedding only the batch's rows move. "
          "Refused in bf16 and fp16 where rho / sqrt(N) is under a quarter of the spacing of "
          "such numbers at the weights' size (N: perturbed weights, embeddings aside)."),
      [](const recipe::Component& component) {
        return std::make_unique<Sam>(component.as<SamOptions>());
      });
}

}  // namespace compress::optim
