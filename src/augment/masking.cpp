#include <algorithm>

#include "compress/augment/augment.h"
#include "compress/base/error.h"
#include "compress/base/random.h"
#include "compress/base/strings.h"
#include "compress/roles/row_store.h"
#include "tokens.h"
#include "whole_draw.h"

namespace compress::augment {

namespace {

class Masking : public Augment {
 public:
  explicit Masking(const MaskingOptions& options) : options_(options) {}

  void bind(const roles::Scene& scene) override {
    if (scene.tokenizer == nullptr) return;
    const text::Tokenizer& tokenizer = *scene.tokenizer;
    const int64_t rows = scene.embedded_tokens();
    if (tokenizer.special_ids().mask < 0)
      throw Error(ErrorKind::recipe,
                  "masking needs a tokenizer with a mask token, and this one has none");
    mask_ = tokenizer.special_ids().mask;
    const int64_t tokens = tokenizer.vocabulary_size();
    if (mask_ >= rows)
      throw Error(ErrorKind::model,
                  str("the mask token is number ", mask_, " of the tokenizer's ", tokens,
                      ", but the model's embedding has ", rows, " rows"),
                  {}, "give the embedding a row for each token: resize_vocabulary");
    words_ = Vocabulary(scene);
    if (draws_whole()) {
      processes_ = scene.processes;
      odds_ = token_odds(
          options_.counts && scene.left ? scene.left(*options_.counts) : std::filesystem::path(),
          tokens, options_.smoothing, words_.special);
    }
    if (!options_.sets || !scene.left) return;
    const std::filesystem::path folder = scene.left(*options_.sets);
    if (folder.empty()) return;
    sets_.emplace(scene.rows);
    sets_->open(folder, hard_tokens);
    const torch::Tensor kind = sets_->get(hard_tokens, {}).values;
    if (kind.scalar_type() != torch::kInt32 || kind.dim() != 1)
      throw Error(ErrorKind::model, "sets of hard tokens are lists of whole numbers", folder,
                  "run the stage that leaves them again");
  }

  void apply(data::Batch& batch, uint64_t seed) const override {
    Changed changed(batch, words_.detected);
    int64_t *id = changed.id(), *label = changed.label();
    roles::RowStore::Values sets;
    if (sets_) sets = sets_->get(hard_tokens, batch.example_ids);
    const auto* position = sets_ ? sets.values.const_data_ptr<int32_t>() : nullptr;
    std::vector<int64_t> candidates;
    if (draws_whole()) hide_drawn(batch, seed, id, label);
    for (int64_t row = 0; row < (draws_whole() ? 0 : batch.rows()); ++row) {
      const auto example = static_cast<uint64_t>(batch.example_ids[static_cast<size_t>(row)]);
      Random random(stream_seed(seed, "row", example));
      if (sets_) {
        const int64_t count = sets.counts[static_cast<size_t>(row)];
        hide(batch, row, position, count, id, label, random);
        position += count;
        continue;
      }
      candidates.clear();
      bool any = false;
      for (int64_t t = batch.row_offsets[row]; t < batch.row_offsets[row + 1]; ++t) {
        if (words_.special[static_cast<size_t>(id[t])]) continue;
        candidates.push_back(t);
        if (random.uniform() >= options_.probability.value) continue;
        replace(id, label, t, random);
        any = true;
      }
      if (!any && !candidates.empty())
        replace(id, label, candidates[random.below(candidates.size())], random);
    }
    if (predicts_all())
      changed.put_all(batch, masked_mark);
    else
      changed.put(batch);
  }

  bool fixed() const override { return options_.fixed; }
  bool labels_tokens() const override { return true; }
  std::vector<std::string> marks() const override {
    if (!predicts_all()) return {};
    return {masked_mark};
  }

 private:
  bool predicts_all() const { return options_.predict == "all"; }
  bool draws_whole() const { return options_.draw == "update"; }

  void hide_drawn(const data::Batch& batch, uint64_t seed, int64_t* id, int64_t* label) const {
    const std::vector<int64_t> chosen =
        drawn_tokens(batch, odds_, options_.probability.value, seed, processes_);
    auto next = chosen.begin();
    for (int64_t row = 0; row < batch.rows() && next != chosen.end(); ++row) {
      const auto example = static_cast<uint64_t>(batch.example_ids[static_cast<size_t>(row)]);
      Random random(stream_seed(seed, "row", example));
      for (; next != chosen.end() && *next < batch.row_offsets[row + 1]; ++next)
        replace(id, label, *next, random);
    }
  }

