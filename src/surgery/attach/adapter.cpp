// Adapters behind sub-layers.

#include "attach/attach.h"
#include "components.h"

namespace compress::surgery {

namespace {

struct AdapterEdit : nn::AdapterOptions {
  std::string name = kind;

  static const recipe::Options<AdapterEdit>& options() {
    using O = AdapterEdit;
    static const auto description =
        with_bottleneck(recipe::Options<O>(kind)
                            .field("size", in<O>(&O::size), "of the bottleneck")
                            .range(1, 65536));
    return description;
  }
};

}  // namespace

void add_adapter(EditRegistry& registry) {
  registry.add(recipe::describe<AdapterEdit>(
                   "surgery", "adapter", "small bottlenecks behind the sub-layers of a model",
                   "y + W_up f(W_down y + b_down) + b_up,  W_down [size, hidden]",
                   "Houlsby et al. 2019, arXiv 1902.00751, section 2.1",
                   "Stands before dropout and residual. W_up and the biases begin at zero, so the "
                   "model begins with what it computed before. Behind one sub-layer alone: "
                   "`after: feed_forward` (Pfeiffer et al. 2021, arXiv 2005.00247) or `after: "
                   "attention`. Usually with `train: [attachment, norm, head]`."),
               attach_edit<AdapterEdit>);
}

}  // namespace compress::surgery
