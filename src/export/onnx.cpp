// A graph of ONNX operators beside config.json and the tokenizer.

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/sentence.h"
#include "formats.h"
#include "onnx/lowering.h"
#include "onnx/run.h"

namespace compress::exports {

namespace {

using torch::Tensor;

// A weight of the graph as the model has it.
Tensor as_parameter(const nn::Parameter& parameter, const onnx::Read& graph) {
  Tensor stored = graph.weights.at(parameter.name).to(torch::kFloat32);
  if (graph.weights.at(parameter.name).scalar_type() == torch::kUInt8) {  // two int4 a byte
    const Tensor high = (stored / 16).floor();
    stored = torch::cat({stored - high * 16, high}, 1) - 8;
  }
  if (parameter.is_matrix()) stored = stored.t();
  const auto steps = graph.weights.find(parameter.name + "_scale");
  if (steps == graph.weights.end()) return stored;
  const Tensor& scale = steps->second;
  if (scale.dim() == 2) return stored * scale.repeat_interleave(stored.size(1) / scale.size(1), 1);
  return stored * (scale.dim() == 0 ? scale : scale.unsqueeze(1));
}

}  // namespace

void write_onnx(const LoadedModel& source, const Target& target) {
  onnx::save(onnx::lower(source, target.rest), target.folder);
  write_file(target.folder / "config.json", checkpoint::config_json(*source.model).dump(2) + "\n");
  checkpoint::write_sentence_modules(*source.model, target.folder, /*effective=*/true);
}

void check_onnx(const nn::ModelConfig& config) {
  onnx::check(config);
}

void check_onnx_integers(Quantised quantised) {
  if (!quantised.affine && !quantised.outputs) return;
  throw Error(ErrorKind::recipe,
              str("the graphs of the format onnx have no place for ",
                  quantised.affine ? "affine inputs (activations: uint8)"
                                   : "requantised outputs (outputs: uint8)"),
              {}, "quantise with `activations: int8` and without `outputs`");
}

std::unique_ptr<nn::Model> read_onnx(const LoadedModel& source, const std::filesystem::path& folder,
                                     bool rounding) {
  auto model = std::make_unique<onnx::GraphModel>(source.model->config(), folder);
  for (const nn::Parameter& parameter : source.model->params().list()) {
    if (!model->graph().weights.contains(parameter.name)) continue;  // of a head that is not there
    const Tensor effective = parameter.effective.detach().cpu().to(torch::kFloat32);
    if (!torch::allclose(as_parameter(parameter, model->graph()), effective, 0, 0,
                         /*equal_nan=*/true))
      throw Error(ErrorKind::internal,
                  "the graph that was written has other weights in " + parameter.name, {},
                  "nothing was exported; please report this");
  }
  model->set_rounding(rounding);
  return model;
}

}  // namespace compress::exports
