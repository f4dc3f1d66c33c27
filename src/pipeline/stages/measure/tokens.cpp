// What a model says of tokens, and how often there are which.

#include <algorithm>
#include <cmath>

#include "compress/augment/augment.h"
#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/strings.h"
#include "compress/eval/evaluate.h"
#include "compress/roles/row_store.h"
#include "compress/storage/safetensors.h"
#include "stages/measure/arithmetic.h"
#include "stages/measure/measurement.h"

namespace compress::pipeline {

using torch::Tensor;

namespace {

class TokenLosses final : public Measurement {
 public:
  using Measurement::Measurement;

  void check(const nn::ModelConfig& model, data::Task task) const override {
    if (writes(model.head) && eval::can_score(model.head, task)) return;
    throw Error(ErrorKind::recipe,
                str("a model with the head '", nn::head_name(model.head),
                    "' has no losses of tokens on data set '", options_.data, "'"),
                options_.model.mark.text(),
                "token_losses needs a causal_lm and data with `task: language_model`, or a "
                "seq2seq_lm and `task: sequence_to_sequence`");
  }

  nn::Json names(const Planning&, const nn::ModelConfig&, data::Task) const override {
    return {{"loss", 0}, {"perplexity", 0}, {"tokens", 0}};
  }

  nn::Json take(Bench& bench, Asked& asked, const data::Split& split,
                StageResult& result) const override {
    std::vector<int64_t> rows, counts;
    std::vector<Tensor> parts = {torch::empty({0})};
    asked.each(
        split, share_of(split.rows(), bench.processes), {},
        [&](const std::vector<int64_t>& asked_rows, const data::Batch& batch,
            const nn::Outputs& out) {
          if (out.token_index.defined())
            parts.push_back(token_losses(
                out.token_logits, batch.targets.token_labels.index_select(0, out.token_index)));
          add_counts(batch.predicted(), batch.targets.labelled, counts);
          rows.insert(rows.end(), asked_rows.begin(), asked_rows.end());
        });
    Tensor all_rows = torch::tensor(rows, torch::kInt64),
           all_counts = torch::tensor(counts, torch::kInt64), values = torch::cat(parts);
    if (bench.processes != nullptr) {
      all_rows = bench.processes->gather_rows(all_rows);
      all_counts = bench.processes->gather_rows(all_counts);
      values = bench.processes->gather_rows(values);
    }
    const Joined joined = join_rows(all_rows, all_counts, values);
    const double mean = joined.values.to(torch::kFloat64).mean().item<double>();
    if (!std::isfinite(mean))
      throw Error(ErrorKind::diverged, "the losses of tokens are not finite, or there are none",
                  options_.model.mark.text());
    parallel::first_only(bench.processes, [&] { write_store(bench.folder / store_name, joined); });
    result.made.push_back(store_name);
    return {{"loss", mean}, {"perplexity", std::exp(mean)}, {"tokens", joined.values.numel()}};
  }

  std::string summary(const nn::Json& numbers) const override {
    return str("loss of a token ", fixed(numbers.at("loss").get<double>(), 4), ", of ",
               with_commas(numbers.at("tokens").get<int64_t>()), " tokens");
  }

 private:
  static bool writes(nn::HeadKind head) {
    return head == nn::HeadKind::causal_lm || head == nn::HeadKind::seq2seq_lm;
  }

  // Predicted tokens of each row of a batch.
  static void add_counts(const data::Batch& batch, const std::vector<int64_t>& labelled,
                         std::vector<int64_t>& counts) {
    for (size_t row = 0; row + 1 < batch.row_offsets.size(); ++row) {
      const auto first = std::lower_bound(labelled.begin(), labelled.end(), batch.row_offsets[row]);
      const auto last = std::lower_bound(first, labelled.end(), batch.row_offsets[row + 1]);
      counts.push_back(last - first);
    }
  }

  static void write_store(const std::filesystem::path& folder, const Joined& joined) {
    make_folder(folder);
    auto bytes = [](const Tensor& tensor) {
      return std::span(static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes());
    };
    storage::SafetensorsWriter writer(folder / "token_losses.safetensors",
                                      {{"losses", storage::Dtype::f32, {joined.values.size(0)}},
                                       {"offsets", storage::Dtype::i64, {joined.offsets.size(0)}}});
    writer.write("losses", bytes(joined.values));
    writer.write("offsets", bytes(joined.offsets));
    writer.commit();
  }
};

class HardTokens final : public Measurement {
 public:
  using Measurement::Measurement;

