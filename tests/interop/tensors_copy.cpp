// tensors_copy FROM TO: reads any container of tensors (safetensors, torch.save, or an index or a
// folder of either) with this program's readers and writes one safetensors file. A GGUF file is
// dequantised to float32, and its metadata goes to TO.json with numbers as shortest decimals. Used
// by test_torch_file.py and test_gguf.py.

#include <cstddef>
#include <iostream>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <type_traits>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/storage/gguf.h"
#include "compress/storage/safetensors.h"

using namespace compress;
using namespace compress::storage;

namespace {

nlohmann::json as_json(const GgufValue& value) {
  return std::visit(
      [](const auto& held) -> nlohmann::json {
        if constexpr (std::is_same_v<std::decay_t<decltype(held)>, GgufNumbers>) {
          if (held.is_whole()) return held.integers();
          return held.reals();
        } else {
          return held;
        }
      },
      value);
}

void copy_gguf(const std::string& from, const std::string& to) {
  GgufReader reader(from);
  std::vector<TensorInfo> infos;
  for (const GgufTensor& tensor : reader.tensors())
    infos.push_back({tensor.name, Dtype::f32, tensor.shape});
  SafetensorsWriter writer(to, infos);
  for (const GgufTensor& tensor : reader.tensors()) {
    // Row by row: also a test of the rows.
    std::vector<float> row(tensor.row_elements());
    for (uint64_t i = 0; i < tensor.rows(); ++i) {
      dequantize(tensor, row, i);
      writer.append(std::as_bytes(std::span(row)));
    }
  }
  writer.commit();
  nlohmann::json metadata = nlohmann::json::object(), types = nlohmann::json::object();
  for (const auto& [key, value] : reader.metadata()) metadata[key] = as_json(value);
  for (const GgufTensor& tensor : reader.tensors())
    types[tensor.name] = gguf_type_name(tensor.type);
  nlohmann::json document{{"metadata", metadata}, {"types", types}};
  write_file(to + ".json", document.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

void copy_tensors(const std::string& from, const std::string& to) {
  std::unique_ptr<TensorReader> reader = open_tensors(from);
  std::vector<TensorInfo> infos;
  for (const TensorView& view : reader->tensors())
    infos.push_back({view.name, view.dtype, view.shape});
  SafetensorsWriter writer(to, infos, reader->metadata());
  for (const TensorView& view : reader->tensors())
    writer.write(view.name, {static_cast<const std::byte*>(view.data), view.bytes});
  writer.commit();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  try {
    std::string from = argv[1];
    from.ends_with(".gguf") ? copy_gguf(from, argv[2]) : copy_tensors(from, argv[2]);
  } catch (const Error& error) {
    std::cerr << error.what() << "\n";
    return exit_code(error.kind());
  }
  return 0;
}
