// Trained keys and values.

#include "attach/attach.h"
#include "components.h"

namespace compress::surgery {

namespace {

struct PrefixEdit : nn::PrefixOptions {
  std::string name = kind;

  static const recipe::Options<PrefixEdit>& options() {
    using O = PrefixEdit;
    static const auto description =
        recipe::Options<O>(kind)
            .field("length", in<O>(&O::length), "keys and values in front of each row's")
            .range(1, 65536)
            .field("hidden", in<O>(&O::hidden),
                   "width of the network that makes them of a table; 0: they are trained directly")
            .range(0, 65536)
            .field("of", in<O>(&O::of), "attention that sees them, of what the model has")
            .one_of({"encoder", "decoder", "cross_attention"})
            .field("name", &O::name, "of the attachment in the model");
    return description;
  }
};

}  // namespace

void add_prefix(EditRegistry& registry) {
  registry.add(recipe::describe<PrefixEdit>(
                   "surgery", "prefix", "trained keys and values that every token sees",
                   "softmax(q [P_k; K]^T) [P_v; V];  with hidden > 0: [P_k, P_v] = W tanh(U P + a) "
                   "+ b",
                   "Li and Liang 2021, arXiv 2101.00190, sections 4.2 and 4.3",
                   "They change the model from the start, have no positions and cannot be merged. "
                   "Usually with `train: [attachment]`."),
               attach_edit<PrefixEdit>);
}

}  // namespace compress::surgery
