// Compacter's adapters.

#include "attach/attach.h"
#include "components.h"

namespace compress::surgery {

namespace {

struct PhmAdapterEdit : nn::PhmAdapterOptions {
  std::string name = kind;

  static const recipe::Options<PhmAdapterEdit>& options() {
    using O = PhmAdapterEdit;
    static const auto description = with_bottleneck(
        recipe::Options<O>(kind)
            .field("n", in<O>(&O::n), "Kronecker products in a matrix; divides both widths")
            .range(1, 256)
            .field("reduction", in<O>(&O::reduction), "the bottleneck is hidden / reduction wide")
            .range(1, 65536)
            .field("rank", in<O>(&O::rank), "of the second factors")
            .range(1, 4096));
    return description;
  }
};

}  // namespace

void add_phm_adapter(EditRegistry& registry) {
  registry.add(recipe::describe<PhmAdapterEdit>(
                   "surgery", "phm_adapter", "adapters of Kronecker products with a common part",
                   "y + W_up f(y W_down + b_down) + b_up,  W = sum_i A_i (x) (s_i t_i),  i = 1..n",
                   "Karimi Mahabadi et al. 2021 (Compacter), arXiv 2106.04647",
                   "The A_i [n, n] are one set for all adapters, s_i [in / n, rank] and t_i "
                   "[rank, out / n] each matrix's own. A begins at a deviation of 1e-4, so the "
                   "model begins next to what it computed. `after: feed_forward` is Compacter++."),
               attach_edit<PhmAdapterEdit>);
}

}  // namespace compress::surgery
