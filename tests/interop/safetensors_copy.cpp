// safetensors_copy FROM TO [MAX_SHARD_BYTES]: reads a file or folder with this program's reader and
// writes it with its writer, as one file or as a folder of shards. Used by test_safetensors.py.

#include <algorithm>
#include <cstddef>
#include <iostream>
#include <span>
#include <string>

#include "compress/base/error.h"
#include "compress/storage/safetensors.h"

using namespace compress;
using namespace compress::storage;

int main(int argc, char** argv) {
  if (argc != 3 && argc != 4) return 2;
  try {
    SafetensorsReader reader(argv[1]);
    // By name, so that the copy's order of arrival is not the order of the bytes.
    std::vector<TensorView> views = reader.tensors();
    std::sort(views.begin(), views.end(),
              [](const TensorView& a, const TensorView& b) { return a.name < b.name; });
    std::vector<TensorInfo> infos;
    for (const TensorView& view : views) infos.push_back({view.name, view.dtype, view.shape});
    SafetensorsWriter writer =
        argc == 4
            ? SafetensorsWriter::sharded(argv[2], infos, std::stoull(argv[3]), reader.metadata())
            : SafetensorsWriter(argv[2], infos, reader.metadata());
    for (const TensorView& view : views)
      writer.write(view.name, {static_cast<const std::byte*>(view.data), view.bytes});
    writer.commit();
  } catch (const Error& error) {
    std::cerr << error.what() << "\n";
    return exit_code(error.kind());
  }
  return 0;
}
