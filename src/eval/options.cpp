// What language models are asked behind prompts and in gaps: which answer, which token.

#include <algorithm>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/data/compose.h"
#include "scorers.h"

namespace compress::eval {

using torch::Tensor;

namespace {

// The split with `answer` as the target of every row.
data::Split with_answer(const data::Split& split, const std::vector<int32_t>& answer) {
  data::Split tried = split;
  std::vector<int32_t> ids;
  std::vector<int64_t> offsets = {0};
  for (int64_t row = 0; row < split.rows(); ++row) {
    const int32_t* text = split.ids.data() + split.offsets[row];
    ids.insert(ids.end(), text, text + split.first_lengths[row]);
    ids.insert(ids.end(), answer.begin(), answer.end());
    offsets.push_back(static_cast<int64_t>(ids.size()));
  }
  tried.ids.edit() = std::move(ids);
  tried.offsets.edit() = std::move(offsets);
  return tried;
}

// The log-probability of the last `count` tokens of each of the batch's rows: their sums.
std::vector<double> ends_of(const Scoring& s, const data::Batch& batch, int64_t count) {
  std::vector<int64_t> places;  // of those tokens among the labelled ones
  int64_t before = 0;
  for (size_t row = 0; row + 1 < batch.row_offsets.size(); ++row) {
    before += batch.row_offsets[row + 1] - batch.row_offsets[row] - 1;
    for (int64_t i = count; i > 0; --i) places.push_back(before - i);
  }
  const nn::HeadOutputs out = s.outputs(batch);
  const Tensor index = torch::tensor(places).to(out.token_logits.device());
  const Tensor labels =
      batch.targets.token_labels.index_select(0, out.token_index).index_select(0, index);
  const Tensor logits = out.token_logits.index_select(0, index).to(torch::kFloat32);
  s.check_finite(logits);
  const Tensor found = (logits.gather(1, labels.unsqueeze(1)).squeeze(1) - logits.logsumexp({1}))
                           .to(torch::kFloat64)
                           .view({-1, count})
                           .sum(1)
                           .cpu();
  const auto* value = found.const_data_ptr<double>();
  return {value, value + found.size(0)};
}

// The class that most votes say; of equally many the one with the highest sum of scores. `scores`:
// [votes, classes].
int64_t majority(const Tensor& scores) {
  const int64_t votes = scores.size(0), classes = scores.size(1);
  std::vector<int64_t> counts(static_cast<size_t>(classes), 0);
  std::vector<double> sums(static_cast<size_t>(classes), 0);
  for (int64_t vote = 0; vote < votes; ++vote) {
    const double* score = scores.const_data_ptr<double>() + vote * classes;
    ++counts[static_cast<size_t>(std::max_element(score, score + classes) - score)];
    for (int64_t c = 0; c < classes; ++c) sums[static_cast<size_t>(c)] += score[c];
  }
  size_t best = 0;
  for (size_t c = 1; c < counts.size(); ++c)
    if (counts[c] > counts[best] || (counts[c] == counts[best] && sums[c] > sums[best])) best = c;
  return static_cast<int64_t>(best);
}

}  // namespace

Tensor score_options(const Scoring& s, int64_t rows) {
  const auto classes = static_cast<int64_t>(s.split.options.size());
  if (classes == 0)
    throw Error(ErrorKind::data, "the data has no answers to choose from", s.split.file.string());
  const data::Composer* composer = data::composer_of(s.split);
  if (composer != nullptr && s.split.name == "train")
    throw Error(ErrorKind::recipe,
                "rows of the training part would be shown with the answer that is tried",
                s.split.file.string(), "score another part, or leave `compose` out");
  const int64_t votes = composer != nullptr ? composer->votes() : 1;
  Tensor scores = torch::zeros({rows, votes, classes}, torch::kFloat64);
  auto* out = scores.mutable_data_ptr<double>();
  for (int64_t c = 0; c < classes; ++c) {
    const std::vector<int32_t>& answer = s.split.options[static_cast<size_t>(c)];
    const auto tokens = static_cast<int64_t>(answer.size());
    const data::Split tried = with_answer(s.split, answer);
    s.batches.each([&](const std::vector<int64_t>& all) {
      for (int64_t vote = 0; vote < votes; ++vote) {
        const uint64_t draw = data::Composer::vote_draw(vote);
        for (const std::vector<int64_t>& part : parted(tried, all, draw)) {
          check_stop(s.options);
          const data::Batch batch = data::pack(tried, part, false, draw).to(s.model.device());
          const std::vector<double> sums = ends_of(s, batch, tokens);
          for (size_t i = 0; i < part.size(); ++i)
            out[(part[i] * votes + vote) * classes + c] =
                s.split.option_mean ? sums[i] / static_cast<double>(tokens) : sums[i];
        }
      }
    });
  }
  if (s.options.processes != nullptr) s.options.processes->sum(scores);  // others hold zeros
  Predictions& found = s.predictions;
  found.num_classes = classes;
  found.classes_by =
      str("options:", s.split.option_mean ? "mean" : "sum", "-log-probability|votes:", votes);
  for (int64_t row = 0; row < rows; ++row) {
    found.classes.push_back(majority(scores[row]));
    found.labels.push_back(s.split.classes[static_cast<size_t>(row)]);
  }
  // As if the answers were classes: the loss is their cross-entropy.
  Tensor mean = scores.mean(1);
  found.nll_sum = at::cross_entropy_loss(mean, torch::tensor(found.labels), {}, at::Reduction::Sum)
                      .item<double>();
  found.tokens = rows;
  return mean.to(torch::kFloat32);
}

void score_gaps(const Scoring& s, int64_t rows) {
  Tensor above = torch::zeros({rows}, torch::kInt64);
  Tensor loss = torch::zeros({}, torch::kFloat64);
  s.batches.each([&](const std::vector<int64_t>& batch_rows) {
    check_stop(s.options);
    const data::Batch batch = data::pack(s.split, batch_rows).to(s.model.device());
    const nn::HeadOutputs out = s.outputs(batch);
    const Tensor logits = out.token_logits.to(torch::kFloat32);
    s.check_finite(logits);
    const Tensor labels = batch.targets.token_labels.index_select(0, out.token_index);
    const Tensor right = logits.gather(1, labels.unsqueeze(1));
    above.index_copy_(0, torch::tensor(batch_rows), (logits > right).sum(1).cpu());
    loss += at::cross_entropy_loss(logits, labels, {}, at::Reduction::Sum).cpu();
  });
  if (s.options.processes != nullptr) {
    s.options.processes->sum(above);
    s.options.processes->sum(loss);
  }
  const auto* place = above.const_data_ptr<int64_t>();
  s.predictions.above.assign(place, place + rows);
  if (!s.split.groups.empty())
    s.predictions.ranked.groups.assign(s.split.groups.begin(), s.split.groups.begin() + rows);
  s.predictions.nll_sum = loss.item<double>();
  s.predictions.tokens = rows;
}

}  // namespace compress::eval
