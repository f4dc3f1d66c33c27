// Asking a teacher: ranges of rows, and its answers for one of them.

#include "compress/teacher/answers.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/data/batches.h"

namespace compress::teacher {

namespace {

using torch::Tensor;

constexpr int64_t range_tokens = 16384;  // bounds the memory of a piece
constexpr int64_t batch_rows = 64;
constexpr int64_t vocabulary_tokens = 2048;  // a batch whose logits are as wide as the vocabulary

data::Batch packed(const Questions& questions, std::span<const int64_t> rows) {
  return questions.pack ? questions.pack(rows) : data::pack(*questions.split, rows);
}

// The range's rows in batches, the longest first.
std::vector<std::vector<int64_t>> batches_of(const Questions& questions, Range range) {
  return data::batches_by_length(*questions.split, range.begin, range.end, batch_rows,
                                 questions.wanted.top_k > 0 ? vocabulary_tokens : range_tokens);
}

// Predicted positions of each row of a batch on the CPU.
std::vector<int64_t> predicted_counts(const data::Batch& all) {
  std::vector<int64_t> counts;
  const Tensor& labels = all.targets.token_labels;
  const data::Batch& batch = all.predicted();
  const auto* label = labels.defined() ? labels.const_data_ptr<int64_t>() : nullptr;
  for (size_t row = 0; row + 1 < batch.row_offsets.size(); ++row) {
    const int64_t begin = batch.row_offsets[row], end = batch.row_offsets[row + 1];
    counts.push_back(label == nullptr ? end - begin
                                      : std::count_if(label + begin, label + end,
                                                      [](int64_t value) { return value != -100; }));
  }
  return counts;
}

// Float16 on the CPU.
Tensor halved(const Tensor& values) {
  return values.to(torch::kFloat16).cpu();
}

// Where the rows of a batch, `starts[row]` .. + `counts[row]` each, lie inside the piece.
Tensor places(const std::vector<int64_t>& starts, const std::vector<int64_t>& counts) {
  const int64_t total = std::accumulate(counts.begin(), counts.end(), int64_t{0});
  Tensor index = torch::empty({total}, torch::kInt64);
  auto* out = index.data_ptr<int64_t>();
  for (size_t row = 0; row < counts.size(); ++row) {
    std::iota(out, out + counts[row], starts[row]);
    out += counts[row];
  }
  return index;
}

// Puts rows of a batch at `index` of `whole`, which is made for `rows` of them when it is needed.
void scatter_rows(Tensor& whole, int64_t rows, const Tensor& index, const Tensor& part) {
  if (!whole.defined()) {
    std::vector<int64_t> shape = part.sizes().vec();
    shape[0] = rows;
    whole = torch::empty(shape, part.options());
  }
  whole.index_copy_(0, index, part);
}

void require_finite(const Tensor& values, const std::string& what) {
  if (!values.defined() || values.isfinite().all().item<bool>()) return;
  throw Error(ErrorKind::diverged,
              str("the teacher's ", what, " are not finite",
                  values.scalar_type() == torch::kFloat16 ? ", or too large for float16" : ""),
              {}, "compute them in float32, or look at the teacher");
}

// The sizes and the filling of one piece.
class Asking {
 public:
  Asking(Teacher& teacher, const Questions& questions, Range range)
      : teacher_(teacher),
        questions_(questions),
        split_(*questions.split),
        range_(range),
        rows_(range.end - range.begin),
        tokens_(split_.offsets[range.end] - split_.offsets[range.begin]) {}

  Piece run() {
    const Wanted& wanted = questions_.wanted;
    std::vector<std::vector<int64_t>> batches = batches_of(questions_, range_);
    if (wanted.top_k > 0) count(batches);
    nn::Capture capture{.pooled = wanted.pooled};
    for (int64_t layer : wanted.hidden) capture.hidden.add(layer);
    for (const std::vector<int64_t>& rows : batches) {
      data::Batch batch = packed(questions_, rows);
      nn::Outputs outputs = teacher_.signals(batch.to(teacher_.device()), capture);
      keep(rows, batch, outputs);
    }
    check();
    return std::move(piece_);
  }

 private:
  void count(const std::vector<std::vector<int64_t>>& batches) {
    piece_.counts = torch::zeros({rows_}, torch::kInt64);
    auto* counts = piece_.counts.data_ptr<int64_t>();
    for (const std::vector<int64_t>& rows : batches) {
      std::vector<int64_t> found = predicted_counts(packed(questions_, rows));
      for (size_t i = 0; i < rows.size(); ++i) counts[rows[i] - range_.begin] = found[i];
    }
    predicted_starts_.assign(1, 0);
    for (int64_t row = 0; row < rows_; ++row)
      predicted_starts_.push_back(predicted_starts_.back() + counts[row]);
  }

