#include "stages/kinds.h"

namespace compress::pipeline {

const StageRegistry& stages() {
  static const StageRegistry registry = [] {
    StageRegistry list("stage");
    add_train(list);
    add_evaluate(list);
    add_export(list);
    add_measure(list);
    add_generate(list);
    add_annotate(list);
    add_calibrate(list);
    add_augment_rows(list);
    return list;
  }();
  return registry;
}

}  // namespace compress::pipeline
