#include "compress/objective/losses.h"

#include <algorithm>

namespace compress::objective {

using torch::Tensor;

namespace {

// Whether the batch is padded to its graph's size with further units of this kind.
bool is_padded(Unit unit, const data::Batch& batch) {
  return batch.present.defined() && (unit == Unit::tokens || unit == Unit::predicted);
}

// Without those of padding.
Tensor values_of(const UnitLosses& losses, const data::Batch& batch) {
  return is_padded(losses.unit, batch) ? losses.values * batch.present.squeeze(1) : losses.values;
}

// Units of the whole update. In a padded batch only the device knows.
Tensor count_of(Unit unit, const data::Batch& batch, const Tensor& like) {
  if (is_padded(unit, batch)) return batch.present.sum();
  int64_t count = batch.update_examples();
  if (unit == Unit::tokens) count = batch.update_tokens();
  if (unit == Unit::predicted) count = batch.predicted().update_tokens();
  if (unit == Unit::labels) count = batch.update_labelled();
  return torch::scalar_tensor(static_cast<double>(std::max<int64_t>(count, 1)),
                              torch::TensorOptions().dtype(like.scalar_type()));
}

// The row (or example) of each unit, [N] int64.
Tensor rows_of(Unit unit, const data::Batch& batch) {
  auto of_tokens = [](const data::Batch& read) {
    return read.slots.floor_divide(std::max<int64_t>(1, read.longest));
  };
  Tensor rows;
  if (unit == Unit::tokens) rows = of_tokens(batch);
  if (unit == Unit::predicted) rows = of_tokens(batch.predicted());
  if (unit == Unit::labels)
    rows = of_tokens(batch.predicted()).index_select(0, batch.targets.token_index);
  return batch.choices == 1 ? rows : rows.floor_divide(batch.choices);
}

Tensor both(const Tensor& one, const Tensor& other) {
  return !one.defined() ? other : !other.defined() ? one : one * other;
}

}  // namespace

void Losses::add(Tensor values, Unit unit) {
  for (UnitLosses& known : list_)
    if (known.unit == unit) {
      known.values = known.values + values;
      return;
    }
  list_.push_back({std::move(values), unit});
}

Tensor Losses::share(const data::Batch& batch, const Tensor& row_weights) const {
  const Tensor weights = both(batch.targets.weights, row_weights);
  Tensor total;
  for (const UnitLosses& losses : list_) {
    Tensor values = values_of(losses, batch);
    if (weights.defined())
      values = values * (losses.unit == Unit::rows
                             ? weights
                             : weights.index_select(0, rows_of(losses.unit, batch)));
    const Tensor mean = values.sum() / count_of(losses.unit, batch, values);
    total = total.defined() ? total + mean : mean;
  }
  // A row that stands in for a share without rows weighs nothing.
  return batch.part.counts ? total : total * 0;
}

Tensor Losses::of_rows(const data::Batch& batch) const {
  torch::NoGradGuard no_grad;
  const auto all = static_cast<double>(std::max<int64_t>(batch.update_examples(), 1));
  Tensor rows;
  for (const UnitLosses& losses : list_) {
    Tensor own = values_of(losses, batch);
    if (losses.unit != Unit::rows)
      own = torch::zeros({batch.examples()}, own.options())
                .index_add(0, rows_of(losses.unit, batch), own) *
            (all / count_of(losses.unit, batch, own));
    rows = rows.defined() ? rows + own : own;
  }
  if (batch.targets.weights.defined()) rows = rows * batch.targets.weights;
  return batch.part.counts ? rows : torch::zeros_like(rows);
}

}  // namespace compress::objective
