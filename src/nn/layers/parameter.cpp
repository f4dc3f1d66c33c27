#include "compress/nn/parameter.h"

#include <algorithm>
#include <cctype>
#include <set>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/nn/memory.h"

namespace compress::nn {

namespace {

struct RoleName {
  Role role;
  const char* name;
};
constexpr RoleName role_names[] = {{Role::embedding, "embedding"},
                                   {Role::norm, "norm"},
                                   {Role::bias, "bias"},
                                   {Role::query, "query"},
                                   {Role::key, "key"},
                                   {Role::value, "value"},
                                   {Role::joined, "joined"},
                                   {Role::attention_output, "attention_output"},
                                   {Role::ffn_in, "ffn_in"},
                                   {Role::ffn_out, "ffn_out"},
                                   {Role::pooler, "pooler"},
                                   {Role::head, "head"},
                                   {Role::attachment, "attachment"},
                                   {Role::other, "other"}};

bool attention_role(Role role) {
  return role == Role::query || role == Role::key || role == Role::value || role == Role::joined ||
         role == Role::attention_output;
}
bool ffn_role(Role role) {
  return role == Role::ffn_in || role == Role::ffn_out;
}

// Memory for the effective weight where it is not the latent itself.
void allocate_effective(Parameter& parameter, torch::ScalarType type) {
  if (parameter.fused != nullptr) {
    Fused& group = *parameter.fused;
    if (!group.effective.defined() || group.effective.scalar_type() != type ||
        group.effective.device() != parameter.latent.device()) {
      std::vector<int64_t> shape = parameter.latent.sizes().vec();
      shape[0] = 0;
      for (const Parameter* member : group.members) shape[0] += member->latent.size(0);
      group.effective =
          torch::empty(shape, parameter.latent.options().dtype(type).requires_grad(false));
      for (Parameter* member : group.members)
        member->effective = group.effective.narrow(0, member->fused_row, member->latent.size(0));
      group.effective.requires_grad_(
          std::any_of(group.members.begin(), group.members.end(),
                      [](const Parameter* member) { return member->latent.requires_grad(); }));
    }
    return;
  }
  if (!parameter.effective.defined() || parameter.effective.is_same(parameter.latent) ||
      parameter.effective.scalar_type() != type ||
      parameter.effective.device() != parameter.latent.device())
    parameter.effective = torch::empty(parameter.latent.sizes(),
                                       parameter.latent.options().dtype(type).requires_grad(false))
                              .requires_grad_(parameter.latent.requires_grad());
}

// Copies that are made together: on CUDA a few launches for all of them.
struct Copies {
  std::vector<torch::Tensor> to, from;
  void add(const torch::Tensor& target, const torch::Tensor& source) {
    if (!target.is_cuda()) {
      target.copy_(source);
      return;
    }
    to.push_back(target);
    from.push_back(source);
  }
  void make() const {
    if (!to.empty()) at::_foreach_copy_(to, from);
  }
};

// The gradient that arrived at the effective weight, undefined when none did.
torch::Tensor effective_gradient(const Parameter& parameter) {
  if (parameter.fused == nullptr) return parameter.effective.grad();
  const torch::Tensor& whole = parameter.fused->effective.grad();
  return whole.defined() ? whole.narrow(0, parameter.fused_row, parameter.latent.size(0))
                         : torch::Tensor();
}

}  // namespace

namespace {

// Whether a selector names a parameter of this role.
bool names(const std::string& selector, Role role, const Parameter& parameter, bool any_shape) {
  const bool matrix = parameter.is_matrix();
  if (!any_shape && !matrix) return false;
  if (selector == role_name(role)) return true;
  if (selector == "all" && any_shape) return true;
  if (role == Role::attachment && !starts_with(selector, "attachments")) return false;
  if (selector == "all") return true;
  if (selector == "linear") return matrix;
  if (selector == "attention") return attention_role(role);
  if (selector == "ffn") return ffn_role(role);
  if (selector == "encoder") return attention_role(role) || ffn_role(role);
  return glob_match(selector, parameter.name);
}

}  // namespace

torch::ScalarType dtype(Precision precision) {
  switch (precision) {
    case Precision::bf16:
      return torch::kBFloat16;
    case Precision::fp16:
      return torch::kHalf;
    default:
      return torch::kFloat32;
  }
}

const char* precision_name(Precision precision) {
  switch (precision) {
    case Precision::bf16:
      return "bf16";
    case Precision::fp16:
      return "fp16";
    default:
      return "float32";
  }
}

const char* role_name(Role role) {
  for (const RoleName& entry : role_names)
    if (entry.role == role) return entry.name;
  return "other";
}

Parameter& ParamTable::add(std::string name, Role role, int layer, torch::Tensor initial) {
  Parameter& parameter = list_.emplace_back();
  parameter.name = std::move(name);
  parameter.role = role;
  parameter.layer = layer;
  parameter.latent = std::move(initial);
  parameter.latent.requires_grad_(true);
  parameter.effective = parameter.latent;
  if (!by_name_.emplace(parameter.name, &parameter).second)
    throw Error(ErrorKind::internal, "two parameters are named " + parameter.name);
  return parameter;
}

Parameter* ParamTable::find(std::string_view name) {
  auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : it->second;
}

const Parameter* ParamTable::find(std::string_view name) const {
  auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : it->second;
}

bool Fused::one_input() const {
  const InputTransform* first = members.front()->input;
  for (const Parameter* member : members) {
    const InputTransform* input = member->input;
    if (input == first) continue;
    if (input == nullptr || first == nullptr || !input->shareable() || !first->shareable())
      return false;
  }
  return true;
}

Fused& ParamTable::fuse(std::vector<Parameter*> members) {
  Fused& group = fused_.emplace_back();
  int64_t row = 0;
  for (Parameter* member : members) {
    member->fused = &group;
    member->fused_row = row;
    row += member->latent.size(0);
  }
  group.members = std::move(members);
  return group;
}

int64_t ParamTable::numel() const {
  int64_t total = 0;
  for (const Parameter& parameter : list_) total += parameter.numel();
  return total;
}

bool is_name_part(const std::string& name) {
  return !name.empty() && name.size() <= 64 &&
         std::all_of(name.begin(), name.end(),
                     [](unsigned char c) { return std::isalnum(c) != 0 || c == '_' || c == '-'; });
}

std::vector<Parameter*> ParamTable::select(const std::vector<std::string>& selectors,
                                           std::vector<std::string>* unmatched, bool any_shape) {
  std::vector<bool> used(selectors.size(), false);
  std::vector<Parameter*> chosen;
  for (Parameter& parameter : list_) {
    // The bias of a layer is named by the role of its matrix, too.
    Role beside = parameter.role;
    if (beside == Role::bias && ends_with(parameter.name, ".bias")) {
      const std::string module = parameter.name.substr(0, parameter.name.size() - 4);
      if (const Parameter* weight = find(module + "weight")) beside = weight->role;
    }
    bool hit = false;
    for (size_t i = 0; i < selectors.size(); ++i) {
      if (!names(selectors[i], parameter.role, parameter, any_shape) &&
          !names(selectors[i], beside, parameter, any_shape))
        continue;
      hit = true;
      used[i] = true;
    }
    if (hit) chosen.push_back(&parameter);
  }
  if (unmatched != nullptr)
    for (size_t i = 0; i < selectors.size(); ++i)
      if (!used[i]) unmatched->push_back(selectors[i]);
  return chosen;
}

std::vector<std::string> ParamTable::train_only(const std::vector<std::string>& selectors) {
  std::vector<std::string> unmatched;
  const std::vector<Parameter*> chosen = select(selectors, &unmatched, /*any_shape=*/true);
  const std::set<const Parameter*> kept(chosen.begin(), chosen.end());
  for (Parameter& parameter : list_) {
    parameter.trainable = parameter.trainable && kept.contains(&parameter);
    parameter.latent.requires_grad_(parameter.trainable);
    parameter.effective = parameter.latent;  // what stood there may want a gradient
    if (parameter.fused != nullptr) parameter.fused->effective = torch::Tensor();
  }
  return unmatched;
}

void ParamTable::refresh(Precision precision) {
  torch::NoGradGuard no_grad;
  Copies copies;
  for (Parameter& parameter : list_) {
    torch::ScalarType type = parameter.castable ? dtype(precision) : torch::kFloat32;
    // Transforms of a table whose rows have gradients act on the rows that a batch reads.
    bool direct = (parameter.transforms.empty() || parameter.row_gradient) &&
                  parameter.fused == nullptr && type == torch::kFloat32;
    if (direct) {
      parameter.effective = parameter.latent;
      continue;
    }
    allocate_effective(parameter, type);
    if (parameter.transforms.empty()) {
      copies.add(parameter.effective, parameter.latent);
      continue;
    }
    if (!parameter.scratch.defined() || parameter.scratch.device() != parameter.latent.device())
      parameter.scratch =
          torch::empty_like(parameter.latent, parameter.latent.options().requires_grad(false));
    parameter.scratch.copy_(parameter.latent);
    for (WeightTransform* transform : parameter.transforms)
      transform->forward(parameter, parameter.scratch);
    parameter.effective.copy_(parameter.scratch);
  }
  copies.make();
}

void ParamTable::release_latents() {
  for (Parameter& parameter : list_)
    if (parameter.transforms.empty()) parameter.latent = parameter.effective;
}

void ParamTable::collect_gradients(bool accumulate) {
  torch::NoGradGuard no_grad;
  Copies copies;
  for (Parameter& parameter : list_) {
    if (parameter.effective.is_same(parameter.latent)) continue;  // autograd wrote there already
    if (!parameter.trainable) continue;  // beside others in a group that are
    torch::Tensor arrived = effective_gradient(parameter);
    if (!arrived.defined()) continue;
    if (!parameter.gradient_buffer.defined() ||
        parameter.gradient_buffer.device() != parameter.latent.device())
      parameter.gradient_buffer =
          torch::empty_like(parameter.latent, parameter.latent.options().requires_grad(false));
    torch::Tensor& gradient = parameter.latent.mutable_grad();
    bool first = !accumulate || !gradient.defined();
    if (first && parameter.transforms.empty()) {
      copies.add(parameter.gradient_buffer, arrived);
      gradient = parameter.gradient_buffer;
      if (parameter.fused == nullptr) parameter.effective.mutable_grad().reset();
      continue;
    }
    torch::Tensor piece =
        first ? parameter.gradient_buffer : torch::empty_like(parameter.gradient_buffer);
    piece.copy_(arrived);
    for (auto it = parameter.transforms.rbegin(); it != parameter.transforms.rend(); ++it)
      (*it)->backward(parameter, piece);
    if (first) {
      gradient = parameter.gradient_buffer;
    } else {
      gradient.add_(piece);
    }
    if (parameter.fused == nullptr) parameter.effective.mutable_grad().reset();
  }
  for (Fused& group : fused_)
    if (group.effective.defined()) group.effective.mutable_grad().reset();
  copies.make();
}

void ParamTable::clear_gradients() {
  torch::NoGradGuard no_grad;
  for (Parameter& parameter : list_) {
    torch::Tensor& gradient = parameter.latent.mutable_grad();
    if (!gradient.defined()) continue;
    if (parameter.row_gradient) {
      const torch::Tensor& paged = parameter.gradient_buffer;
      if (paged.defined() && paged.is_same(gradient))
        clear_rows(paged, parameter.touched);
      else
        for (const torch::Tensor& ids : parameter.touched) gradient.index_fill_(0, ids, 0);
      parameter.touched.clear();
    } else {
      gradient.reset();
    }
  }
}

void ParamTable::to(torch::Device device) {
  torch::NoGradGuard no_grad;
  for (Parameter& parameter : list_) {
    if (parameter.latent.device() == device) continue;
    bool wants_gradient = parameter.latent.requires_grad();
    parameter.latent = parameter.latent.detach().to(device).requires_grad_(wants_gradient);
    parameter.effective = parameter.latent;
  }
}

std::vector<torch::Tensor> ParamTable::leaves() {
  std::vector<torch::Tensor> leaves;
  for (Parameter& parameter : list_) {
    if (!parameter.trainable || parameter.row_gradient) continue;
    if (parameter.fused == nullptr) {
      leaves.push_back(parameter.effective);
      continue;
    }
    const std::vector<Parameter*>& members = parameter.fused->members;
    const auto first = std::find_if(members.begin(), members.end(),
                                    [](const Parameter* member) { return member->trainable; });
    if (*first == &parameter) leaves.push_back(parameter.fused->effective);
  }
  return leaves;
}

std::vector<Parameter*> ParamTable::trainable() {
  std::vector<Parameter*> chosen;
  for (Parameter& parameter : list_)
    if (parameter.trainable) chosen.push_back(&parameter);
  return chosen;
}

}  // namespace compress::nn
