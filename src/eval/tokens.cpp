// Scores of models that say something of each token: tags of words, answers in passages.

#include <algorithm>
#include <limits>

#include "compress/base/error.h"
#include "compress/data/passages.h"
#include "scorers.h"

namespace compress::eval {

using torch::Tensor;

namespace {

constexpr int64_t longest_answer = 30;  // tokens

// Rows that `options` ask for.
int64_t rows_of(const Scoring& s) {
  return s.options.limit > 0 ? std::min(s.options.limit, s.split.rows()) : s.split.rows();
}

// The best answer in one window.
struct Best {
  float score = -std::numeric_limits<float>::infinity(), none = 0;
  int64_t first = 0, last = 0;
};

// The best answer by the logits [tokens, 2] of a row, whose passage lies in [begin, end).
Best best_of(const Tensor& logits, int64_t begin, int64_t end) {
  const auto* z = logits.const_data_ptr<float>();
  Best best;
  best.none = z[0] + z[1];
  for (int64_t first = begin; first < end; ++first) {
    for (int64_t last = first; last < std::min(end, first + longest_answer); ++last) {
      const float score = z[2 * first] + z[2 * last + 1];
      if (score > best.score) {
        best.score = score;
        best.first = first;
        best.last = last;
      }
    }
  }
  return best;
}

// One question's best answer over its windows; -1: no window was scored.
struct Answer {
  int64_t row = -1;
  Best best;
  float none = std::numeric_limits<float>::infinity();  // the least of its windows
};

}  // namespace

void score_tags(const Scoring& s) {
  const data::Split& split = s.split;
  const Tensor order = torch::tensor(match_labels(s.config, split)).to(s.model.device());
  const int64_t rows = rows_of(s);
  Tensor chosen = torch::zeros({split.offsets[rows]}, torch::kInt64),
         loss = torch::zeros({}, torch::kFloat64);
  auto* at = chosen.mutable_data_ptr<int64_t>();
  s.batches.each([&](const std::vector<int64_t>& batch_rows) {
    check_stop(s.options);
    const data::Batch batch = data::pack(split, batch_rows).to(s.model.device());
    if (batch.targets.labelled.empty()) return;
    const nn::HeadOutputs out = s.outputs(batch);
    const Tensor logits = out.token_logits.index_select(1, order).cpu();
    s.check_finite(logits);
    loss += at::cross_entropy_loss(
        logits, batch.targets.token_labels.index_select(0, out.token_index).cpu(), {},
        at::Reduction::Sum);
    const Tensor best = logits.argmax(1);
    size_t row = 0;
    for (int64_t i = 0; i < best.size(0); ++i) {
      const int64_t token = batch.targets.labelled[static_cast<size_t>(i)];
      while (token >= batch.row_offsets[row + 1]) ++row;
      at[split.offsets[batch_rows[row]] + token - batch.row_offsets[row]] =
          best.const_data_ptr<int64_t>()[i];
    }
  });
  if (s.options.processes != nullptr) {  // others hold zeros
    s.options.processes->sum(chosen);
    s.options.processes->sum(loss);
  }
  Predictions& p = s.predictions;
  p.num_classes = static_cast<int64_t>(split.labels.size());
  if (are_entity_tags(split.labels)) p.entities.emplace();
  for (int64_t row = 0; row < rows; ++row) {
    std::vector<std::string_view> found, given;
    for (int64_t t = split.offsets[row]; t < split.offsets[row + 1]; ++t) {
      const int32_t label = split.token_classes[t];
      if (label < 0) continue;
      p.classes.push_back(at[t]);
      p.labels.push_back(label);
      found.push_back(split.labels[static_cast<size_t>(at[t])]);
      given.push_back(split.labels[static_cast<size_t>(label)]);
    }
    if (p.entities) count_entities(found, given, *p.entities);
  }
  p.nll_sum = loss.item<double>();
}

void score_answers(const Scoring& s) {
  if (s.options.tokenizer == nullptr)
    throw Error(ErrorKind::internal, "answers are evaluated with the model's tokenizer");
  const data::Passages& passages = data::passages_of(s.split, *s.options.tokenizer);
  const int64_t rows = rows_of(s);
  Tensor table = torch::zeros({rows, 4});  // score, first, last, none
  Tensor loss = torch::zeros({}, torch::kFloat64);
  s.batches.each([&](const std::vector<int64_t>& batch_rows) {
    check_stop(s.options);
    const data::Batch batch = data::pack(s.split, batch_rows).to(s.model.device());
    const Tensor all = s.outputs(batch).token_logits.cpu();
    s.check_finite(all);
    for (size_t i = 0; i < batch_rows.size(); ++i) {
      const int64_t row = batch_rows[i], begin = batch.row_offsets[i];
      const Tensor logits = all.slice(0, begin, batch.row_offsets[i + 1]).contiguous();
      const auto& window = passages.windows[static_cast<size_t>(row)];
      const Best best = best_of(logits, window.begin, window.begin + window.tokens);
      auto* to = table.mutable_data_ptr<float>() + 4 * row;
      to[0] = best.score;
      to[1] = static_cast<float>(best.first);
      to[2] = static_cast<float>(best.last);
      to[3] = best.none;
      const Tensor log_p = at::log_softmax(logits, 0);
      for (int64_t side : {0, 1}) loss -= log_p[s.split.spans[2 * row + side]][side];
    }
  });
  if (s.options.processes != nullptr) {
    s.options.processes->sum(table);
    s.options.processes->sum(loss);
  }
  std::vector<Answer> answers(passages.examples.size());
  for (int64_t row = 0; row < rows; ++row) {
    const auto* from = table.const_data_ptr<float>() + 4 * row;
    Answer& answer =
        answers[static_cast<size_t>(passages.windows[static_cast<size_t>(row)].example)];
    answer.none = std::min(answer.none, from[3]);
    if (answer.row >= 0 && from[0] <= answer.best.score) continue;
    answer.row = row;
    answer.best = {from[0], 0, static_cast<int64_t>(from[1]), static_cast<int64_t>(from[2])};
  }
  const bool may_have_none =
      std::any_of(passages.examples.begin(), passages.examples.end(),
                  [](const auto& example) { return example.answers.empty(); });
  Answers& found = s.predictions.answers;
  for (size_t i = 0; i < answers.size(); ++i) {
    const Answer& answer = answers[i];
    if (answer.row < 0) continue;
    const data::Passages::Example& example = passages.examples[i];
    const std::string text = passages.text_of(answer.row, answer.best.first, answer.best.last);
    const AnswerScore best = compare_answer(text, example.answers);
    const double odds = static_cast<double>(answer.none) - answer.best.score;
    const bool none = may_have_none && odds > s.options.null_threshold;
    const AnswerScore score = none ? compare_answer("", example.answers) : best;
    found.ids.push_back(example.id);
    found.texts.push_back(none ? "" : text);
    found.exact.push_back(score.exact ? 1 : 0);
    found.f1.push_back(score.f1);
    if (!may_have_none) continue;
    found.has_answer.push_back(!example.answers.empty());
    found.null_odds.push_back(odds);
    found.best_exact.push_back(best.exact ? 1 : 0);
    found.best_f1.push_back(best.f1);
  }
  s.predictions.nll_sum = loss.item<double>() / static_cast<double>(2 * rows);
}

}  // namespace compress::eval
