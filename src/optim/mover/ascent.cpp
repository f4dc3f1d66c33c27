#include "mover/ascent.h"

#include <algorithm>
#include <cmath>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/nn/device.h"

namespace compress::optim {

namespace {

// The first `rows` rows of `buffer`, which grows when it is too small.
torch::Tensor first_rows(torch::Tensor& buffer, const torch::Tensor& like, int64_t rows) {
  if (!buffer.defined() || buffer.size(0) < rows) {
    std::vector<int64_t> shape = like.sizes().vec();
    // Half as much again: the number of distinct tokens varies little from batch to batch.
    shape[0] = std::min(shape[0], rows + rows / 2);
    buffer = torch::empty(shape, like.options().requires_grad(false));
  }
  return buffer.narrow(0, 0, rows);
}

}  // namespace

torch::Tensor global_norm(const std::vector<torch::Tensor>& tensors) {
  return at::stack(at::_foreach_norm(tensors)).norm();
}

torch::Tensor Ascent::norm(const std::vector<Piece>& pieces) {
  std::vector<torch::Tensor> gradients;
  gradients.reserve(pieces.size());
  for (const Piece& piece : pieces) gradients.push_back(piece.gradient);
  return global_norm(gradients);
}

void Ascent::bind(const roles::Scene& scene) {
  processes_ = scene.processes;
  trained_ = scene.trained();
  slots_.clear();
  moved_.clear();
  whole_.clear();
  whole_saved_.clear();
  for (nn::Parameter* parameter : scene.weights.trainable())
    slots_.push_back(Slot{parameter, {}, {}});
  if (scene.precision == nn::Precision::float32 || rho_ == 0) return;
  check_precision(scene.precision, "rho", rho_, [&](double count, double weight_rms) {
    return typical(rho_ / std::sqrt(count), weight_rms);
  });
}

void Ascent::gradients(const Progress& progress, Passes& passes) {
  if (rho_ == 0) {
    passes.pass({});
  } else if (per_micro_batch_) {
    gradients_of_parts(progress, passes);
  } else {
    look(progress, passes, -1);
    perturb(passes);
    passes.pass({});
    restore();
    passes.weights_restored();
  }
}

void Ascent::look(const Progress&, Passes& passes, int64_t part) {
  passes.pass({.part = part, .shared = shares()});
}

void Ascent::perturb(Passes& passes) {
  ascend();
  passes.clear_gradients();
  passes.weights_moved();
}

// Every part is perturbed for itself (m-sharpness), and the gradients of the perturbed passes are
// added.
void Ascent::gradients_of_parts(const Progress& progress, Passes& passes) {
  std::vector<torch::Tensor> sums(trained_.size());
  for (int64_t part = 0; part < passes.parts(); ++part) {
    look(progress, passes, part);
    perturb(passes);
    passes.pass({.part = part, .shared = false});
    restore();
    passes.weights_restored();
    add_up(sums);
    passes.clear_gradients();
  }
  if (processes_ != nullptr) {
    std::vector<torch::Tensor> whole;
    for (const torch::Tensor& sum : sums)
      if (sum.defined()) whole.push_back(sum);
    processes_->average(whole);
  }
  put_back(sums);
}

void Ascent::add_up(std::vector<torch::Tensor>& sums) const {
  torch::NoGradGuard no_grad;
  for (size_t i = 0; i < trained_.size(); ++i) {
    const torch::Tensor& gradient = trained_[i]->latent.grad();
    if (!gradient.defined()) continue;
    sums[i] = sums[i].defined() ? sums[i].add_(gradient) : gradient.clone();
  }
}

void Ascent::put_back(std::vector<torch::Tensor>& sums) const {
  for (size_t i = 0; i < trained_.size(); ++i) {
    if (!sums[i].defined()) continue;
    torch::Tensor& gradient = trained_[i]->latent.mutable_grad();
    // An embedding's persistent gradient is all zero here; every row may get a value, so all rows
    // are cleared later.
    if (trained_[i]->row_gradient)
      trained_[i]->touched.push_back(
          torch::arange(trained_[i]->latent.size(0), gradient.options().dtype(torch::kInt64)));
    gradient = sums[i];
  }
}

// A weight that is cast does not change when it moves by less than half the spacing of numbers
// around it; a perturbation whose typical size is under a quarter of the spacing is mostly
// lost.
void Ascent::check_precision(nn::Precision precision, const char* what, double value,
                             const std::function<double(double, double)>& size) const {
  torch::NoGradGuard no_grad;
  int64_t perturbed = 0, cast = 0;
  std::vector<torch::Tensor> weights;
  for (const Slot& slot : slots_) {
    // Few rows of an embedding move in a step; they hardly count.
    if (!slot.parameter->row_gradient) perturbed += slot.parameter->numel();
    if (!slot.parameter->castable) continue;
    if (slot.parameter->latent.is_meta()) return;  // of a plan, which knows no values
    cast += slot.parameter->numel();
    weights.push_back(slot.parameter->latent);
  }
  if (cast == 0 || perturbed == 0) return;
  const double rms = global_norm(weights).item<double>() / std::sqrt(static_cast<double>(cast));
  if (!(rms > 0)) return;
  const double typical_size = size(static_cast<double>(perturbed), rms);
  const int fraction_bits = precision == nn::Precision::bf16 ? 7 : 10;
  const double spacing = std::exp2(std::floor(std::log2(rms)) - fraction_bits);
  if (typical_size >= spacing / 4) return;
  std::ostringstream numbers;
  numbers.precision(3);
  numbers << what << " " << value << " moves each of " << with_commas(perturbed)
          << " weights by about " << typical_size << ", but weights of typical size " << rms
          << " are " << spacing << " apart in " << nn::precision_name(precision)
          << ": the perturbation would be lost";
  throw Error(ErrorKind::recipe, numbers.str(), mark_.text(),
              "set precision: float32 for this stage");
}

Ascent::Piece Ascent::take(Slot& slot) {
  nn::Parameter& parameter = *slot.parameter;
  const torch::Tensor& gradient = parameter.latent.grad();
  if (!parameter.row_gradient) {
    if (!slot.saved_buffer.defined())
      slot.saved_buffer =
          torch::empty_like(parameter.latent, parameter.latent.options().requires_grad(false));
    whole_.push_back(parameter.latent);
    whole_saved_.push_back(slot.saved_buffer);
    return {&parameter, {}, slot.saved_buffer, gradient};
  }
  torch::Tensor ids = touched_rows(parameter);
  torch::Tensor saved = first_rows(slot.saved_buffer, parameter.latent, ids.numel());
  torch::Tensor rows = first_rows(slot.gradient_buffer, parameter.latent, ids.numel());
  at::index_select_out(saved, parameter.latent, 0, ids);
  at::index_select_out(rows, gradient, 0, ids);
  return {&parameter, ids, saved, rows};
}

void Ascent::ascend() {
  if (!moved_.empty())
    throw Error(ErrorKind::internal, "weights were perturbed twice without being restored");
  torch::NoGradGuard no_grad;
  for (Slot& slot : slots_) {
    if (!slot.parameter->latent.grad().defined()) continue;
    if (slot.parameter->row_gradient && slot.parameter->touched.empty()) continue;
    moved_.push_back(take(slot));
  }
  if (moved_.empty()) return;
  if (!whole_.empty()) at::_foreach_copy_(whole_saved_, whole_);
  if (!normalises()) return move(rho_);
  const torch::Tensor length = norm(moved_);
  if (nn::reading_waits(length))
    move(rho_ / (length + 1e-12));
  else
    move(rho_ / (length.item<double>() + 1e-12));
}

// latent += scale * direction, where the scale is known here.
void Ascent::move(double scale) {
  std::vector<torch::Tensor> along_gradient, gradients;  // moved by one call
  for (Piece& piece : moved_) {
    torch::Tensor& latent = piece.parameter->latent;
    torch::Tensor step = direction(piece);
    if (piece.ids.defined()) {
      // The rows' gradient is a copy already, so it may become the moved rows.
      at::add_out(piece.gradient, piece.saved, step, scale);
      latent.index_copy_(0, piece.ids, piece.gradient);
    } else if (step.is_same(piece.gradient)) {
      along_gradient.push_back(latent);
      gradients.push_back(step);
    } else {
      latent.add_(step, scale);
    }
  }
  if (!gradients.empty()) at::_foreach_add_(along_gradient, gradients, scale);
}

// The same where the scale is on a device. The gradients are scaled in place: this pass needs them
// no more.
void Ascent::move(const torch::Tensor& scale) {
  std::vector<torch::Tensor> along_gradient, gradients;
  for (Piece& piece : moved_) {
    torch::Tensor& latent = piece.parameter->latent;
    torch::Tensor step = direction(piece);
    if (piece.ids.defined()) {
      at::mul_out(piece.gradient, step, scale).add_(piece.saved);
      latent.index_copy_(0, piece.ids, piece.gradient);
    } else if (step.is_same(piece.gradient)) {
      along_gradient.push_back(latent);
      gradients.push_back(step);
    } else {
      latent.add_(step.mul_(scale));
    }
  }
  if (gradients.empty()) return;
  at::_foreach_mul_(gradients, scale);
  at::_foreach_add_(along_gradient, gradients);
}

void Ascent::restore() {
  torch::NoGradGuard no_grad;
  if (!whole_.empty()) at::_foreach_copy_(whole_, whole_saved_);
  for (const Piece& piece : moved_)
    if (piece.ids.defined()) piece.parameter->latent.index_copy_(0, piece.ids, piece.saved);
  whole_.clear();
  whole_saved_.clear();
  moved_.clear();
}

}  // namespace compress::optim
