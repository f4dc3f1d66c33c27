#pragma once
// Scores on the validation part, the weights that they choose, and when there is no point in going
// on.

#include <optional>
#include <string>

#include "compress/train/binding.h"

namespace compress::train {

class Selection {
 public:
  Selection(const Job& job, Binding& binding) : job_(job), binding_(binding) {}

  // Scores the student, with averaged weights where there are some, and keeps the weights if they
  // are the best so far.
  Score evaluate(const Progress& progress);
  // No gain for as many scores as the recipe's patience.
  bool finished() const;
  // Leaves the stage's weights in the student: the best ones, or the last, averaged where asked
  // for. What was done is added to the notes.
  void restore(const Progress& progress, Result& result);

  // The score before the first update, in words; "" where there was none.
  const std::string& before() const { return before_; }
  // What a resumed run needs of it.
  nn::Json numbers() const;
  void load_numbers(const nn::Json& numbers);
  nn::TensorMap& weights() { return weights_; }

 private:
  bool counts(const Progress& progress) const;
  void keep(const Progress& progress, const Score& score);
  // Exchanges live weights and averages, where there are averages; says whether.
  bool swap();

  const Job& job_;
  Binding& binding_;
  std::optional<double> best_;
  int64_t best_step_ = 0, scores_since_ = 0;
  nn::TensorMap weights_;  // the best ones
  std::string before_;
};

}  // namespace compress::train
