// Scores of pairs of texts that are read each by itself: the cosine of their embeddings.

#include "compress/base/error.h"
#include "compress/nn/pooling.h"
#include "scorers.h"

namespace compress::eval {

using torch::Tensor;

namespace {

// [B, H] float32: what an embedding head says, else the last states as the model's folder pools
// them.
Tensor embeddings(const Scoring& s, const data::Batch& batch) {
  const int64_t layers = s.config.layers;
  nn::Capture capture;
  const bool states = s.config.head != nn::HeadKind::embedding && layers > 0;
  if (states) capture.hidden.add(layers);
  const nn::Outputs out = s.model.forward(batch, capture, {false, 0, s.options.precision});
  if (!states) return out.pooled.to(torch::kFloat32);
  return nn::pooled_rows(out.hidden.at(static_cast<size_t>(layers)), batch, s.config.pooling);
}

}  // namespace

void score_pairs(const Scoring& s, int64_t rows) {
  if (!s.options.head.empty())
    throw Error(ErrorKind::recipe, "texts are embedded by the model's own head", s.options.head,
                "leave `head` out");
  Tensor cosines = torch::zeros({rows}, torch::kFloat64);
  s.batches.each([&](const std::vector<int64_t>& batch_rows) {
    check_stop(s.options);
    const data::Batch batch = data::pack(s.split, batch_rows).to(s.model.device());
    const Tensor both = embeddings(s, batch).to(torch::kFloat64);
    s.check_finite(both);
    const Tensor unit =
        (both / both.norm(2, 1, /*keepdim=*/true).clamp_min(1e-12)).view({-1, 2, both.size(1)});
    cosines.index_copy_(0, torch::tensor(batch_rows),
                        (unit.select(1, 0) * unit.select(1, 1)).sum(1).cpu());
  });
  if (s.options.processes != nullptr) s.options.processes->sum(cosines);  // others hold zeros
  Predictions& found = s.predictions;
  const auto* cosine = cosines.const_data_ptr<double>();
  found.values.assign(cosine, cosine + rows);
  for (int64_t row = 0; row < rows; ++row)
    found.targets.push_back(s.split.values[static_cast<size_t>(row * 2)]);
  found.values_by = "score:cosine|pooling:" + s.config.pooling;
  if (s.split.groups.empty()) return;
  for (int64_t row = 0; row < rows; ++row)
    found.ranked.groups.push_back(s.split.groups[static_cast<size_t>(row * 2)]);
  found.ranked.scores = found.values;
  found.ranked.relevance = found.targets;
}

}  // namespace compress::eval
