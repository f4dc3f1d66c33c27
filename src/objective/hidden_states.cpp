#include "components.h"
#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "layer_map.h"
#include "projection.h"

namespace compress::objective {

namespace {

struct HiddenStatesOptions {
  std::string stack = "both";
  std::string layers = "uniform";
  LayerMap map;
  bool include_embeddings = false;
  std::string loss = "mse";
  std::string projection = "auto", projections = "shared";
  bool projection_bias = false;
  recipe::Ramp weight = 1;
  std::optional<recipe::Reference> teacher;

  static const recipe::Options<HiddenStatesOptions>& options() {
    static const auto description =
        recipe::Options<HiddenStatesOptions>("hidden_states")
            .field("stack", &HiddenStatesOptions::stack,
                   "of an encoder-decoder: whose states are compared")
            .one_of({"encoder", "decoder", "both"})
            .field("layers", &HiddenStatesOptions::layers,
                   "teacher layers that the student's layers follow (see the equation)")
            .one_of({"uniform", "even", "first", "last", "skip"})
            .field("map", &HiddenStatesOptions::map,
                   "instead of `layers`: the teacher's hidden state for the student's layer 1, 2, "
                   "..., or for some layers of the student alone ({6: 12}: the last of 6 and of "
                   "12); 0 is the embedding output, n the output of layer n; holds for each stack")
            .at_least(0)
            .field("include_embeddings", &HiddenStatesOptions::include_embeddings,
                   "also compares the embedding outputs (0 <- 0)")
            .field("loss", &HiddenStatesOptions::loss,
                   "mse: mean over tokens and width; cosine: 1 - cosine, mean over tokens")
            .one_of({"mse", "cosine"})
            .field("projection", &HiddenStatesOptions::projection, projection_doc)
            .one_of({"auto", "always", "never"})
            .field("projections", &HiddenStatesOptions::projections,
                   "shared: one serves all pairs of layers; each: every pair has its own")
            .one_of({"shared", "each"})
            .field("projection_bias", &HiddenStatesOptions::projection_bias,
                   "whether the map has a bias")
            .field("weight", &HiddenStatesOptions::weight, weight_doc)
            .at_least(0)
            .field("teacher", &HiddenStatesOptions::teacher, teacher_doc);
    return description;
  }
};

class HiddenStates final : public Objective {
 public:
  explicit HiddenStates(const HiddenStatesOptions& options) : options_(options) {
    weight_ = options.weight;
    named_teacher_ = options.teacher;
  }

  // The states of the layers that are paired.
  roles::Needs needs() const override {
    roles::Needs needs;
    nn::Capture& theirs = needs.teachers[teacher()].capture;
    for (const Pair& pair : pairs_) {
      (pair.decoder ? needs.student.decoder_hidden : needs.student.hidden).add(pair.student);
      (pair.decoder ? theirs.decoder_hidden : theirs.hidden).add(pair.teacher);
    }
    return needs;
  }

  void bind(const roles::Scene& scene) override {
    Objective::bind(scene);
    const nn::ModelConfig &student = scene.student, *teacher = taught(scene);
    pairs_ =
        pair_layers({options_.stack, options_.layers, options_.map, options_.include_embeddings},
                    student, *teacher, *this);
    projections_.assign(options_.projections == "each" ? pairs_.size() : 1, {});
    for (Projection& projection : projections_)
      projection.bind(options_.projection, student.hidden_size, teacher->hidden_size, scene, *this,
                      options_.projection_bias);
  }

  Losses compute(const Signals& signals) override {
    Losses losses;
    for (size_t i = 0; i < pairs_.size(); ++i) {
      const Pair& pair = pairs_[i];
      const Projection& projection = projections_[projections_.size() > 1 ? i : 0];
      losses.add(distance(projection(state_of(signals.student, pair.student, pair.decoder)),
                          state_of(*signals.teacher, pair.teacher, pair.decoder).to(torch::kFloat)),
                 pair.decoder ? Unit::predicted : Unit::tokens);
    }
    return losses;
  }

  std::string summary() const override {
    const std::string map = projections_[0].summary();
    if (map.empty()) return in_words(pairs_);
    return in_words(pairs_) + "; " + map + (projections_.size() > 1 ? " for each pair" : "");
  }

 private:
  static const torch::Tensor& state_of(const nn::Outputs& outputs, int64_t index, bool decoder) {
    return (decoder ? outputs.decoder_hidden : outputs.hidden).at(static_cast<size_t>(index));
  }

  // Losses of each token.
  torch::Tensor distance(const torch::Tensor& student, const torch::Tensor& teacher) const {
    return options_.loss == "mse" ? at::mse_loss(student, teacher, at::Reduction::None).mean(1)
                                  : 1 - at::cosine_similarity(student, teacher, -1);
  }

  HiddenStatesOptions options_;
  std::vector<Pair> pairs_;
  std::vector<Projection> projections_;  // one, or one a pair
};

}  // namespace

void add_hidden_states(ObjectiveRegistry& registry) {
  registry.add(
      recipe::describe<HiddenStatesOptions>(
          "objective", "hidden_states", "the teacher's hidden states, layer by layer",
          "sum over pairs (m <- n) of D(H_S,m W, H_T,n),  D = mse or 1 - cosine, W = projection\n"
          "with Ls student and Lt teacher layers, counted from 1:\n"
          "uniform: m <- floor(m Lt / Ls);  even: the same, where Ls divides Lt;  first: m <- m;\n"
          "last: m <- Lt - Ls + m;  skip: m <- m floor(Lt / Ls) for m < Ls",
          "Jiao et al. 2020 (TinyBERT), arXiv 1909.10351, equation 8; Sun et al. 2019 (PKD), "
          "arXiv 1908.09355, section 3.2 (last, skip)",
          "Needs a teacher; its head does not matter. mse is the mean over tokens and width, "
          "cosine the mean over tokens; the layers' terms are added. One projection, without bias "
          "unless it is asked for, "
          "serves all layers of the term, or each pair has its own; it is trained with the student "
          "and not exported. PKD compares the "
          "normalised state of the first token alone; this term compares all tokens. Of an "
          "encoder-decoder the layers of both stacks are paired, each with its own, unless `stack` "
          "names one."),
      [](const recipe::Component& component) {
        return std::make_unique<HiddenStates>(component.as<HiddenStatesOptions>());
      });
}

}  // namespace compress::objective
