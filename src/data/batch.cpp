#include "compress/data/batch.h"

#include <algorithm>

#include "compress/base/error.h"
#include "compress/base/strings.h"

namespace compress::data {

namespace {

torch::Tensor move(const torch::Tensor& tensor, torch::Device device) {
  // Copies to the host must wait: their reader has no stream to order itself by.
  return tensor.defined() ? tensor.to(device, /*non_blocking=*/device.is_cuda()) : tensor;
}

torch::Tensor rows_of(const torch::Tensor& tensor, int64_t begin, int64_t count) {
  return tensor.defined() ? tensor.narrow(0, begin, count) : tensor;
}

// Targets of rows begin .. end - 1, and the decoder's rows, whose tokens those of a
// sequence-to-sequence batch are about.
void slice_targets(const Batch& batch, int64_t begin, int64_t end, Batch& part) {
  const Targets& all = batch.targets;
  const int64_t rows = end - begin;
  if (batch.decoder != nullptr)
    part.decoder = std::make_shared<const Batch>(slice(*batch.decoder, begin, end));
  const std::vector<int64_t>& offsets = batch.predicted().row_offsets;
  const int64_t token = offsets[begin], tokens = offsets[end] - token;
  part.targets.distribution =
      rows_of(all.distribution, begin / batch.choices, rows / batch.choices);
  part.targets.values = rows_of(all.values, begin, rows);
  part.targets.spans = rows_of(all.spans, begin, rows);
  part.targets.weights = rows_of(all.weights, begin / batch.choices, rows / batch.choices);
  part.targets.groups = rows_of(all.groups, begin / batch.choices, rows / batch.choices);
  part.sources = rows_of(batch.sources, begin / batch.choices, rows / batch.choices);
  part.targets.token_labels = rows_of(all.token_labels, token, tokens);
  part.targets.changed = rows_of(all.changed, token, tokens);
  if (!all.token_index.defined()) return;
  const auto first = std::lower_bound(all.labelled.begin(), all.labelled.end(), token),
             last = std::lower_bound(first, all.labelled.end(), token + tokens);
  for (auto it = first; it != last; ++it) part.targets.labelled.push_back(*it - token);
  part.targets.token_index =
      all.token_index.narrow(0, first - all.labelled.begin(), last - first) - token;
  for (const TokenMark& mark : all.marks)
    part.targets.marks.push_back(
        {mark.name, mark.among.narrow(0, first - all.labelled.begin(), last - first), mark.update});
}

}  // namespace

const TokenMark* Targets::mark(const std::string& name) const {
  for (const TokenMark& mark : marks)
    if (mark.name == name) return &mark;
  return nullptr;
}

Batch Batch::to(torch::Device device) const {
  Batch moved = *this;
  for (torch::Tensor Batch::*field :
       {&Batch::token_ids, &Batch::segment_ids, &Batch::positions, &Batch::offsets, &Batch::slots})
    moved.*field = move(this->*field, device);
  for (torch::Tensor Targets::*field :
       {&Targets::distribution, &Targets::values, &Targets::token_labels, &Targets::spans,
        &Targets::token_index, &Targets::changed, &Targets::weights, &Targets::groups})
    moved.targets.*field = move(targets.*field, device);
  for (TokenMark& mark : moved.targets.marks) mark.among = move(mark.among, device);
  moved.sources = move(sources, device);
  moved.present = move(present, device);
  moved.ends = move(ends, device);
  if (device.is_cuda() && !moved.ends.defined()) moved.ends = moved.offsets.to(torch::kInt32);
  if (decoder != nullptr) moved.decoder = std::make_shared<const Batch>(decoder->to(device));
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
  // A decoder's tokens, which then have the labels, are as many as before.
  if (batch.decoder == nullptr)
    out.targets.token_labels = wider(batch.targets.token_labels, torch::full({padding}, -100));
  out.targets.changed = wider(batch.targets.changed, zeros);
  out.present = at::cat({torch::ones({batch.tokens(), 1}), torch::zeros({padding, 1})});
  out.row_offsets.push_back(tokens);
  out.ends = at::cat({batch.offsets, torch::full({1}, tokens)}).to(torch::kInt32);
  out.longest = longest;
  return out;
}

Batch slice(const Batch& batch, int64_t begin, int64_t end) {
  if (begin < 0 || begin >= end || end > batch.rows() || begin % batch.choices != 0 ||
      end % batch.choices != 0)
    throw Error(ErrorKind::internal,
                str("rows ", begin, " to ", end, " of a batch of ", batch.rows()));
  int64_t token = batch.row_offsets[begin], tokens = batch.row_offsets[end] - token,
          rows = end - begin;
  Batch part;
  part.part = {batch.part.first_row + begin, batch.part.first_token + token, batch.update_rows(),
               batch.update_tokens(),        batch.update_labelled(),        batch.part.counts};
  part.choices = batch.choices;
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
  slice_targets(batch, begin, end, part);
  if (batch.ends.defined()) part.ends = part.offsets.to(torch::kInt32);
  return part;
}

}  // namespace compress::data
