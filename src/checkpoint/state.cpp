#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"
#include "tensors.h"

namespace compress::checkpoint {

namespace {

constexpr const char* mark = "compress_state";  // metadata key that tells these files from models
constexpr const char* state_version = "1";
constexpr std::string_view text_prefix = "text/";

std::map<std::string, std::string> texts_of(const storage::SafetensorsReader& reader,
                                            const std::filesystem::path& file) {
  auto found = reader.metadata().find(mark);
  if (found == reader.metadata().end() || found->second != state_version)
    throw Error(ErrorKind::model, "is not a run state of this version of the program",
                file.string(), "remove the run folder to start again");
  std::map<std::string, std::string> texts;
  for (const auto& [name, text] : reader.metadata())
    if (starts_with(name, text_prefix)) texts[name.substr(text_prefix.size())] = text;
  return texts;
}

}  // namespace

void save_state(const RunState& state, const std::filesystem::path& file) {
  std::map<std::string, std::string> metadata = {{mark, state_version}};
  for (const auto& [name, text] : state.texts) metadata[std::string(text_prefix) + name] = text;
  std::vector<storage::TensorInfo> infos;
  for (const auto& [name, tensor] : state.tensors) {
    if (!tensor.defined())
      throw Error(ErrorKind::internal, "the state's tensor '" + name + "' is undefined");
    infos.push_back({name, stored_dtype(tensor.scalar_type()), tensor.sizes().vec()});
  }
  storage::SafetensorsWriter writer(file, std::move(infos), std::move(metadata));
  for (const auto& [name, tensor] : state.tensors) {
    torch::Tensor bytes = tensor.detach().cpu().contiguous();
    writer.write(name, bytes_of(bytes));
  }
  writer.commit();
}

RunState load_state(const std::filesystem::path& file) {
  storage::SafetensorsReader reader(file);
  RunState state;
  state.texts = texts_of(reader, file);
  for (const storage::TensorView& stored : reader.tensors())
    state.tensors[stored.name] = view(stored).clone();
  return state;
}

std::map<std::string, std::string> load_state_texts(const std::filesystem::path& file) {
  return texts_of(storage::SafetensorsReader(file), file);
}

}  // namespace compress::checkpoint
