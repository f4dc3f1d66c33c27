#include "whole_draw.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "compress/augment/augment.h"
#include "compress/base/error.h"
#include "compress/base/random.h"
#include "compress/base/strings.h"
#include "compress/storage/safetensors.h"

namespace compress::augment {

namespace {

void add_counts(const std::filesystem::path& folder, double smoothing, std::vector<double>& odds) {
  const std::filesystem::path file = folder / str(token_counts, ".safetensors");
  const storage::SafetensorsReader reader(file);
  const storage::TensorView& counts = reader.at("counts");
  const bool fits = counts.dtype == storage::Dtype::i64 && counts.shape.size() == 1 &&
                    counts.shape[0] == static_cast<int64_t>(odds.size());
  if (!fits)
    throw Error(ErrorKind::model, str("the counts are not of the model's ", odds.size(), " tokens"),
                file.string(), "count the tokens with the tokenizer of the model that is trained");
  std::vector<int64_t> count(odds.size());
  std::memcpy(count.data(), counts.data, counts.bytes);  // a file's bytes may lie anywhere
  for (size_t i = 0; i < odds.size(); ++i)
    odds[i] = std::pow(static_cast<double>(std::max<int64_t>(count[i], 1)), -smoothing);
}

// The n-th smallest of the numbers of all processes; all of them where there are fewer.
double threshold(std::vector<double> keys, int64_t n, parallel::Processes* processes) {
  if (processes != nullptr) {
    const torch::Tensor all = processes->gather_rows(torch::tensor(keys, torch::kFloat64));
    const auto* key = all.const_data_ptr<double>();
    keys.assign(key, key + all.numel());
  }
  if (n <= 0) return -1;
  if (n >= static_cast<int64_t>(keys.size())) return HUGE_VAL;
  const auto nth = keys.begin() + static_cast<std::ptrdiff_t>(n - 1);
  std::nth_element(keys.begin(), nth, keys.end());
  return *nth;
}

}  // namespace

std::vector<double> token_odds(const std::filesystem::path& folder, int64_t tokens,
                               double smoothing, const std::vector<bool>& special) {
  std::vector<double> odds(static_cast<size_t>(tokens), 1.0);
  if (!folder.empty()) add_counts(folder, smoothing, odds);
  for (size_t i = 0; i < odds.size(); ++i)
    if (i < special.size() && special[i]) odds[i] = 0;
  return odds;
}

std::vector<int64_t> drawn_tokens(const data::Batch& batch, const std::vector<double>& odds,
                                  double share, uint64_t seed, parallel::Processes* processes) {
  const auto* id = batch.token_ids.const_data_ptr<int64_t>();
  std::vector<int64_t> places;
  std::vector<double> keys;
  for (int64_t row = 0; row < (batch.part.counts ? batch.rows() : 0); ++row) {
    const auto example = static_cast<uint64_t>(batch.example_ids[static_cast<size_t>(row)]);
    Random random(stream_seed(seed, "draw", example));
    for (int64_t t = batch.row_offsets[row]; t < batch.row_offsets[row + 1]; ++t) {
      const double u = random.uniform(), weight = odds[static_cast<size_t>(id[t])];
      if (weight <= 0) continue;
      places.push_back(t);
      keys.push_back(-std::log1p(-u) / weight);
    }
  }
  const auto n =
      static_cast<int64_t>(std::ceil(share * static_cast<double>(batch.update_tokens())));
  const double last = threshold(keys, n, processes);
  std::vector<int64_t> chosen;
  for (size_t i = 0; i < places.size(); ++i)
    if (keys[i] <= last) chosen.push_back(places[i]);
  return chosen;
}

}  // namespace compress::augment
