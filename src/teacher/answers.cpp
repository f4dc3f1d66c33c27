// Reading a teacher's answers, from memory or from memory-mapped files.

#include "compress/teacher/answers.h"

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"
#include "files.h"

namespace compress::teacher {

namespace {

using torch::Tensor;

// True when all values are finite. Float16 by its bits: this runs in every step.
bool finite(const Tensor& values) {
  if (values.scalar_type() != torch::kFloat16) return values.isfinite().all().item<bool>();
  const auto* bits = reinterpret_cast<const uint16_t*>(values.const_data_ptr<at::Half>());
  const int64_t count = values.numel();
  int found = 0;
  for (int64_t i = 0; i < count; ++i) found |= (bits[i] & 0x7C00) == 0x7C00;
  return found == 0;
}

Tensor joined(const std::vector<Piece>& pieces, Tensor Piece::*field) {
  std::vector<Tensor> parts;
  for (const Piece& piece : pieces)
    if ((piece.*field).defined()) parts.push_back(piece.*field);
  return parts.empty() ? Tensor() : at::cat(parts);
}

class Remembered final : public Teacher {
 public:
  Remembered(nn::ModelConfig config, std::shared_ptr<const Answers> answers)
      : config_(std::move(config)), answers_(std::move(answers)) {}

  nn::Outputs signals(const data::Batch& batch, const nn::Capture& capture) override {
    return answers_->signals(batch, capture);
  }
  bool by_example() const override { return true; }
  const nn::ModelConfig& config() const override { return config_; }
  torch::Device device() const override { return torch::kCPU; }

