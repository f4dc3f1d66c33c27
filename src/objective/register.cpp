#include "components.h"

namespace compress::objective {

const ObjectiveRegistry& objectives() {
  static const ObjectiveRegistry registry = [] {
    ObjectiveRegistry list("objective");
    add_labels(list);
    add_soft_labels(list);
    add_logits_mse(list);
    add_continuation(list);
    add_hidden_states(list);
    add_attention(list);
    add_contrastive(list);
    return list;
  }();
  return registry;
}

recipe::Component default_objective() {
  return objectives().defaults("labels");
}

}  // namespace compress::objective