  void check(const nn::ModelConfig& model, data::Task task) const override {
    if (model.head == nn::HeadKind::masked_lm && task == data::Task::unlabelled) return;
    throw Error(ErrorKind::recipe,
                str("a model with the head '", nn::head_name(model.head),
                    "' does not say which tokens of data set '", options_.data, "' are hard"),
                options_.model.mark.text(),
                "hard_tokens needs a masked_lm and data with `task: unlabelled`");
  }

  nn::Json names(const Planning&, const nn::ModelConfig&, data::Task) const override {
    return {{"tokens", 0}, {"hard", 0}, {"share", 0}};
  }

  // The model reads the rows as they are; its special tokens are never hard.
  nn::Json take(Bench& bench, Asked& asked, const data::Split& split,
                StageResult& result) const override {
    roles::RowStore store(split.rows());
    store.add(augment::hard_tokens, torch::kInt32);
    Tensor counted = torch::zeros({2}, torch::kInt64);  // ordinary tokens, and the hard ones
    const std::vector<int32_t> special = asked.tokenizer().special_ids().markers();
    asked.each(
        split, share_of(split.rows(), bench.processes), {},
        [&](const std::vector<int64_t>& rows, const data::Batch& batch, const nn::Outputs& out) {
          Sets found = hard_tokens_of(out.token_logits, batch,
                                      options_.rule == "wrong" ? -1 : options_.above, special);
          store.put(augment::hard_tokens, rows, found.positions, found.counts);
          counted[0] += found.ordinary;
          counted[1] += found.positions.numel();
        });
    if (bench.processes != nullptr) bench.processes->sum(counted);
    store.settle(bench.processes);
    parallel::first_only(bench.processes, [&] { store.save(bench.folder / store_name); });
    result.made.push_back(store_name);
    const auto ordinary = counted[0].item<int64_t>(), hard = counted[1].item<int64_t>();
    if (hard == 0)
      throw Error(ErrorKind::diverged, "the model finds no token of the data hard",
                  options_.model.mark.text(), "use `rule: loss` with a lower `above`");
    return {{"tokens", ordinary},
            {"hard", hard},
            {"share", static_cast<double>(hard) / static_cast<double>(ordinary)}};
  }

  std::string summary(const nn::Json& numbers) const override {
    return str(with_commas(numbers.at("hard").get<int64_t>()), " of ",
               with_commas(numbers.at("tokens").get<int64_t>()), " tokens are hard");
  }
};

// The model is not asked.
class TokenCounts final : public Measurement {
 public:
  using Measurement::Measurement;

  nn::Json names(const Planning&, const nn::ModelConfig&, data::Task) const override {
    return {{"tokens", 0}, {"seen", 0}};
  }

  nn::Json take(Bench& bench, Asked& asked, const data::Split& split,
                StageResult& result) const override {
    std::vector<int64_t> counts(static_cast<size_t>(asked.tokenizer().vocabulary_size()));
    int64_t tokens = 0, seen = 0;
    for (const int32_t id : split.ids) {
      ++tokens;
      if (counts.at(static_cast<size_t>(id))++ == 0) ++seen;
    }
    parallel::first_only(bench.processes, [&] {
      const std::filesystem::path folder = bench.folder / store_name;
      make_folder(folder);
      storage::SafetensorsWriter writer(
          folder / str(augment::token_counts, ".safetensors"),
          {{"counts", storage::Dtype::i64, {static_cast<int64_t>(counts.size())}}});
      writer.write("counts", std::as_bytes(std::span(counts)));
      writer.commit();
    });
    result.made.push_back(store_name);
    return {{"tokens", tokens}, {"seen", seen}};
  }

  std::string summary(const nn::Json& numbers) const override {
    return str(with_commas(numbers.at("tokens").get<int64_t>()), " tokens, ",
               with_commas(numbers.at("seen").get<int64_t>()), " different ones");
  }
};

}  // namespace

std::unique_ptr<Measurement> losses_of_tokens(const MeasureOptions& options) {
  return std::make_unique<TokenLosses>(options);
}

std::unique_ptr<Measurement> hard_tokens(const MeasureOptions& options) {
  return std::make_unique<HardTokens>(options);
}

std::unique_ptr<Measurement> counts_of_tokens(const MeasureOptions& options) {
  return std::make_unique<TokenCounts>(options);
}

}  // namespace compress::pipeline
