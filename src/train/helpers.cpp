#include "helpers.h"

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"
#include "compress/train/binding.h"

namespace compress::train {

namespace {

std::string size_text(const std::vector<int64_t>& shape) {
  std::vector<std::string> sizes;
  for (int64_t size : shape) sizes.push_back(str(size));
  return join(sizes, " x ");
}

HelperShapes shapes_of(const nn::ParamTable& helpers) {
  HelperShapes shapes;
  for (const nn::Parameter& parameter : helpers.list())
    shapes[parameter.name] = parameter.latent.sizes().vec();
  return shapes;
}

void check_fit(const TrainOptions& options, const HelperShapes& left, const HelperShapes& wanted) {
  const std::string place = options.helpers->mark.text();
  bool any = false;
  for (const auto& [name, shape] : wanted) {
    const auto found = left.find(name);
    if (found == left.end()) continue;
    any = true;
    if (found->second != shape)
      throw Error(ErrorKind::recipe,
                  str("'", name, "' is ", size_text(shape), " here and ", size_text(found->second),
                      " in '", options.helpers->name, "'"),
                  place, "students and teachers of both stages must have the same widths");
  }
  if (any) return;
  std::vector<std::string> names;
  for (const auto& [name, shape] : left) names.push_back(name);
  throw Error(ErrorKind::recipe,
              str("'", options.helpers->name, "' has none of the trained helpers of this stage"),
              place,
              left.empty() ? "only terms with a projection train one: remove `helpers`"
                           : "it has " + join(names, ", ") + ": give both stages the same terms");
}

}  // namespace

HelperShapes helpers_of(const Binding& binding) {
  return shapes_of(binding.helpers());
}

void check_helpers(const TrainOptions& options, const HelperShapes& left, const Binding& binding) {
  check_fit(options, left, helpers_of(binding));
}

bool save_helpers(const Binding& binding, const std::filesystem::path& file) {
  checkpoint::RunState state;
  for (const nn::Parameter& parameter : binding.helpers().list())
    state.tensors[parameter.name] = parameter.latent.detach();
  if (state.tensors.empty()) return false;
  checkpoint::save_state(state, file);
  return true;
}

void take_helpers(const Job& job, nn::ParamTable& helpers) {
  if (job.helpers.empty()) return;
  const nn::TensorMap left = checkpoint::load_state(job.helpers).tensors;
  HelperShapes shapes;
  for (const auto& [name, tensor] : left) shapes[name] = tensor.sizes().vec();
  check_fit(*job.options, shapes, shapes_of(helpers));
  torch::NoGradGuard no_grad;
  for (nn::Parameter& parameter : helpers.list())
    if (const auto found = left.find(parameter.name); found != left.end())
      parameter.latent.copy_(found->second);
}

}  // namespace compress::train