  void keep(const std::vector<int64_t>& rows, const data::Batch& batch, nn::Outputs& outputs) {
    const Wanted& wanted = questions_.wanted;
    Tensor row_index = torch::tensor(rows) - range_.begin;
    if (wanted.logits) scatter_rows(piece_.logits, rows_, row_index, outputs.logits.cpu());
    if (wanted.pooled) scatter_rows(piece_.pooled, rows_, row_index, halved(outputs.pooled));
    if (!wanted.hidden.empty()) {
      std::vector<int64_t> starts, counts;
      for (int64_t row : rows) {
        starts.push_back(split_.offsets[row] - split_.offsets[range_.begin]);
        counts.push_back(split_.length(row));
      }
      const Tensor index = places(starts, counts);
      for (int64_t layer : wanted.hidden)
        scatter_rows(piece_.hidden[layer], tokens_, index,
                     halved(outputs.hidden.at(static_cast<size_t>(layer))));
    }
    if (wanted.top_k > 0) keep_top(rows, batch, outputs);
  }

  void keep_top(const std::vector<int64_t>& rows, const data::Batch& batch,
                const nn::Outputs& outputs) {
    std::vector<int64_t> starts, counts = predicted_counts(batch);
    for (int64_t row : rows)
      starts.push_back(predicted_starts_[static_cast<size_t>(row - range_.begin)]);
    const Tensor index = places(starts, counts);
    const int64_t total = predicted_starts_.back();
    nn::TopTokens top = top_tokens(outputs.token_logits, questions_.wanted.top_k);
    const Tensor at = outputs.token_index.cpu();
    scatter_rows(piece_.positions, total, index,
                 batch.predicted().positions.index_select(0, at).to(torch::kInt32));
    scatter_rows(piece_.ids, total, index, top.ids.cpu().to(torch::kInt32));
    scatter_rows(piece_.log_probs, total, index, halved(top.log_probs));
    scatter_rows(piece_.tail, total, index, top.tail.cpu());
  }

  void check() const {
    require_finite(piece_.logits, "logits");
    require_finite(piece_.pooled, "pooled states");
    for (const auto& [layer, states] : piece_.hidden)
      require_finite(states, str("hidden states ", layer));
    require_finite(piece_.log_probs, "log-probabilities");
    require_finite(piece_.tail, "log-probabilities");
  }

  Teacher& teacher_;
  const Questions& questions_;
  const data::Split& split_;
  Range range_;
  int64_t rows_, tokens_;
  std::vector<int64_t> predicted_starts_;  // of the range's rows, inside the piece
  Piece piece_;
};

}  // namespace

std::string Wanted::text() const {
  std::vector<std::string> parts, layers;
  if (logits) parts.emplace_back("logits");
  if (pooled) parts.emplace_back("pooled states");
  for (int64_t layer : hidden) layers.push_back(std::to_string(layer));
  if (!layers.empty()) parts.push_back("hidden states " + join(layers, ", "));
  if (top_k > 0) parts.push_back(str("the ", top_k, " most probable tokens"));
  return join(parts, ", ");
}

std::vector<Range> ranges(const data::Split& split) {
  std::vector<Range> list;
  for (int64_t row = 0; row < split.rows();) {
    Range range{row, row + 1};
    while (range.end < split.rows() &&
           split.offsets[range.end + 1] - split.offsets[row] <= range_tokens)
      ++range.end;
    list.push_back(range);
    row = range.end;
  }
  return list;
}

Piece answer(Teacher& teacher, const Questions& questions, Range range) {
  return Asking(teacher, questions, range).run();
}

nn::TopTokens top_tokens(const Tensor& logits, int64_t k) {
  if (k < 1 || k >= logits.size(1))
    throw Error(ErrorKind::internal,
                str("the ", k, " most probable of ", logits.size(1), " tokens"));
  const Tensor log_probs = at::log_softmax(logits, 1);
  auto [values, ids] = log_probs.topk(k, 1);
  const Tensor others = log_probs.scatter(1, ids, -std::numeric_limits<double>::infinity());
  return {ids, values, others.logsumexp(1)};
}

Tensor predicted_offsets(const Questions& questions) {
  const data::Split& split = *questions.split;
  Tensor offsets = torch::zeros({split.rows() + 1}, torch::kInt64);
  auto* out = offsets.data_ptr<int64_t>();
  for (Range range : ranges(split))
    for (const std::vector<int64_t>& rows : batches_of(questions, range)) {
      std::vector<int64_t> counts = predicted_counts(packed(questions, rows));
      for (size_t i = 0; i < rows.size(); ++i) out[rows[i] + 1] = counts[i];
    }
  for (int64_t row = 0; row < split.rows(); ++row) out[row + 1] += out[row];
  return offsets;
}

}  // namespace compress::teacher
