#include "components.h"
#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/nn/architecture.h"
#include "layer_map.h"

namespace compress::objective {

namespace {

struct AttentionOptions {
  std::string stack = "both";
  std::string layers = "uniform";
  LayerMap map;
  int64_t padded_to = 0;
  recipe::Ramp weight = 1;
  std::optional<recipe::Reference> teacher;

  static const recipe::Options<AttentionOptions>& options() {
    static const auto description =
        recipe::Options<AttentionOptions>("attention")
            .field("stack", &AttentionOptions::stack,
                   "of an encoder-decoder: whose self-attention is compared")
            .one_of({"encoder", "decoder", "both"})
            .field("layers", &AttentionOptions::layers,
                   "teacher layers that the student's layers follow, as in hidden_states")
            .one_of({"uniform", "even", "first", "last", "skip"})
            .field("map", &AttentionOptions::map,
                   "instead of `layers`: the teacher's layer for the student's layer 1, 2, ..., or "
                   "for some layers of the student alone ({4: 12}); holds for each stack")
            .at_least(1)
            .field("padded_to", &AttentionOptions::padded_to,
                   "counts rows as if padded to so many tokens with scores of 0: the mean is over "
                   "heads and padded_to^2 pairs; 0: over the pairs of a row's own tokens")
            .at_least(0)
            .field("weight", &AttentionOptions::weight, weight_doc)
            .at_least(0)
            .field("teacher", &AttentionOptions::teacher, teacher_doc);
    return description;
  }
};

class Attention final : public Objective {
 public:
  explicit Attention(const AttentionOptions& options) : options_(options) {
    weight_ = options.weight;
    named_teacher_ = options.teacher;
  }

  // Scores of the paired layers alone: those of one layer have heads * longest^2 numbers a row.
  roles::Needs needs() const override {
    roles::Needs needs;
    nn::Capture& theirs = needs.teachers[teacher()].capture;
    for (const Pair& pair : pairs_) {
      (pair.decoder ? needs.student.decoder_attention : needs.student.attention)
          .add(pair.student - 1);
      (pair.decoder ? theirs.decoder_attention : theirs.attention).add(pair.teacher - 1);
    }
    return needs;
  }

  void bind(const roles::Scene& scene) override {
    Objective::bind(scene);
    const nn::ModelConfig &student = scene.student, &teacher = *taught(scene);
    pairs_ = pair_layers({options_.stack, options_.layers, options_.map}, student, teacher, *this);
    for (const Pair& pair : pairs_) {
      const int64_t ours = pair.decoder ? student.decoder_heads : student.attention_heads,
                    theirs = pair.decoder ? teacher.decoder_heads : teacher.attention_heads;
      if (ours != theirs)
        throw Error(ErrorKind::recipe,
                    str("objective 'attention' compares head by head, but the student has ", ours,
                        " heads and the teacher ", theirs),
                    mark_.text(), "give the student the teacher's number of heads (any width)");
    }
    // The only stack of a decoder-only model sees nothing to the right either.
    causal_ = nn::architecture(student).encoder.layers == 0;
  }

  Losses compute(const Signals& signals) override {
    Losses losses;
    for (const Pair& pair : pairs_) {
      const data::Batch& batch = pair.decoder ? signals.batch.predicted() : signals.batch;
      losses.add(distance(scores(signals.student, pair.student, pair.decoder),
                          scores(*signals.teacher, pair.teacher, pair.decoder), batch,
                          causal_ || pair.decoder),
                 Unit::rows);
    }
    return losses;
  }

  std::string summary() const override { return in_words(pairs_); }

 private:
  // [B, heads, longest, longest]: without those of a prefix, whose keys come before a row's own.
  static torch::Tensor scores(const nn::Outputs& outputs, int64_t layer, bool decoder) {
    const torch::Tensor& all = (decoder ? outputs.decoder_attention : outputs.attention)
                                   .at(static_cast<size_t>(layer - 1));
    return all.narrow(3, all.size(3) - all.size(2), all.size(2));
  }

  // The distance of each row: the mean over heads and pairs of tokens that see each other.
  torch::Tensor distance(const torch::Tensor& student, const torch::Tensor& teacher,
                         const data::Batch& batch, bool causal) const {
    const torch::Tensor lengths =
        batch.offsets.narrow(0, 1, batch.rows()) - batch.offsets.narrow(0, 0, batch.rows());
    const torch::Tensor places = torch::arange(batch.longest, lengths.options());
    const torch::Tensor inside = places.unsqueeze(0).lt(lengths.unsqueeze(1));  // [B, longest]
    torch::Tensor seen = inside.unsqueeze(1).logical_and(inside.unsqueeze(2));
    if (causal) seen = seen.logical_and(places.unsqueeze(0).le(places.unsqueeze(1)));
    const torch::Tensor squares =
        (student - teacher).masked_fill(seen.logical_not().unsqueeze(1), 0).square();
    const torch::Tensor sums = squares.sum({1, 2, 3});
    const auto heads = static_cast<double>(student.size(1));
    if (options_.padded_to == 0) return sums / (seen.sum({1, 2}).to(torch::kFloat) * heads);
    check_lengths(batch);
    const auto length = static_cast<double>(options_.padded_to);
    return sums / (heads * length * length);
  }

  void check_lengths(const data::Batch& batch) const {
    for (size_t row = 0; row < batch.example_ids.size(); ++row)
      if (const int64_t length = batch.row_offsets[row + 1] - batch.row_offsets[row];
          length > options_.padded_to)
        throw Error(
            ErrorKind::data,
            str("a row of ", length, " tokens is longer than padded_to: ", options_.padded_to),
            mark_.text(), "give padded_to the data set's max_length");
  }

  AttentionOptions options_;
  std::vector<Pair> pairs_;
  bool causal_ = false;
};

}  // namespace

void add_attention(ObjectiveRegistry& registry) {
  registry.add(
      recipe::describe<AttentionOptions>(
          "objective", "attention",
          "the teacher's attention scores, layer by layer and head by head",
          "sum over pairs (m <- n) of (1/B) sum_rows (1 / (h l^2)) sum_heads sum_ij "
          "(A_S,m,ij - A_T,n,ij)^2,  A = Q K^T / sqrt(d), before mask and softmax\n"
          "layers are paired as in hidden_states",
          "Jiao et al. 2020 (TinyBERT), arXiv 1909.10351, equation 7",
          "Needs a teacher with as many heads; widths may differ. Only the paired layers' scores "
          "are kept. The mean is over the l^2 pairs of a row's own tokens (of a decoder over "
          "those that it sees), so padding does not dilute it; TinyBERT's published code counts "
          "the padding too, with scores of 0, as padded_to does (but for the queries of padding). "
          "Scores of prefixes do not count. Scores cannot be cached. Where scores "
          "are kept, attention draws its dropout for each micro-batch and process by itself, so an "
          "update that is cut otherwise has other draws."),
      [](const recipe::Component& component) {
        return std::make_unique<Attention>(component.as<AttentionOptions>());
      });
}

}  // namespace compress::objective