  // The tokens of a row that an earlier stage named, as `count` positions in it.
  void hide(const data::Batch& batch, int64_t row, const int32_t* position, int64_t count,
            int64_t* id, int64_t* label, Random& random) const {
    const int64_t begin = batch.row_offsets[row], length = batch.row_offsets[row + 1] - begin;
    for (int64_t i = 0; i < count; ++i) {
      if (position[i] < 0 || position[i] >= length)
        throw Error(
            ErrorKind::model,
            str("the set of hard tokens of row ", batch.example_ids[static_cast<size_t>(row)],
                " names token ", position[i], " of ", length),
            mark_.text(), "measure the data as this stage reads it");
      if (!words_.special[static_cast<size_t>(id[begin + position[i]])])
        replace(id, label, begin + position[i], random);
    }
  }

  void replace(int64_t* id, int64_t* label, int64_t t, Random& random) const {
    label[t] = id[t];
    double draw = random.uniform();
    if (draw < options_.masked.value) {
      id[t] = mask_;
    } else if (draw < options_.masked.value + options_.random.value) {
      id[t] = static_cast<int64_t>(random.below(static_cast<uint64_t>(words_.tokens)));
    }
  }

  MaskingOptions options_;
  int64_t mask_ = -1;
  Vocabulary words_;
  std::vector<double> odds_;  // of each token, to be drawn
  parallel::Processes* processes_ = nullptr;
  std::optional<roles::RowStore> sets_;
};

}  // namespace

const recipe::Options<MaskingOptions>& MaskingOptions::options() {
  static const auto description =
      recipe::Options<MaskingOptions>("masking")
          .field("probability", &MaskingOptions::probability, "share of the tokens that are chosen")
          .range(0, 1)
          .field("masked", &MaskingOptions::masked,
                 "share of the chosen that become the mask token")
          .range(0, 1)
          .field("random", &MaskingOptions::random,
                 "share of the chosen that become a random token")
          .range(0, 1)
          .field("fixed", &MaskingOptions::fixed,
                 "the same tokens of a row in every epoch, stage and run, drawn by its number in "
                 "the data set alone; what a teacher says of them can then be cached")
          .field("sets", &MaskingOptions::sets,
                 "an earlier stage that measured `hard_tokens` of the same data: these are chosen, "
                 "whatever `probability`")
          .field("predict", &MaskingOptions::predict,
                 "which tokens a head on tokens says something of: the chosen ones, or all of a "
                 "row, special ones too, each with its original as label; terms with `tokens: "
                 "masked` are then over the chosen ones alone")
          .one_of({"masked", "all"})
          .field("draw", &MaskingOptions::draw,
                 "each: every token for itself, and at least one of a row; update: "
                 "ceil(probability * tokens) of the whole update's, without replacement")
          .one_of({"each", "update"})
          .field("counts", &MaskingOptions::counts,
                 "draw: update: an earlier stage that measured `token_counts` with this tokenizer: "
                 "rare tokens are drawn more often")
          .field("smoothing", &MaskingOptions::smoothing,
                 "counts: a token's odds are count^-smoothing")
          .range(0, 10)
          .check([](const MaskingOptions& options, const recipe::Mark& mark,
                    recipe::Problems& problems) {
            if (options.masked.value + options.random.value > 1)
              problems.add(mark, "masked and random together exceed 100%");
            if (options.draw == "update" && (options.fixed || options.sets))
              problems.add(mark,
                           str("`draw: update` chooses tokens over the rows of an update, and `",
                               options.fixed ? "fixed" : "sets", "` for each row by itself"),
                           "leave one of them out");
            if (options.draw != "update" && options.counts)
              problems.add(mark, "`counts` are the odds of `draw: update`", "add it");
          });
  return description;
}

std::unique_ptr<Augment> make_masking(const MaskingOptions& options) {
  return std::make_unique<Masking>(options);
}

}  // namespace compress::augment
