#include "continuations.h"

#include <algorithm>

namespace compress::generate {

namespace {

constexpr int64_t first_places = 64;

data::Batch pack(const std::vector<Tokens>& rows) {
  data::Batch batch;
  batch.row_offsets = {0};
  for (const Tokens& row : rows) {
    batch.longest = std::max(batch.longest, static_cast<int64_t>(row.size()));
    batch.row_offsets.push_back(batch.row_offsets.back() + static_cast<int64_t>(row.size()));
    batch.example_ids.push_back(batch.rows());
  }
  batch.token_ids = torch::empty({batch.tokens()}, torch::kInt64);
  batch.segment_ids = torch::zeros({batch.tokens()}, torch::kInt64);
  batch.positions = torch::empty({batch.tokens()}, torch::kInt64);
  batch.slots = torch::empty({batch.tokens()}, torch::kInt64);
  batch.offsets = torch::tensor(batch.row_offsets);
  auto* ids = batch.token_ids.data_ptr<int64_t>();
  auto* positions = batch.positions.data_ptr<int64_t>();
  auto* slots = batch.slots.data_ptr<int64_t>();
  int64_t slot = 0;
  for (const Tokens& row : rows) {
    for (int64_t i = 0; i < static_cast<int64_t>(row.size()); ++i) {
      *ids++ = row[static_cast<size_t>(i)];
      *positions++ = i;
      *slots++ = slot + i;
    }
    slot += batch.longest;
  }
  return batch;
}

}  // namespace

// The last new token is never read, so it needs no place. Places for a few new ones are there from
// the beginning: a folder's max_length is often thousands, and most texts end long before.
Continuations::Continuations(nn::Model& model, const std::vector<Tokens>& prompts,
                             const Options& options)
    : model_(model), pass_{false, 0, options.precision} {
  const data::Batch batch = pack(prompts).to(model.device());
  const bool reads = model.config().encoder_decoder();
  for (const Tokens& prompt : prompts) {
    const auto length = static_cast<int64_t>(prompt.size());
    most_ =
        std::max(most_, (reads ? 1 : length) + limits(options, model.config(), length).most - 1);
  }
  const int64_t before = reads ? 1 : batch.longest;
  decoding_ = model.begin_decoding(batch, 1, std::min(most_, before + first_places), pass_);
  first_ = decode(reads ? std::vector<Tokens>(prompts.size(), {options.decoder_start}) : prompts);
}

torch::Tensor Continuations::decode(const std::vector<Tokens>& rows) {
  const torch::Tensor logits = model_.decode(decoding_, pack(rows).to(model_.device()), pass_);
  return logits.to(torch::kCPU, torch::kFloat32).contiguous();
}

torch::Tensor Continuations::read(const Tokens& tokens) {
  std::vector<Tokens> rows;
  rows.reserve(tokens.size());
  if (*std::max_element(decoding_.lengths.begin(), decoding_.lengths.end()) == decoding_.capacity)
    decoding_.grow(std::min(most_, 2 * decoding_.capacity));
  for (int64_t token : tokens) rows.push_back({token});
  return decode(rows);
}

void Continuations::select(const std::vector<int64_t>& parents) {
  bool same = static_cast<int64_t>(parents.size()) == decoding_.rows();
  for (size_t i = 0; same && i < parents.size(); ++i) same = parents[i] == static_cast<int64_t>(i);
  if (!same) decoding_.select(parents);
}

}  // namespace compress::generate
