// What a training stage exchanges with the other processes of the run. Each works on its share of
// every batch; gradients are averaged, and everything else follows from them and is the same bits
// on all.

#include "compress/parallel/processes.h"

#include <numeric>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "trainer.h"

namespace compress::train {

using torch::Tensor;

// Losses are a process's share of the whole batch's, and gradients are averaged: the factor makes
// the average their sum.
void Trainer::run_backward(const Tensor& loss, bool overlap) {
  if (processes_ == nullptr) {
    loss.backward();
    return;
  }
  const Tensor scaled = loss * processes_->world();
  if (!overlap) {
    scaled.backward();
    return;
  }
  std::vector<Tensor> leaves = weights().leaves();
  for (Tensor& leaf : auxiliary_.leaves()) leaves.push_back(leaf);
  parallel::translate(*processes_, [&] {
    if (!overlap_ || !overlap_->fits(leaves))
      overlap_ = std::make_unique<parallel::GradientAverage>(*processes_, leaves);
    overlap_->expect(scaled);
    scaled.backward();
  });
}

void Trainer::average_gradients() {
  if (processes_ == nullptr) return;
  std::vector<Tensor> gradients;
  for (const nn::Parameter* parameter : trained_)
    if (!parameter->row_gradient && parameter->latent.grad().defined())
      gradients.push_back(parameter->latent.grad());
  processes_->average(gradients);
}

// Only touched rows of an embedding have a gradient: rows and their numbers are gathered, and added
// in the order of ranks, so that all get the same bits. Every process receives the rows of all
// others; where that is more than a reduction of whole tables moves, which is each row twice, these
// are reduced. (On devices every row has a gradient: no table is here.)
void Trainer::average_rows() {
  if (processes_ == nullptr) return;
  torch::NoGradGuard no_grad;
  std::vector<nn::Parameter*> tables;
  int64_t all = 0, mine = 0;
  for (nn::Parameter* parameter : trained_) {
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

void Trainer::average_tables(const std::vector<nn::Parameter*>& tables) {
  std::vector<Tensor> gradients;
  for (nn::Parameter* table : tables) {
    gradients.push_back(table->latent.grad());
    table->touched = {
        torch::arange(table->latent.size(0), table->latent.options().dtype(torch::kInt64))};
  }
  processes_->average(gradients);
}

void Trainer::average_touched(const std::vector<nn::Parameter*>& tables,
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

void Trainer::agree(bool finite) {
  if (processes_ == nullptr) return;
  const bool stop = job_.stop != nullptr && job_.stop->load();
  Tensor flags = torch::tensor({finite ? 0 : 1, stop ? 1 : 0}, torch::kInt64);
  processes_->maximum(flags);
  all_finite_ = flags[0].item<int64_t>() == 0;
  all_stop_ = flags[1].item<int64_t>() != 0;
}

bool Trainer::stop_wanted() const {
  if (processes_ != nullptr) return all_stop_;
  return job_.stop != nullptr && job_.stop->load();
}

namespace {

// A number that changes with any bit of a tensor.
Tensor fingerprint(const Tensor& tensor) {
  Tensor bits = tensor.detach().contiguous().view({-1});
  if (bits.scalar_type() == torch::kFloat32) bits = bits.view(torch::kInt32);
  return bits.sum(torch::kInt64).cpu();
}

}  // namespace

void Trainer::check_equal() {
  if (processes_ == nullptr) return;
  torch::NoGradGuard no_grad;
  optimizer_->settle();
  std::vector<std::string> names;
  std::vector<Tensor> prints;
  auto add = [&](const std::string& prefix, const nn::TensorMap& tensors) {
    for (const auto& [name, tensor] : tensors) {
      if (tensor.numel() == 0) continue;
      names.push_back(prefix + name);
      prints.push_back(fingerprint(tensor));
    }
  };
  for (const nn::ParamTable* table : {&weights(), &auxiliary_})
    for (const nn::Parameter& parameter : table->list())
      names.push_back(parameter.name), prints.push_back(fingerprint(parameter.latent));
  for (const auto& constraint : constraints_) add("constraint: ", constraint->state());
  if (averaging_) add("average: ", averaging_->state());
  Tensor low = torch::stack(prints), high = low.clone();
  processes_->minimum(low);
  processes_->maximum(high);
  const Tensor differ = low.ne(high).nonzero();
  if (differ.numel() == 0) return;
  throw Error(ErrorKind::process,
              compress::str("the processes no longer hold the same model at step ", progress_.step,
                            " of stage '", job_.stage, "': ", differ.size(0), " of ", names.size(),
                            " tensors differ, the first is ",
                            names[static_cast<size_t>(differ[0][0].item<int64_t>())]),
              {},
              "all machines need the same program, LibTorch, kind of processor and number of "
              "threads; the last saved state is from before the difference was found");
}

}  // namespace compress::train
