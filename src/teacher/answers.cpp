// Reading a teacher's answers, from memory or from memory-mapped files.

#include "compress/teacher/answers.h"

#include <cstring>

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

// Rows starts[i] .. + counts[i] of a tensor, one run after the other. Runs are copied whole: rows
// of a split lie together.
Tensor runs_of(const Tensor& whole, const std::vector<int64_t>& starts,
               const std::vector<int64_t>& counts) {
  std::vector<int64_t> shape = whole.sizes().vec();
  shape[0] = 0;
  for (int64_t count : counts) shape[0] += count;
  Tensor rows = torch::empty(shape, whole.options());
  if (rows.numel() == 0) return rows;
  const size_t bytes = rows.nbytes() / static_cast<size_t>(shape[0]);
  const auto* from = static_cast<const char*>(whole.const_data_ptr());
  auto* to = static_cast<char*>(rows.mutable_data_ptr());
  for (size_t i = 0; i < starts.size(); ++i) {
    const size_t length = static_cast<size_t>(counts[i]) * bytes;
    std::memcpy(to, from + static_cast<size_t>(starts[i]) * bytes, length);
    to += length;
  }
  return rows;
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

}  // namespace

Answers::Answers(const Questions& questions, const std::vector<Piece>& pieces)
    : questions_(questions) {
  logits_ = joined(pieces, &Piece::logits);
  pooled_ = joined(pieces, &Piece::pooled);
  for (int64_t layer : questions.wanted.hidden) {
    std::vector<Tensor> parts;
    for (const Piece& piece : pieces) parts.push_back(piece.hidden.at(layer));
    hidden_[layer] = at::cat(parts);
  }
  if (questions.wanted.top_k == 0) return;
  predicted_ =
      at::cat({torch::zeros({1}, torch::kInt64), joined(pieces, &Piece::counts).cumsum(0)});
  positions_ = joined(pieces, &Piece::positions);
  ids_ = joined(pieces, &Piece::ids);
  log_probs_ = joined(pieces, &Piece::log_probs);
  tail_ = joined(pieces, &Piece::tail);
}

Answers::Answers(const Questions& questions, const std::filesystem::path& entry,
                 const std::string& key)
    : questions_(questions), entry_(entry) {
  const data::Split& split = *questions.split;
  const Wanted& wanted = questions.wanted;
  if (wanted.logits)
    logits_ =
        kept(files::logits, key, files::logits, torch::kFloat32, {split.rows(), questions.classes});
  if (wanted.pooled)
    pooled_ =
        kept(files::pooled, key, files::pooled, torch::kFloat16, {split.rows(), questions.width});
  for (int64_t layer : wanted.hidden)
    hidden_[layer] = kept(files::hidden(layer), key, files::hidden(layer), torch::kFloat16,
                          {split.offsets.back(), questions.width});
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
  predicted_ = tensor("row_offsets", torch::kInt64, {rows + 1});
  const auto* offsets = predicted_.const_data_ptr<int64_t>();
  bool rising = offsets[0] == 0;
  for (int64_t row = 0; row < rows; ++row) rising = rising && offsets[row] <= offsets[row + 1];
  if (!rising) files::refuse(entry_, files::top_tokens, "row offsets that do not rise from 0");
  const int64_t count = offsets[rows];
  positions_ = tensor("positions", torch::kInt32, {count});
  ids_ = tensor("ids", torch::kInt32, {count, -1});
  log_probs_ = tensor("log_probs", torch::kFloat16, {count, ids_.size(1)});
  tail_ = tensor("tail", torch::kFloat32, {count});
  if (ids_.size(1) < questions_.wanted.top_k)
    files::refuse(entry_, files::top_tokens, str(ids_.size(1), " tokens a position"));
}

nn::Outputs Answers::signals(const data::Batch& batch, const nn::Capture& capture) const {
  if (capture.any_attention() || (capture.pooled && !pooled_.defined()))
    throw Error(ErrorKind::internal, "the teacher's answers do not keep what is captured");
  const torch::Device device = batch.token_ids.device();
  auto given = [&](const Tensor& rows, const std::string& file) {
    if (!finite(rows)) files::refuse(entry_, file, "values that are not finite");
    // From pinned memory the copy waits for nothing.
    return (device.is_cuda() ? rows.pin_memory() : rows)
        .to(device, /*non_blocking=*/true)
        .to(torch::kFloat32);
  };
  const std::vector<int64_t>& rows = batch.example_ids;
  const std::vector<int64_t> ones(rows.size(), 1);
  nn::Outputs outputs;
  if (logits_.defined()) outputs.logits = given(runs_of(logits_, rows, ones), files::logits);
  if (capture.pooled) outputs.pooled = given(runs_of(pooled_, rows, ones), files::pooled);
  if (capture.hidden) {
    std::vector<int64_t> starts, lengths;
    for (int64_t row : rows) {
      starts.push_back(questions_.split->offsets[row]);
      lengths.push_back(questions_.split->length(row));
    }
    outputs.hidden.resize(static_cast<size_t>(questions_.layers + 1));
    for (const auto& [layer, states] : hidden_)
      outputs.hidden.at(static_cast<size_t>(layer)) =
          given(runs_of(states, starts, lengths), files::hidden(layer));
  }
  if (ids_.defined()) add_top_tokens(batch, outputs);
  return outputs;
}

void Answers::add_top_tokens(const data::Batch& batch, nn::Outputs& outputs) const {
  const auto* offsets = predicted_.const_data_ptr<int64_t>();
  std::vector<int64_t> starts, counts;
  for (int64_t row : batch.example_ids) {
    starts.push_back(offsets[row]);
    counts.push_back(offsets[row + 1] - offsets[row]);
  }
  const torch::Device device = batch.token_ids.device();
  const Tensor& labels = batch.targets.token_labels;
  if (batch.targets.token_index.defined())
    outputs.token_index = batch.targets.token_index;
  else if (labels.defined())
    outputs.token_index = labels.ne(-100).nonzero().squeeze(1);
  else
    outputs.token_index = torch::arange(batch.predicted().tokens(), batch.token_ids.options());
  const Tensor at = batch.predicted().positions.index_select(0, outputs.token_index);
  const Tensor kept_at = runs_of(positions_, starts, counts).to(device).to(torch::kInt64);
  if (!at.equal(kept_at)) files::refuse(entry_, files::top_tokens, "other predicted positions");

  const int64_t k = questions_.wanted.top_k;
  const Tensor ids = runs_of(ids_, starts, counts), log_probs = runs_of(log_probs_, starts, counts),
               tail = runs_of(tail_, starts, counts);
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
