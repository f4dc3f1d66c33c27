#include <algorithm>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"
#include "compress/checkpoint/delta.h"
#include "compress/checkpoint/sentence.h"
#include "compress/nn/architecture.h"
#include "compress/nn/attachment.h"
#include "gguf.h"
#include "tensors.h"

namespace compress::checkpoint {

namespace fs = std::filesystem;

namespace {

constexpr const char* tokenizer_names[] = {"tokenizer.json",
                                           "tokenizer_config.json",
                                           "special_tokens_map.json",
                                           "added_tokens.json",
                                           "vocab.txt",
                                           "vocab.json",
                                           "merges.txt",
                                           "tokenizer.model",
                                           "spiece.model",
                                           "sentencepiece.bpe.model",
                                           "chat_template.jinja"};

// What is written: on the CPU, contiguous, and with -0 as 0 (x + 0 does that and keeps every other
// value), so that pruned files compress well and hashes do not depend on a sign nobody sees.
torch::Tensor as_written(const Planned& plan) {
  torch::Tensor value = plan.value();
  if (value.scalar_type() != plan.type || value.sizes() != plan.shape)
    throw Error(ErrorKind::internal, compress::str("'", plan.name, "' was announced as ", plan.type,
                                                   " ", at::IntArrayRef(plan.shape), " and is ",
                                                   value.scalar_type(), " ", value.sizes()));
  value = value.detach().cpu();
  if (value.is_floating_point()) value = value + torch::zeros({}, value.options());
  return value.contiguous();
}

}  // namespace

void write_folder(const std::vector<Planned>& tensors, const nn::Json& config,
                  const fs::path& folder, int64_t max_shard_bytes) {
  torch::NoGradGuard no_grad;
  make_folder(folder);
  std::vector<storage::TensorInfo> infos;
  for (const Planned& plan : tensors)
    infos.push_back({plan.name, stored_dtype(plan.type), plan.shape});
  auto writer = storage::SafetensorsWriter::sharded(folder, std::move(infos),
                                                    static_cast<uint64_t>(max_shard_bytes));
  for (const Planned& plan : tensors) {
    torch::Tensor value = as_written(plan);
    writer.write(plan.name, bytes_of(value));
  }
  writer.commit();
  write_file(folder / "config.json", config.dump(2) + "\n");
}

nn::Json config_json(const nn::Model& model) {
  const nn::ModelConfig& config = model.config();
  nn::Json json = nn::family(config.family).write_config(config);
  nn::Json own = nn::Json::object();
  if (config.head == nn::HeadKind::embedding) {
    own["head"] = nn::head_name(config.head);
    own["pooling"] = config.pooling;
    if (config.projection > 0) own["projection"] = config.projection;
  }
  for (const nn::HeadSpec& head : config.more_heads) {
    nn::Json entry = {{"name", head.name}, {"kind", nn::head_name(head.kind)}};
    if (!head.labels.empty()) entry["labels"] = head.labels;
    if (head.layers > 0) entry["layers"] = head.layers;
    if (!head.module.empty()) entry["module"] = head.module;
    own["heads"].push_back(std::move(entry));
  }
  if (!config.attachments.empty()) own["attachments"] = nn::attachments_json(config.attachments);
  if (!model.history().empty()) own["history"] = model.history();
  json.erase("compress");
  if (!own.empty()) json["compress"] = own;
  return json;
}

void save_model(const nn::Model& model, const fs::path& folder, const fs::path& tokenizer_source,
                int64_t max_shard_bytes) {
  const nn::ModelConfig& config = model.config();
  const nn::Family& family = nn::family(config.family);
  std::vector<Planned> tensors;
  for (const nn::Parameter& parameter : model.params().list()) {
    if (is_projection(parameter.name)) continue;
    const bool turned = family.is_transposed(parameter.name);
    tensors.push_back({family.file_name(parameter.name, config.head), torch::kFloat32,
                       turned ? parameter.latent.t().sizes().vec() : parameter.latent.sizes().vec(),
                       [&parameter, turned] {
                         return turned ? parameter.latent.detach().t() : parameter.latent;
                       }});
  }
  write_folder(tensors, config_json(model), folder, max_shard_bytes);
  write_sentence_modules(model, folder);
  if (!tokenizer_source.empty()) copy_tokenizer(tokenizer_source, folder);
}

std::vector<fs::path> tokenizer_files(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const char* name : tokenizer_names) {
    std::error_code ignored;  // a file that cannot be seen is not there
    if (fs::is_regular_file(folder / name, ignored)) files.push_back(folder / name);
  }
  return files;
}

void copy_tokenizer(const fs::path& source, const fs::path& to) {
  const fs::path from = tokenizer_home(source);
  if (const fs::path file = gguf_file(from); !file.empty()) {
    write_gguf_tokenizer(file, to);
    return;
  }
  std::vector<fs::path> files = tokenizer_files(from);
  if (files.empty())
    throw Error(ErrorKind::model, "the folder has no tokenizer files", from.string(),
                "expected tokenizer.json or vocab.txt");
  std::error_code ignored;
  if (fs::equivalent(from, to, ignored)) return;
  make_folder(to);
  // The ids of the settings of generation are the tokenizer's.
  if (const fs::path settings = from / "generation_config.json";
      fs::is_regular_file(settings, ignored))
    files.push_back(settings);
  for (const fs::path& file : files) write_file(to / file.filename(), read_file(file));
}

}  // namespace compress::checkpoint
