#pragma once
// The state of an unfinished stage: everything that the next update depends on, in one atomic file.

#include "compress/train/binding.h"
#include "loss_scale.h"
#include "selection.h"

namespace compress::train {

// What a state is of, besides the binding's parts and weights.
struct Standing {
  Progress progress;
  double seconds = 0;  // of training, over all sittings
};

class StateFile {
 public:
  // `scale` may be null. Without a file name nothing is saved or read.
  StateFile(const Job& job, Binding& binding, Selection& selection, LossScale* scale)
      : job_(job), binding_(binding), selection_(selection), scale_(scale) {}

  void save(const Standing& standing);
  // Where the stage goes on; nothing where there is no saved state. Error{recipe} for another
  // stage's state, Error{model} for a damaged one.
  std::optional<Standing> load();

 private:
  const Job& job_;
  Binding& binding_;
  Selection& selection_;
  LossScale* scale_;
};

}  // namespace compress::train
