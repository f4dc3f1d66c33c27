// What our models make of folders that transformers wrote, for test_families.py.
//
//   family_probe CASE...
//
// A case is a folder that holds `model`, a Hugging Face folder, and batch.safetensors:
//   token_ids [T], segment_ids [T], offsets [B + 1]   the rows
//   decoder.token_ids, decoder.offsets                the rows to be written, where there are any
//   mask.NAME [B, queries, keys] bool                 the keys that queries see, for an attention
//   weight.OUTPUT                                     as large as the output
// Into it go ours.safetensors and `again`, the model as we save it:
//   OUTPUT           logits, token_logits, pooled, hidden.0, ..., attention.0, ... of a pass that
//                    captures everything; attentions are the softmax of the masked scores
//   gradient.TENSOR  of the sum of all outputs times their weights, by the tensor's name and in its
//                    layout on disk
//   plain.OUTPUT, plain_gradient.TENSOR   the same of a pass that captures nothing
// Prints a JSON object: the error's message of each case, null where all went well.

#include "compress/data/torch.h"

#include <filesystem>
#include <iostream>
#include <limits>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"
#include "compress/data/dataset.h"
#include "compress/nn/architecture.h"
#include "compress/storage/safetensors.h"

namespace compress {
namespace {

namespace fs = std::filesystem;
using nn::Json;
using nn::TensorMap;
using torch::Tensor;

TensorMap read(const fs::path& file) {
  storage::SafetensorsReader reader(file);
  TensorMap tensors;
  for (const storage::TensorView& stored : reader.tensors())
    tensors[stored.name] = checkpoint::view(stored).clone();
  return tensors;
}

data::Batch rows_of(const Tensor& ids, const Tensor& offsets) {
  const Tensor narrow = ids.to(torch::kInt32);
  const auto* begin = narrow.const_data_ptr<int32_t>();
  const auto* bounds = offsets.const_data_ptr<int64_t>();
  data::Split split;
  split.task = data::Task::unlabelled;
  split.ids = std::vector<int32_t>(begin, begin + narrow.numel());
  split.offsets = std::vector<int64_t>(bounds, bounds + offsets.numel());
  std::vector<int32_t> lengths;
  std::vector<int64_t> rows, lines;
  for (int64_t row = 0; row + 1 < offsets.numel(); ++row) {
    lengths.push_back(static_cast<int32_t>(bounds[row + 1] - bounds[row]));
    rows.push_back(row);
    lines.push_back(row + 1);
  }
  split.first_lengths = lengths;
  split.lines = lines;
  return data::pack(split, rows);
}

data::Batch batch_of(const TensorMap& given) {
  data::Batch batch = rows_of(given.at("token_ids"), given.at("offsets"));
  batch.segment_ids = given.at("segment_ids");
  if (given.contains("decoder.token_ids"))
    batch.decoder = std::make_shared<data::Batch>(
        rows_of(given.at("decoder.token_ids"), given.at("decoder.offsets")));
  return batch;
}

// Scores where no key is seen, or none is there, may be anything.
Tensor probabilities(const Tensor& scores, const Tensor& mask) {
  return scores.masked_fill(mask.unsqueeze(1).logical_not(), std::numeric_limits<float>::lowest())
      .softmax(-1);
}

TensorMap named(const nn::Outputs& outputs, const TensorMap& given) {
  TensorMap all;
  auto one = [&](const char* name, const Tensor& tensor) {
    if (tensor.defined()) all[name] = tensor;
  };
  auto list = [&](const char* name, const std::vector<Tensor>& tensors) {
    auto mask = given.find(str("mask.", name));
    for (size_t i = 0; i < tensors.size(); ++i)
      all[str(name, ".", i)] =
          mask == given.end() ? tensors[i] : probabilities(tensors[i], mask->second);
  };
  one("logits", outputs.logits);
  one("token_logits", outputs.token_logits);
  one("pooled", outputs.pooled);
  list("hidden", outputs.hidden);
  list("attention", outputs.attention);
  list("decoder_hidden", outputs.decoder_hidden);
  list("decoder_attention", outputs.decoder_attention);
  list("cross_attention", outputs.cross_attention);
  return all;
}

// Forward and backward; adds outputs and gradients to `results`, with `prefix` before their names.
void run(nn::Model& model, const TensorMap& given, const nn::Capture& capture,
         const std::string& prefix, TensorMap& results) {
  const nn::Family& family = nn::family(model.config().family);
  nn::ParamTable& params = model.params();
  params.refresh(nn::Precision::float32);
  const TensorMap outputs = named(model.forward(batch_of(given), capture, {}), given);
  Tensor loss;
  for (const auto& [name, output] : outputs) {
    results[str(prefix, prefix.empty() ? "" : ".", name)] = output.detach();
    auto weight = given.find("weight." + name);
    if (weight == given.end()) continue;
    if (weight->second.sizes() != output.sizes())
      throw Error(ErrorKind::internal, compress::str(name, " has shape ", output.sizes(),
                                                     ", expected ", weight->second.sizes()));
    const Tensor term = (output * weight->second).sum();
    loss = loss.defined() ? loss + term : term;
  }
  if (!loss.defined()) return;
  loss.backward();
  params.collect_gradients(false);
  for (const nn::Parameter& parameter : params.list()) {
    Tensor gradient = parameter.latent.grad();
    if (!gradient.defined()) continue;
    if (family.is_transposed(parameter.name)) gradient = gradient.t();
    const std::string name = family.file_name(parameter.name, model.config().head);
    results[str(prefix, prefix.empty() ? "" : "_", "gradient.", name)] = gradient.clone();
  }
  params.clear_gradients();
}

void probe(const fs::path& place) {
  const TensorMap given = read(place / "batch.safetensors");
  std::unique_ptr<nn::Model> model = nn::build(checkpoint::load_model(place / "model"), 13);
  TensorMap results;
  run(*model, given,
      {.hidden = true,
       .attention = true,
       .pooled = true,
       .decoder_hidden = true,
       .decoder_attention = true,
       .cross_attention = true},
      "", results);
  run(*model, given, {}, "plain", results);
  checkpoint::save_state({results, {}}, place / "ours.safetensors");
  checkpoint::save_model(*model, place / "again");
}

int run_all(const std::vector<std::string>& places) {
  if (places.empty()) {
    std::cerr << "usage: family_probe CASE...\n";
    return 2;
  }
  Json problems = Json::object();
  for (const std::string& place : places) {
    problems[place] = nullptr;
    try {
      probe(place);
    } catch (const Error& error) {
      problems[place] =
          str(kind_name(error.kind()), ": ", error.message(), " (", error.where(), ")");
    } catch (const c10::Error& error) {
      problems[place] = error.what_without_backtrace();
    } catch (const std::exception& error) {
      problems[place] = error.what();
    }
  }
  std::cout << problems << "\n";
  return 0;
}

}  // namespace
}  // namespace compress

int main(int argc, char** argv) {
  return compress::run_all({argv + 1, argv + argc});
}
