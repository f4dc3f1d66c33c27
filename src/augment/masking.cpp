#include <algorithm>

#include "compress/augment/augment.h"
#include "compress/base/error.h"
#include "compress/base/random.h"
#include "compress/base/strings.h"

namespace compress::augment {

namespace {

class Masking : public Augment {
 public:
  explicit Masking(const MaskingOptions& options) : options_(options) {}

  void bind(const roles::Scene& scene) override {
    detected_ = tells_changed(scene.student);
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
    vocabulary_ = std::min(tokens, rows);
    special_.assign(static_cast<size_t>(tokens), false);
    const text::SpecialIds& ids = tokenizer.special_ids();
    for (int32_t id : {ids.pad, ids.unk, ids.cls, ids.sep, ids.mask})
      if (id >= 0 && id < tokens) special_[static_cast<size_t>(id)] = true;
  }

  void apply(data::Batch& batch, uint64_t seed) const override {
    // In the kind of memory that the batch is in, so that it moves to a device without a wait.
    const auto options = batch.token_ids.options().pinned_memory(batch.token_ids.is_pinned());
    torch::Tensor ids = torch::empty(batch.token_ids.sizes(), options).copy_(batch.token_ids);
    torch::Tensor labels = torch::empty(ids.sizes(), options).fill_(-100);
    const torch::Tensor original = batch.token_ids;
    auto* id = ids.mutable_data_ptr<int64_t>();
    auto* label = labels.mutable_data_ptr<int64_t>();
    std::vector<int64_t> candidates;
    for (int64_t row = 0; row < batch.rows(); ++row) {
      const auto example = static_cast<uint64_t>(batch.example_ids[static_cast<size_t>(row)]);
      Random random(stream_seed(seed, "row", example));
      candidates.clear();
      bool any = false;
      for (int64_t t = batch.row_offsets[row]; t < batch.row_offsets[row + 1]; ++t) {
        if (special_[static_cast<size_t>(id[t])]) continue;
        candidates.push_back(t);
        if (random.uniform() >= options_.probability.value) continue;
        replace(id, label, t, random);
        any = true;
      }
      if (!any && !candidates.empty())
        replace(id, label, candidates[random.below(candidates.size())], random);
    }
    batch.token_ids = ids;
    batch.targets.token_labels = labels;
    list(label, labels.size(0), options, batch.targets);
    batch.part.labelled = -1;  // those of other processes are counted later
    if (detected_)
      batch.targets.changed = torch::empty(ids.sizes(), options).copy_(ids.ne(original));
  }

  bool fixed() const override { return options_.fixed; }

 private:
  // Whether a head says of each token if it was changed.
  static bool tells_changed(const nn::ModelConfig& config) {
    return config.head == nn::HeadKind::replaced_token ||
           std::any_of(config.more_heads.begin(), config.more_heads.end(),
                       [](const auto& head) { return head.kind == nn::HeadKind::replaced_token; });
  }

  static void list(const int64_t* label, int64_t tokens, const torch::TensorOptions& options,
                   data::Targets& targets) {
    targets.labelled.clear();
    for (int64_t t = 0; t < tokens; ++t)
      if (label[t] != -100) targets.labelled.push_back(t);
    const auto count = static_cast<int64_t>(targets.labelled.size());
    targets.token_index = torch::empty({count}, options);
    std::copy(targets.labelled.begin(), targets.labelled.end(),
              targets.token_index.mutable_data_ptr<int64_t>());
  }

  void replace(int64_t* id, int64_t* label, int64_t t, Random& random) const {
    label[t] = id[t];
    double draw = random.uniform();
    if (draw < options_.masked.value) {
      id[t] = mask_;
    } else if (draw < options_.masked.value + options_.random.value) {
      id[t] = static_cast<int64_t>(random.below(static_cast<uint64_t>(vocabulary_)));
    }
  }

  MaskingOptions options_;
  int64_t mask_ = -1, vocabulary_ = 0;
  bool detected_ = false;
  std::vector<bool> special_;
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
          .check([](const MaskingOptions& options, const recipe::Mark& mark,
                    recipe::Problems& problems) {
            if (options.masked.value + options.random.value > 1)
              problems.add(mark, "masked and random together exceed 100%");
          });
  return description;
}

std::unique_ptr<Augment> make_masking(const MaskingOptions& options) {
  return std::make_unique<Masking>(options);
}

}  // namespace compress::augment
