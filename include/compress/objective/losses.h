#pragma once
// Losses before they are a mean: one value a unit, so that an update gives the same however it is
// cut into micro-batches and over processes, and rows can be weighed.

#include <vector>

#include "compress/data/batch.h"
#include "compress/nn/model.h"

namespace compress::objective {

// What a loss is of, and therefore what its mean is over.
enum class Unit {
  rows,       // an example: a row, or the choices of one
  tokens,     // of the rows that the model reads first
  predicted,  // tokens of the decoder behind an encoder; of other models the same as tokens
  labels      // tokens with a label
};

// values [N] float32, in the order of the batch's units. Where a batch is padded to its graph's
// size, those of padding are there and do not count (data::Batch::present).
struct UnitLosses {
  torch::Tensor values;
  Unit unit = Unit::rows;
};

class Losses {
 public:
  Losses() = default;
  Losses(torch::Tensor values, Unit unit) { add(std::move(values), unit); }
  // Values of one unit add up, unit by unit.
  void add(torch::Tensor values, Unit unit);
  const std::vector<UnitLosses>& list() const { return list_; }

  // The batch's share of the update's loss: for each unit the sum of its values over the number of
  // such units in the whole update. A scalar float32. Each unit's loss is multiplied by the weight
  // of its example: that of the data (Targets::weights) and `row_weights` [examples], each 1 where
  // it is undefined.
  torch::Tensor share(const data::Batch& batch, const torch::Tensor& row_weights = {}) const;
  // The loss of each row (or example) [B], times its weight in the data: their mean over the update
  // is the loss. Without gradients.
  torch::Tensor of_rows(const data::Batch& batch) const;

 private:
  std::vector<UnitLosses> list_;
};

}  // namespace compress::objective
