// Low-rank additions to matrices.

#include "attach/attach.h"
#include "components.h"

namespace compress::surgery {

namespace {

struct LoraEdit : nn::LoraOptions {
  std::string name = kind;

  static const recipe::Options<LoraEdit>& options() {
    using O = LoraEdit;
    static const auto description =
        recipe::Options<O>(kind)
            .field("rank", in<O>(&O::rank), "of the addition")
            .range(1, 65536)
            .field("alpha", in<O>(&O::alpha), "the addition counts alpha / rank")
            .above(0)
            .field("dropout", in<O>(&O::dropout), "of what the addition reads")
            .range(0, 0.99)
            .field("targets", in<O>(&O::targets),
                   "matrices inside of layers: roles, groups of roles or globs over tensor names")
            .field("name", &O::name, "of the attachment in the model");
    return description;
  }
};

}  // namespace

void add_lora(EditRegistry& registry) {
  registry.add(recipe::describe<LoraEdit>(
                   "surgery", "lora", "a low-rank addition beside matrices of a model",
                   "W x + alpha / rank * B A x,  A [rank, in], B [out, rank]",
                   "Hu et al. 2021, arXiv 2106.09685, section 4.1",
                   "B begins at zero, so the model begins with what it computed before; A is "
                   "uniform within 1 / sqrt(in). It may be merged into the weights (`merge`). "
                   "Usually with `train: [attachment, head]`."),
               attach_edit<LoraEdit>);
}

}  // namespace compress::surgery
