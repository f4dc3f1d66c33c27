// Logits of a teacher on disk, shared by runs and jobs.

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/hash.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"
#include "compress/teacher/teacher.h"

namespace compress::teacher {

namespace {

constexpr const char* key_name = "teacher_cache_key";

torch::Tensor read(const std::filesystem::path& file, const std::string& key, int64_t rows,
                   int64_t classes) {
  checkpoint::RunState state = checkpoint::load_state(file);
  auto refuse = [&](const std::string& what) {
    throw Error(ErrorKind::model, "the teacher cache holds " + what, file.string(),
                "remove the file, and its logits are computed anew");
  };
  auto known = state.texts.find(key_name);
  if (known == state.texts.end() || known->second != key)
    refuse("logits of another teacher, data set or tokenizer");
  auto logits = state.tensors.find("logits");
  if (logits == state.tensors.end() || logits->second.scalar_type() != torch::kFloat32 ||
      logits->second.sizes() != at::IntArrayRef({rows, classes}))
    refuse(str("no float32 logits of ", rows, " rows and ", classes, " classes"));
  if (!logits->second.isfinite().all().item<bool>()) refuse("logits that are not finite");
  return logits->second;
}

}  // namespace

torch::Tensor cached_logits(const std::filesystem::path& folder, const std::string& key,
                            int64_t rows, int64_t classes,
                            const std::function<torch::Tensor()>& compute,
                            const std::function<void(const std::string&)>& told) {
  Sha256 hash;
  hash.update(key);
  const std::string name = "logits-" + hash.hex().substr(0, 16);
  make_folder(folder);
  FileLock lock(folder / (name + ".lock"));
  const std::filesystem::path file = folder / (name + ".safetensors");
  if (std::filesystem::exists(file)) {
    torch::Tensor logits = read(file, key, rows, classes);
    told(str("logits of ", with_commas(rows), " rows read from ", file.string(),
             lock.waited() ? " (another process computed them meanwhile)" : ""));
    return logits;
  }
  checkpoint::RunState state;
  torch::Tensor logits = state.tensors["logits"] = compute();
  if (!logits.isfinite().all().item<bool>())
    throw Error(ErrorKind::diverged, "the teacher's logits are not finite", file.string(),
                "compute them in float32, or look at the teacher");
  state.texts[key_name] = key;
  checkpoint::save_state(state, file);
  told(str("logits of ", with_commas(rows), " rows kept in ", file.string(), ", ",
           human_bytes(static_cast<double>(std::filesystem::file_size(file)))));
  return logits;
}

}  // namespace compress::teacher
