// Perplexity of language models, and the texts that they write.

#include <algorithm>

#include "compress/augment/augment.h"
#include "compress/base/error.h"
#include "compress/base/random.h"
#include "compress/data/passages.h"
#include "scorers.h"

namespace compress::eval {

using torch::Tensor;

namespace {

// Sums of all processes in place of this one's.
void add_up(const EvaluateOptions& options, Predictions& predictions) {
  if (options.processes == nullptr) return;
  Tensor sums = torch::tensor({predictions.nll_sum, static_cast<double>(predictions.tokens)},
                              torch::kFloat64);
  options.processes->sum(sums);
  predictions.nll_sum = sums[0].item<double>();
  predictions.tokens = static_cast<int64_t>(sums[1].item<double>());
}

// -sum log softmax(logits)_label, few rows at a time: their log-probabilities are no smaller than
// the logits.
double negative_log_likelihood(const Tensor& logits, const Tensor& labels) {
  const int64_t rows = logits.size(0), step = logits.is_cpu() ? 16 : 2048;
  Tensor sum = torch::zeros({}, logits.options().dtype(torch::kFloat64));
  for (int64_t begin = 0; begin < rows; begin += step) {
    const int64_t count = std::min(step, rows - begin);
    sum += at::cross_entropy_loss(logits.narrow(0, begin, count), labels.narrow(0, begin, count),
                                  {}, at::Reduction::Sum);
  }
  return sum.item<double>();
}

}  // namespace

std::vector<std::vector<int64_t>> parted(const data::Split& split, const std::vector<int64_t>& rows,
                                         uint64_t draw) {
  constexpr int64_t most_tokens = 2048;
  std::vector<std::vector<int64_t>> parts;
  int64_t tokens = 0;
  for (int64_t row : rows) {
    const int64_t length = data::packed_length(split, row, draw);
    if (parts.empty() || tokens + length > most_tokens) {
      parts.emplace_back();
      tokens = 0;
    }
    parts.back().push_back(row);
    tokens += length;
  }
  return parts;
}

void score_masked(const Scoring& s) {
  if (s.options.tokenizer == nullptr)
    throw Error(ErrorKind::internal, "a masked LM is evaluated with its tokenizer");
  auto masking = augment::make_masking({});
  nn::ParamTable none;
  masking->bind({.student = s.config,
                 .weights = s.model.params(),
                 .helpers = none,
                 .tokenizer = s.options.tokenizer});
  s.batches.each([&](const std::vector<int64_t>& rows) {
    check_stop(s.options);
    data::Batch batch = data::pack(s.split, rows);
    masking->apply(batch, stream_seed(0, "evaluation", static_cast<uint64_t>(rows.front())));
    batch = batch.to(s.model.device());
    const nn::HeadOutputs out = s.outputs(batch);
    Tensor targets = batch.targets.token_labels.index_select(0, out.token_index);
    s.predictions.nll_sum +=
        at::cross_entropy_loss(out.token_logits, targets, {}, at::Reduction::Sum).item<double>();
    s.predictions.tokens += targets.size(0);
  });
  add_up(s.options, s.predictions);
}

void score_written(const Scoring& s) {
  s.batches.each([&](const std::vector<int64_t>& all) {
    check_stop(s.options);
    for (const std::vector<int64_t>& rows : parted(s.split, all)) {
      const data::Batch batch = data::pack(s.split, rows).to(s.model.device());
      if (batch.targets.labelled.empty()) continue;  // rows of one token
      const nn::HeadOutputs out = s.outputs(batch);
      s.predictions.nll_sum += negative_log_likelihood(
          out.token_logits, batch.targets.token_labels.index_select(0, out.token_index));
      s.predictions.tokens += out.token_index.size(0);
    }
  });
  add_up(s.options, s.predictions);
}

namespace {

// The tokens that a row's text is to be written behind.
std::vector<int64_t> prompt_of(const data::Split& split, int64_t row) {
  const int32_t* ids = split.ids.data() + split.offsets[row];
  return {ids, ids + split.first_lengths[row]};
}

// The texts of all processes, each of which has some of them and "" for the others.
void share_texts(std::vector<std::string>& texts, parallel::Processes* processes) {
  if (processes == nullptr) return;
  const auto count = static_cast<int64_t>(texts.size());
  torch::Tensor ends = torch::zeros({count}, torch::kInt64);
  for (int64_t i = 0; i < count; ++i)
    ends.mutable_data_ptr<int64_t>()[i] =
        static_cast<int64_t>(texts[static_cast<size_t>(i)].size());
  processes->sum(ends);  // others hold zeros
  ends = ends.cumsum(0);
  const auto* end = ends.const_data_ptr<int64_t>();
  torch::Tensor bytes = torch::zeros({end[count - 1]}, torch::kInt32);
  auto* all = bytes.mutable_data_ptr<int32_t>();
  for (int64_t i = 0; i < count; ++i) {
    const std::string& text = texts[static_cast<size_t>(i)];
    if (!text.empty()) std::copy(text.begin(), text.end(), all + (i == 0 ? 0 : end[i - 1]));
  }
  if (bytes.numel() > 0) processes->sum(bytes);
  for (int64_t i = 0; i < count; ++i)
    texts[static_cast<size_t>(i)].assign(all + (i == 0 ? 0 : end[i - 1]), all + end[i]);
}

}  // namespace

void score_texts(const Scoring& s, int64_t rows) {
  if (!s.options.write)
    throw Error(ErrorKind::internal, "metrics of written texts need a way to write");
  if (s.split.task == data::Task::language_model && !s.split.answers)
    throw Error(ErrorKind::recipe, "metrics of written texts need rows with a text to be written",
                {}, "name its column: `target` on the data set");
  std::vector<std::string> texts(static_cast<size_t>(rows));
  s.batches.each([&](const std::vector<int64_t>& batch) {
    check_stop(s.options);
    std::vector<std::vector<int64_t>> prompts;
    for (int64_t row : batch) prompts.push_back(prompt_of(s.split, row));
    std::vector<std::string> written = s.options.write(s.model, prompts);
    for (size_t i = 0; i < batch.size(); ++i)
      texts[static_cast<size_t>(batch[i])] = std::move(written.at(i));
  });
  share_texts(texts, s.options.processes);
  std::vector<std::vector<std::string>> references = data::references_of(s.split);
  references.resize(texts.size());
  s.predictions.texts = {std::move(texts), std::move(references)};
}

}  // namespace compress::eval
