#include "compress/data/batch.h"

#include <algorithm>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/data/dataset.h"

namespace compress::data {

namespace {

torch::Tensor move(const torch::Tensor& tensor, torch::Device device) {
  // Copies to the host must wait: their reader has no stream to order itself by.
  return tensor.defined() ? tensor.to(device, /*non_blocking=*/device.is_cuda()) : tensor;
}

torch::Tensor rows_of(const torch::Tensor& tensor, int64_t begin, int64_t count) {
  return tensor.defined() ? tensor.narrow(0, begin, count) : tensor;
}

// Checks the rows against the split and lays their offsets out.
void lay_out(const Split& split, std::span<const int64_t> rows, Batch& batch) {
  batch.example_ids.assign(rows.begin(), rows.end());
  batch.row_offsets.reserve(rows.size() + 1);
  batch.row_offsets.push_back(0);
  for (int64_t row : rows) {
    if (row < 0 || row >= split.rows())
      throw Error(ErrorKind::internal,
                  str("row ", row, " of a split with ", split.rows(), " rows"));
    int64_t length = split.length(row);
    if (length < 0 || split.offsets[row + 1] > static_cast<int64_t>(split.ids.size()))
      throw Error(ErrorKind::internal, str("the offsets of row ", row, " lie outside its split"));
    batch.longest = std::max(batch.longest, length);
    batch.row_offsets.push_back(batch.row_offsets.back() + length);
  }
}

// The tokens of a mapped split are held below the vocabulary: an embedding reads where they say.
void fill_tokens(const Split& split, std::span<const int64_t> rows, Batch& batch) {
  auto* ids = batch.token_ids.data_ptr<int64_t>();
  auto* segments = batch.segment_ids.data_ptr<int64_t>();
  auto* positions = batch.positions.data_ptr<int64_t>();
  auto* slots = batch.slots.data_ptr<int64_t>();
  std::copy(batch.row_offsets.begin(), batch.row_offsets.end(), batch.offsets.data_ptr<int64_t>());
  int64_t slot = 0;
  uint32_t highest = 0;
  for (int64_t row : rows) {
    int64_t length = split.length(row), first = split.first_lengths[row];
    const int32_t* from = split.ids.data() + split.offsets[row];
    for (int64_t i = 0; i < length; ++i) {
      highest = std::max(highest, static_cast<uint32_t>(from[i]));
      *ids++ = from[i];
      *segments++ = i >= first;
      *positions++ = i;
      *slots++ = slot + i;
    }
    slot += batch.longest;
  }
  if (split.vocabulary > 0 && highest >= split.vocabulary)
    throw Error(ErrorKind::data, "tokenised rows are damaged: a token outside the vocabulary",
                split.cache.string(), "delete the file, and it is made again");
}

void fill_targets(const Split& split, std::span<const int64_t> rows,
                  const torch::TensorOptions& floats, Targets& targets) {
  auto count = static_cast<int64_t>(rows.size()),
       classes = static_cast<int64_t>(split.labels.size());
  if (!split.values.empty()) {
    targets.values = torch::empty({count}, floats);
    auto* out = targets.values.data_ptr<float>();
    for (int64_t row : rows) *out++ = split.values[row];
  }
  if (split.classes.empty() && split.soft.empty()) return;
  targets.distribution = torch::empty({count, classes}, floats);
  auto* out = targets.distribution.data_ptr<float>();
  for (int64_t row : rows) {
    if (!split.soft.empty()) {
      std::copy_n(split.soft.data() + row * classes, classes, out);
    } else {
      std::fill_n(out, classes, 0.f);
      out[split.classes[row]] = 1;
    }
    out += classes;
  }
}

}  // namespace

Batch Batch::to(torch::Device device) const {
  Batch moved = *this;
  for (torch::Tensor Batch::*field :
       {&Batch::token_ids, &Batch::segment_ids, &Batch::positions, &Batch::offsets, &Batch::slots})
    moved.*field = move(this->*field, device);
  for (torch::Tensor Targets::*field :
       {&Targets::distribution, &Targets::values, &Targets::token_labels, &Targets::token_index})
    moved.targets.*field = move(targets.*field, device);
  moved.present = move(present, device);
  moved.ends = move(ends, device);
  if (device.is_cuda() && !moved.ends.defined()) moved.ends = moved.offsets.to(torch::kInt32);
  return moved;
}

Batch padded(const Batch& batch, int64_t tokens, int64_t longest) {
  const int64_t padding = tokens - batch.tokens();
  if (padding < 0 || longest < batch.longest || longest < padding ||
      batch.row_offsets.size() != batch.example_ids.size() + 1)
    throw Error(ErrorKind::internal,
                str("a batch of ", batch.tokens(), " tokens, at most ", batch.longest,
                    " a row, cannot be padded to ", tokens, " and ", longest));
  auto wider = [&](const torch::Tensor& tensor, const torch::Tensor& fill) {
    return tensor.defined() ? at::cat({tensor, fill}) : tensor;
  };
  const torch::Tensor zeros = torch::zeros({padding}, torch::kInt64);
  Batch out = batch;
  for (torch::Tensor Batch::*field : {&Batch::token_ids, &Batch::segment_ids, &Batch::positions})
    out.*field = wider(batch.*field, zeros);
  // A slot is row * longest + position.
  out.slots = wider(
      (batch.slots - batch.positions).floor_divide(std::max<int64_t>(1, batch.longest)) * longest +
          batch.positions,
      zeros);
  out.targets.token_labels = wider(batch.targets.token_labels, torch::full({padding}, -100));
  out.present = at::cat({torch::ones({batch.tokens(), 1}), torch::zeros({padding, 1})});
  out.row_offsets.push_back(tokens);
  out.ends = at::cat({batch.offsets, torch::full({1}, tokens)}).to(torch::kInt32);
  out.longest = longest;
  return out;
}

Batch slice(const Batch& batch, int64_t begin, int64_t end) {
  if (begin < 0 || begin >= end || end > batch.rows())
    throw Error(ErrorKind::internal,
                str("rows ", begin, " to ", end, " of a batch of ", batch.rows()));
  int64_t token = batch.row_offsets[begin], tokens = batch.row_offsets[end] - token,
          rows = end - begin;
  Batch part;
  part.part = {batch.part.first_row + begin, batch.part.first_token + token, batch.update_rows(),
               batch.update_tokens(), batch.part.counts};
  part.example_ids.assign(batch.example_ids.begin() + begin, batch.example_ids.begin() + end);
  for (int64_t row = begin; row <= end; ++row) {
    part.row_offsets.push_back(batch.row_offsets[row] - token);
    if (row > begin)
      part.longest = std::max(part.longest, batch.row_offsets[row] - batch.row_offsets[row - 1]);
  }
  part.token_ids = rows_of(batch.token_ids, token, tokens);
  part.segment_ids = rows_of(batch.segment_ids, token, tokens);
  part.positions = rows_of(batch.positions, token, tokens);
  part.offsets = batch.offsets.narrow(0, begin, rows + 1) - token;
  // A slot is row * longest + position; both row and longest change. (An all-empty batch has no
  // slots to change.)
  part.slots = rows_of(batch.slots, token, tokens);
  if (part.longest == batch.longest)
    part.slots = part.slots - begin * batch.longest;
  else
    part.slots =
        ((part.slots - part.positions).floor_divide(batch.longest) - begin) * part.longest +
        part.positions;
  part.targets.distribution = rows_of(batch.targets.distribution, begin, rows);
  part.targets.values = rows_of(batch.targets.values, begin, rows);
  part.targets.token_labels = rows_of(batch.targets.token_labels, token, tokens);
  if (batch.targets.token_index.defined()) {
    const std::vector<int64_t>& all = batch.targets.labelled;
    const auto first = std::lower_bound(all.begin(), all.end(), token),
               last = std::lower_bound(first, all.end(), token + tokens);
    for (auto it = first; it != last; ++it) part.targets.labelled.push_back(*it - token);
    part.targets.token_index =
        batch.targets.token_index.narrow(0, first - all.begin(), last - first) - token;
  }
  if (batch.ends.defined()) part.ends = part.offsets.to(torch::kInt32);
  return part;
}

Batch pack(const Split& split, std::span<const int64_t> rows, bool pin) {
  Batch batch;
  lay_out(split, rows, batch);
  bool pinned = pin && torch::cuda::is_available();
  auto floats = torch::TensorOptions().dtype(torch::kFloat32).pinned_memory(pinned);
  auto longs = floats.dtype(torch::kInt64);
  int64_t tokens = batch.tokens();
  batch.token_ids = torch::empty({tokens}, longs);
  batch.segment_ids = torch::empty({tokens}, longs);
  batch.positions = torch::empty({tokens}, longs);
  batch.slots = torch::empty({tokens}, longs);
  batch.offsets = torch::empty({batch.rows() + 1}, longs);
  fill_tokens(split, rows, batch);
  fill_targets(split, rows, floats, batch.targets);
  return batch;
}

}  // namespace compress::data
