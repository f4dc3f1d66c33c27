#include "exchange.h"

#include <numeric>

#include "compress/base/error.h"
#include "compress/base/strings.h"

namespace compress::train {

using torch::Tensor;

// Losses are a process's share of the whole batch's, and gradients are averaged: the factor makes
// the average their sum.
void Exchange::backward(const Tensor& loss, bool overlap) {
  if (processes_ == nullptr) {
    loss.backward();
    return;
  }
  const Tensor scaled = loss * processes_->world();
  if (!overlap) {
    scaled.backward();
    return;
  }
  std::vector<Tensor> leaves = binding_.weights().leaves();
  for (Tensor& leaf : binding_.helpers().leaves()) leaves.push_back(leaf);
  parallel::translate(*processes_, [&] {
    if (!overlap_ || !overlap_->fits(leaves))
      overlap_ = std::make_unique<parallel::GradientAverage>(*processes_, leaves);
    overlap_->expect(scaled);
    scaled.backward();
  });
}

void Exchange::average_gradients(bool rows_only) {
  if (processes_ == nullptr) return;
  if (!rows_only) {
    std::vector<Tensor> gradients;
    for (const nn::Parameter* parameter : binding_.trained())
      if (!parameter->row_gradient && parameter->latent.grad().defined())
        gradients.push_back(parameter->latent.grad());
    processes_->average(gradients);
  }
  average_rows();
}

// Only touched rows of an embedding have a gradient: rows and their numbers are gathered, and added
// in the order of ranks, so that all get the same bits. Every process receives the rows of all
// others; where that is more than a reduction of whole tables moves, which is each row twice, these
// are reduced. (On devices every row has a gradient: no table is here.)
void Exchange::average_rows() {
  torch::NoGradGuard no_grad;
  std::vector<nn::Parameter*> tables;
  int64_t all = 0, mine = 0;
  for (nn::Parameter* parameter : binding_.trained()) {
    if (!parameter->row_gradient || !parameter->latent.grad().defined()) continue;
    tables.push_back(parameter);
    parameter->touched = {std::get<0>(at::_unique(torch::cat(parameter->touched)))};
    all += parameter->latent.size(0);
    mine += parameter->touched.front().numel();
  }
  if (tables.empty()) return;
  const std::vector<int64_t> counts = processes_->gather(mine);
  if (std::accumulate(counts.begin(), counts.end(), int64_t{0}) > 2 * all)
    average_tables(tables);
  else
    average_touched(tables, counts);
}

void Exchange::average_tables(const std::vector<nn::Parameter*>& tables) {
  std::vector<Tensor> gradients;
  for (nn::Parameter* table : tables) {
    gradients.push_back(table->latent.grad());
    table->touched = {
        torch::arange(table->latent.size(0), table->latent.options().dtype(torch::kInt64))};
  }
  processes_->average(gradients);
}

void Exchange::average_touched(const std::vector<nn::Parameter*>& tables,
                               const std::vector<int64_t>& counts) {
  std::vector<Tensor> ids, rows;
  int64_t first = 0;  // number of a table's first row among those of all tables
  for (nn::Parameter* table : tables) {
    const Tensor& touched = table->touched.front();
    Tensor& gradient = table->latent.mutable_grad();
    rows.push_back(gradient.index_select(0, touched));
    ids.push_back(touched + first);
    gradient.index_fill_(0, touched, 0);
    first += table->latent.size(0);
  }
  const Tensor all_ids = processes_->gather_rows(torch::cat(ids), counts);
  const Tensor all_rows =
      processes_->gather_rows(torch::cat(rows), counts).div_(processes_->world());
  first = 0;
  for (nn::Parameter* table : tables) {
    const int64_t count = table->latent.size(0);
    const Tensor mine =
        all_ids.ge(first).logical_and_(all_ids.lt(first + count)).nonzero().squeeze(1);
    const Tensor own = all_ids.index_select(0, mine) - first;
    table->latent.mutable_grad().index_add_(0, own, all_rows.index_select(0, mine));
    table->touched = {std::get<0>(at::_unique(own))};
    first += count;
  }
}

void Exchange::count_labels(data::Batch& batch) {
  if (processes_ == nullptr || batch.part.rows < 0 || batch.part.labelled >= 0 ||
      !batch.targets.token_index.defined())
    return;
  const auto own = static_cast<int64_t>(batch.part.counts ? batch.targets.labelled.size() : 0);
  const std::vector<int64_t> counts = processes_->gather(own);
  batch.part.labelled = std::accumulate(counts.begin(), counts.end(), int64_t{0});
  for (data::TokenMark& mark : batch.targets.marks) {  // those of an augment
    const std::vector<int64_t> marked =
        processes_->gather(batch.part.counts ? mark.update : int64_t{0});
    mark.update = std::accumulate(marked.begin(), marked.end(), int64_t{0});
  }
}

void Exchange::largest(const Tensor& value) {
  if (processes_ != nullptr) processes_->maximum(value);
}

void Exchange::sum(NamedValues& values) {
  if (processes_ == nullptr) return;
  Tensor sums = torch::zeros({static_cast<int64_t>(values.size())}, torch::kFloat64);
  for (size_t i = 0; i < values.size(); ++i) sums[static_cast<int64_t>(i)] = values[i].second;
  processes_->sum(sums);
  for (size_t i = 0; i < values.size(); ++i)
    values[i].second = sums[static_cast<int64_t>(i)].item<double>();
}

Exchange::Agreement Exchange::agree(bool finite, bool stop) {
  if (processes_ == nullptr) return {finite, stop};
  Tensor flags = torch::tensor({finite ? 0 : 1, stop ? 1 : 0}, torch::kInt64);
  processes_->maximum(flags);
  return {flags[0].item<int64_t>() == 0, flags[1].item<int64_t>() != 0};
}

namespace {

// A number that changes with any bit of a tensor.
Tensor fingerprint(const Tensor& tensor) {
  Tensor bits = tensor.detach().contiguous().view({-1});
  if (bits.scalar_type() == torch::kFloat32) bits = bits.view(torch::kInt32);
  return bits.sum(torch::kInt64).cpu();
}

}  // namespace

void Exchange::check_equal(const std::string& when) {
  if (processes_ == nullptr) return;
  torch::NoGradGuard no_grad;
  binding_.roles().optimizer->settle();
  std::vector<std::string> names;
  std::vector<Tensor> prints;
  auto add = [&](const std::string& name, const Tensor& tensor) {
    if (tensor.numel() == 0) return;
    names.push_back(name);
    prints.push_back(fingerprint(tensor));
  };
  for (const nn::ParamTable* table : {&binding_.weights(), &binding_.helpers()})
    for (const nn::Parameter& parameter : table->list()) add(parameter.name, parameter.latent);
  for (const Keyed& keyed : binding_.parts())
    for (const auto& [name, tensor] : keyed.part->compared()) add(keyed.key + ": " + name, tensor);
  Tensor low = torch::stack(prints), high = low.clone();
  processes_->minimum(low);
  processes_->maximum(high);
  const Tensor differ = low.ne(high).nonzero();
  if (differ.numel() == 0) return;
  throw Error(ErrorKind::process,
              str("the processes no longer hold the same model at ", when, ": ", differ.size(0),
                  " of ", names.size(), " tensors differ, the first is ",
                  names[static_cast<size_t>(differ[0][0].item<int64_t>())]),
              {},
              "all machines need the same program, LibTorch, kind of processor and number of "
              "threads; the last saved state is from before the difference was found");
}

}  // namespace compress::train