 private:
  nn::ModelConfig config_;
  std::shared_ptr<const Answers> answers_;
};

// The parts of top tokens, kept apart.
constexpr const char* positions_name = "positions";
constexpr const char* ids_name = "ids";
constexpr const char* log_probs_name = "log_probs";
constexpr const char* tail_name = "tail";

Tensor offsets_of(const data::Split& split) {
  return torch::from_blob(const_cast<int64_t*>(split.offsets.data()), {split.rows() + 1},
                          torch::kInt64);
}

}  // namespace

Answers::Answers(const Questions& questions, const std::vector<Piece>& pieces)
    : questions_(questions), values_(questions.split->rows()) {
  const Wanted& wanted = questions.wanted;
  if (wanted.logits) values_.adopt(files::logits, joined(pieces, &Piece::logits));
  if (wanted.pooled) values_.adopt(files::pooled, joined(pieces, &Piece::pooled));
  for (int64_t layer : wanted.hidden) {
    std::vector<Tensor> parts;
    for (const Piece& piece : pieces) parts.push_back(piece.hidden.at(layer));
    values_.adopt(files::hidden(layer), at::cat(parts), offsets_of(*questions.split));
  }
  if (wanted.top_k == 0) return;
  const Tensor offsets =
      at::cat({torch::zeros({1}, torch::kInt64), joined(pieces, &Piece::counts).cumsum(0)});
  values_.adopt(positions_name, joined(pieces, &Piece::positions), offsets);
  values_.adopt(ids_name, joined(pieces, &Piece::ids), offsets);
  values_.adopt(log_probs_name, joined(pieces, &Piece::log_probs), offsets);
  values_.adopt(tail_name, joined(pieces, &Piece::tail), offsets);
}

Answers::Answers(const Questions& questions, const std::filesystem::path& entry,
                 const std::string& key)
    : questions_(questions), entry_(entry), values_(questions.split->rows()) {
  const data::Split& split = *questions.split;
  const Wanted& wanted = questions.wanted;
  if (wanted.logits)
    values_.adopt(files::logits, kept(files::logits, key, files::logits, torch::kFloat32,
                                      {split.rows(), questions.classes}));
  if (wanted.pooled)
    values_.adopt(files::pooled, kept(files::pooled, key, files::pooled, torch::kFloat16,
                                      {split.rows(), questions.width}));
  for (int64_t layer : wanted.hidden)
    values_.adopt(files::hidden(layer),
                  kept(files::hidden(layer), key, files::hidden(layer), torch::kFloat16,
                       {split.offsets.back(), questions.width}),
                  offsets_of(split));
  if (wanted.top_k > 0) open_top_tokens(key);
}

// The tensor `name` of a file of the entry; -1 in `shape` is any size.
Tensor Answers::kept(const std::string& file, const std::string& key, const std::string& name,
                     torch::ScalarType type, const std::vector<int64_t>& shape) {
  std::unique_ptr<storage::SafetensorsReader>& reader = readers_[file];
  if (!reader) reader = files::open(entry_, file, key);
  const storage::TensorView* view = reader->find(name);
  bool fits = view != nullptr && view->dtype == checkpoint::stored_dtype(type) &&
              view->shape.size() == shape.size();
  for (size_t i = 0; fits && i < shape.size(); ++i)
    fits = shape[i] < 0 || view->shape[i] == shape[i];
  if (!fits)
    files::refuse(
        entry_, file,
        compress::str("no ", type, " tensor '", name, "' of shape ", at::IntArrayRef(shape)));
  return checkpoint::view(*view);
}

void Answers::open_top_tokens(const std::string& key) {
  const int64_t rows = questions_.split->rows();
  auto tensor = [&](const char* name, torch::ScalarType type, const std::vector<int64_t>& shape) {
    return kept(files::top_tokens, key, name, type, shape);
  };
  const Tensor offsets = tensor("row_offsets", torch::kInt64, {rows + 1});
  const int64_t count = offsets.const_data_ptr<int64_t>()[rows];
  if (!roles::are_offsets(offsets, rows, count))
    files::refuse(entry_, files::top_tokens, "row offsets that do not rise from 0");
  values_.adopt(positions_name, tensor(positions_name, torch::kInt32, {count}), offsets);
  const Tensor ids = tensor(ids_name, torch::kInt32, {count, -1});
  values_.adopt(ids_name, ids, offsets);
  values_.adopt(log_probs_name, tensor(log_probs_name, torch::kFloat16, {count, ids.size(1)}),
                offsets);
  values_.adopt(tail_name, tensor(tail_name, torch::kFloat32, {count}), offsets);
  if (ids.size(1) < questions_.wanted.top_k)
    files::refuse(entry_, files::top_tokens, str(ids.size(1), " tokens a position"));
}

Tensor Answers::rows_of(const std::string& signal, const data::Batch& batch) const {
  return values_.get(signal, batch.example_ids).values;
}

nn::Outputs Answers::signals(const data::Batch& batch, const nn::Capture& capture) const {
  if (capture.any_attention() || (capture.pooled && !values_.has(files::pooled)))
    throw Error(ErrorKind::internal, "the teacher's answers do not keep what is captured");
  const torch::Device device = batch.token_ids.device();
  auto given = [&](const Tensor& rows, const std::string& file) {
    if (!finite(rows)) files::refuse(entry_, file, "values that are not finite");
    // From pinned memory the copy waits for nothing.
    return (device.is_cuda() ? rows.pin_memory() : rows)
        .to(device, /*non_blocking=*/true)
        .to(torch::kFloat32);
  };
  nn::Outputs outputs;
  if (values_.has(files::logits))
    outputs.logits = given(rows_of(files::logits, batch), files::logits);
  if (capture.pooled) outputs.pooled = given(rows_of(files::pooled, batch), files::pooled);
  if (capture.hidden) {
    outputs.hidden.resize(static_cast<size_t>(questions_.layers + 1));
    for (int64_t layer : questions_.wanted.hidden)
      outputs.hidden.at(static_cast<size_t>(layer)) =
          given(rows_of(files::hidden(layer), batch), files::hidden(layer));
  }
  if (values_.has(ids_name)) add_top_tokens(batch, outputs);
  return outputs;
}

void Answers::add_top_tokens(const data::Batch& batch, nn::Outputs& outputs) const {
  const torch::Device device = batch.token_ids.device();
  const Tensor& labels = batch.targets.token_labels;
  if (batch.targets.token_index.defined())
    outputs.token_index = batch.targets.token_index;
  else if (labels.defined())
    outputs.token_index = labels.ne(-100).nonzero().squeeze(1);
  else
    outputs.token_index = torch::arange(batch.predicted().tokens(), batch.token_ids.options());
  const Tensor at = batch.predicted().positions.index_select(0, outputs.token_index);
  const Tensor kept_at = rows_of(positions_name, batch).to(device).to(torch::kInt64);
  if (!at.equal(kept_at)) files::refuse(entry_, files::top_tokens, "other predicted positions");

  const int64_t k = questions_.wanted.top_k;
  const Tensor ids = rows_of(ids_name, batch), log_probs = rows_of(log_probs_name, batch),
               tail = rows_of(tail_name, batch);
  if (ids.numel() > 0 &&
      (ids.min().item<int32_t>() < 0 || ids.max().item<int32_t>() >= questions_.vocabulary))
    files::refuse(entry_, files::top_tokens, "ids outside the vocabulary");
  if (!finite(log_probs) || !finite(tail))
    files::refuse(entry_, files::top_tokens, "values that are not finite");
  nn::TopTokens& top = outputs.top_tokens;
  const Tensor all = log_probs.to(torch::kFloat32);
  // Tokens beyond the wanted ones join the tail.
  top.tail = at::cat({all.slice(1, k), tail.unsqueeze(1)}, 1).logsumexp(1).to(device);
  top.log_probs = all.slice(1, 0, k).contiguous().to(device);
  top.ids = ids.slice(1, 0, k).contiguous().to(device).to(torch::kInt64);
}

std::unique_ptr<Teacher> remembered(const nn::ModelConfig& config,
                                    std::shared_ptr<const Answers> answers) {
  return std::make_unique<Remembered>(config, std::move(answers));
}

}  // namespace compress::teacher
