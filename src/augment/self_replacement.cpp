// Tokens replaced by what the model itself would have said in their place an epoch ago.

#include <algorithm>

#include "compress/augment/augment.h"
#include "compress/base/error.h"
#include "compress/base/random.h"
#include "compress/roles/row_store.h"
#include "tokens.h"

namespace compress::augment {

namespace {

using torch::Tensor;

class Replacement : public Augment {
 public:
  explicit Replacement(const ReplacementOptions& options) : options_(options) {}

  void bind(const roles::Scene& scene) override {
    if (scene.student.head != nn::HeadKind::masked_lm)
      throw Error(ErrorKind::recipe,
                  name_ +
                      " reads what the model says of hidden words, which needs the head "
                      "masked_lm",
                  mark_.text(), "set `head: masked_lm` on the model");
    if (scene.tokenizer == nullptr) return;
    words_ = Vocabulary(scene);
    seed_ = scene.seed;
    values_ = scene.values;
    // Of each chosen token of a row its position in the row, and what the model said.
    if (values_ != nullptr) values_->add(name_, torch::kInt32, {2});
  }

  void apply(data::Batch& batch, uint64_t) const override {
    Changed changed(batch, words_.detected);
    int64_t *id = changed.id(), *label = changed.label();
    roles::RowStore::Values said;
    if (values_ != nullptr) said = values_->get(name_, batch.example_ids);
    const auto* pairs = said.values.defined() ? said.values.const_data_ptr<int32_t>() : nullptr;
    for (int64_t row = 0; row < batch.rows(); ++row) {
      const int64_t begin = batch.row_offsets[row], end = batch.row_offsets[row + 1];
      const int64_t known = pairs == nullptr ? 0 : said.counts[static_cast<size_t>(row)];
      for (int64_t i = 0; i < known; ++i, pairs += 2) {
        label[begin + pairs[0]] = id[begin + pairs[0]];
        id[begin + pairs[0]] = pairs[1];
      }
      if (known == 0)
        draw(static_cast<uint64_t>(batch.example_ids[static_cast<size_t>(row)]), begin, end, id,
             label);
    }
    changed.put(batch);
  }

  bool labels_tokens() const override { return true; }

  bool before_update(const Progress& progress) override {
    step_ = static_cast<uint64_t>(progress.step);
    return false;
  }

  // One draw a chosen token, by its row and place: the same however the update is cut.
  void after_pass(const data::Batch& part, const nn::Outputs& student) override {
    const auto& labelled = part.targets.labelled;
    if (values_ == nullptr || labelled.empty() || !part.part.counts) return;
    const auto count = static_cast<int64_t>(labelled.size());
    Tensor draws = torch::empty({count, 1}), places = torch::empty({count}, torch::kInt32);
    std::vector<int64_t> rows, counts;
    int64_t at = 0;
    for (int64_t row = 0; row < part.rows(); ++row) {
      const int64_t example = part.example_ids[static_cast<size_t>(row)], first = at;
      Random random(stream_seed(seed_, "sampling", step_, static_cast<uint64_t>(example)));
      for (; at < count && labelled[static_cast<size_t>(at)] < part.row_offsets[row + 1]; ++at) {
        draws.mutable_data_ptr<float>()[at] = static_cast<float>(random.uniform());
        places.mutable_data_ptr<int32_t>()[at] =
            static_cast<int32_t>(labelled[static_cast<size_t>(at)] - part.row_offsets[row]);
      }
      rows.push_back(example);
      counts.push_back(at - first);
    }
    const Tensor& logits = student.token_logits;
    const auto move = [&](const Tensor& host) {
      return logits.is_cuda() ? host.pin_memory().to(logits.device(), true) : host;
    };
    // The first token whose cumulative probability exceeds the draw.
    const Tensor shares =
        at::softmax(logits.narrow(1, 0, words_.tokens) / options_.temperature, 1).cumsum(1);
    const Tensor words = shares.le(move(draws)).sum(1).clamp_max(words_.tokens - 1);
    values_->put(name_, rows, at::stack({move(places), words.to(torch::kInt32)}, 1), counts);
  }

  std::string unrecordable() const override { return "the model's own words are read"; }

 private:
  // Before the model said anything of a row: tokens at random in the place of some.
  void draw(uint64_t example, int64_t begin, int64_t end, int64_t* id, int64_t* label) const {
    Random random(stream_seed(seed_, "mask", example));
    std::vector<int64_t> ordinary;
    for (int64_t t = begin; t < end; ++t)
      if (!words_.special[static_cast<size_t>(id[t])]) ordinary.push_back(t);
    const auto all = static_cast<double>(ordinary.size());
    const auto wanted =
        std::min(ordinary.size(),
                 std::max<size_t>(1, static_cast<size_t>(options_.probability.value * all + 0.5)));
    for (size_t i = 0; i < wanted; ++i) {
      std::swap(ordinary[i], ordinary[i + random.below(ordinary.size() - i)]);
      const int64_t t = ordinary[i];
      label[t] = id[t];
      id[t] = static_cast<int64_t>(random.below(static_cast<uint64_t>(words_.tokens)));
    }
  }

  ReplacementOptions options_;
  Vocabulary words_;
  uint64_t seed_ = 0, step_ = 0;
  roles::RowStore* values_ = nullptr;  // null in a plan
};

}  // namespace

const recipe::Options<ReplacementOptions>& ReplacementOptions::options() {
  static const auto description =
      recipe::Options<ReplacementOptions>("self_replacement")
          .field("probability", &ReplacementOptions::probability,
                 "share of a row's ordinary tokens that are replaced, at least one")
          .range(0, 1)
          .field("temperature", &ReplacementOptions::temperature,
                 "of the model's distributions that its words are drawn from")
          .above(0);
  return description;
}

std::unique_ptr<Augment> make_replacement(const ReplacementOptions& options) {
  return std::make_unique<Replacement>(options);
}

}  // namespace compress::augment
