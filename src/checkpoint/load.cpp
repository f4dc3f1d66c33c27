#include "compress/base/error.h"
#include "compress/checkpoint/int4.h"
#include "folder.h"
#include "quantized.h"

namespace compress::checkpoint {

namespace {

// A tensor of its own in float32.
torch::Tensor as_float(const storage::TensorView& stored) {
  return view(stored).to(torch::kFloat32, /*non_blocking=*/false, /*copy=*/true);
}

torch::Tensor values_of(const Source& source) {
  if (source.values == nullptr) return source.part.read();
  if (source.width > 0) return unpack_int4(view(*source.values), source.width).to(torch::kFloat32);
  return as_float(*source.values);
}

}  // namespace

nn::ModelState load_model(const std::filesystem::path& path) {
  torch::NoGradGuard no_grad;
  Folder folder = open_folder(path);
  nn::ModelState state;
  state.quantization = scheme_of(folder);
  for (const auto& [name, source] : folder.weights) {
    torch::Tensor values = values_of(source);
    if (source.scale != nullptr) {
      torch::Tensor scale = as_float(*source.scale);
      if (scale.dim() == 0) scale = scale.reshape({1});
      if (scale.dim() == 2 && scale.size(1) > 1)  // a scale for each group of a row
        values.view({scale.size(0), scale.size(1), -1}).mul_(scale.unsqueeze(2));
      else
        values.mul_(scale);
      state.weight_scales[name] = scale;
    }
    state.tensors[name] = source.transposed ? values.t().contiguous() : values;
  }
  if (!state.quantization.is_null() && state.weight_scales.empty())
    throw Error(ErrorKind::model,
                "config.json says int-quantized, but no weight has a weight_scale", path.string());
  state.config = std::move(folder.config.config);
  state.history = std::move(folder.config.history);
  return state;
}

}  // namespace compress::checkpoint
