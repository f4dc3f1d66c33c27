#include <cmath>
#include <numeric>

#include "components.h"
#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/nn/pooling.h"
#include "compress/parallel/processes.h"
#include "projection.h"

namespace compress::objective {

namespace {

using torch::Tensor;

struct ContrastiveOptions {
  double temperature = 0.05;
  bool learn_temperature = false;
  int64_t bank = 0;
  std::string projection = "auto";
  recipe::Ramp weight = 1;
  std::optional<recipe::Reference> teacher;

  static const recipe::Options<ContrastiveOptions>& options() {
    static const auto description =
        recipe::Options<ContrastiveOptions>("contrastive")
            .field("temperature", &ContrastiveOptions::temperature,
                   "cosines are divided by it; where it is learnt, its first value")
            .above(0)
            .field("learn_temperature", &ContrastiveOptions::learn_temperature,
                   "1 / temperature = exp(p), and p is trained with the student")
            .field("bank", &ContrastiveOptions::bank,
                   "vectors of the teacher for earlier rows that are told apart too, newest first; "
                   "0: those of the batch alone")
            .range(0, 1 << 24)
            .field("projection", &ContrastiveOptions::projection, projection_doc)
            .one_of({"auto", "always", "never"})
            .field("weight", &ContrastiveOptions::weight, weight_doc)
            .at_least(0)
            .field("teacher", &ContrastiveOptions::teacher, teacher_doc);
    return description;
  }
};

// Numbers of the vector that stands for a row; 0 where a model has none.
int64_t pooled_width(const nn::ModelConfig& config) {
  if (config.head == nn::HeadKind::embedding && config.projection == 0)
    return config.hidden_size * static_cast<int64_t>(nn::pooling_list(config.pooling).size());
  if (config.head == nn::HeadKind::embedding) return config.projection;
  const bool of_tokens = nn::prediction(config.head).in_token_logits();
  return of_tokens ? 0 : config.hidden_size;
}

class Contrastive final : public Objective {
 public:
  explicit Contrastive(const ContrastiveOptions& options) : options_(options) {
    weight_ = options.weight;
    named_teacher_ = options.teacher;
  }

  roles::Needs needs() const override {
    roles::Needs needs = reads({.capture = {.pooled = true}});
    needs.student.pooled = true;
    return needs;
  }
  bool whole_batch() const override { return true; }
  std::string unrecordable() const override {
    return options_.bank > 0 ? "the bank of earlier rows grows" : "";
  }
  std::string summary() const override {
    return join_words({projection_.summary(),
                       options_.bank > 0 ? str("bank of ", with_commas(options_.bank)) : ""});
  }

  void bind(const roles::Scene& scene) override {
    Objective::bind(scene);
    processes_ = scene.processes;
    for (const nn::ModelConfig* config : {&scene.student, taught(scene)})
      if (pooled_width(*config) == 0)
        throw Error(ErrorKind::recipe,
                    str("objective 'contrastive' compares one vector a row, but the head of the ",
                        config == &scene.student ? "student" : "teacher", " is ",
                        nn::head_name(config->head), ", which has none"),
                    mark_.text(), "set head: embedding on the model");
    projection_.bind(options_.projection, pooled_width(scene.student), pooled_width(*taught(scene)),
                     scene, *this);
    if (!options_.learn_temperature) return;
    std::string name = "contrastive.scale";
    for (int copy = 2; scene.helpers.find(name) != nullptr; ++copy)
      name = str("contrastive.scale_", copy);
    scale_ = &scene.helpers.add(name, nn::Role::other, -1,
                                torch::full({1}, -std::log(options_.temperature)));
  }

  Losses compute(const Signals& signals) override {
    const Tensor ours = normalized(projection_(signals.student.pooled));
    const Tensor theirs = normalized(signals.teacher->pooled.to(torch::kFloat));
    int64_t before = 0;  // rows of the processes in front of this one
    batch_keys_ = gathered(theirs, signals.batch.part.counts, before);
    const Tensor keys =
        bank_.defined() ? at::cat({batch_keys_, bank_.to(ours.device())}) : batch_keys_;
    Tensor scores = ours.matmul(keys.t());
    scores = scale_ != nullptr ? scores * scale_->effective.exp() : scores / options_.temperature;
    const Tensor own =
        torch::arange(before, before + ours.size(0),
                      torch::TensorOptions().dtype(torch::kInt64).device(ours.device()))
            .clamp_max(keys.size(0) - 1);
    return {at::cross_entropy_loss(scores, own, {}, at::Reduction::None), Unit::rows};
  }

  // The update's vectors enter the bank once, however often they were compared.
  void after_update(const Progress&) override {
    if (options_.bank == 0 || !batch_keys_.defined()) return;
    const Tensor all = bank_.defined() ? at::cat({batch_keys_, bank_}) : batch_keys_;
    bank_ = all.narrow(0, 0, std::min(options_.bank, all.size(0))).contiguous();
    batch_keys_ = Tensor();
  }

  nn::TensorMap state() const override {
    return bank_.defined() ? nn::TensorMap{{"bank", bank_}} : nn::TensorMap{};
  }
  void load_state(const nn::TensorMap& state) override {
    const auto found = state.find("bank");
    bank_ = found == state.end() ? Tensor() : found->second.clone();
    if (bank_.defined() && (bank_.dim() != 2 || bank_.scalar_type() != torch::kFloat32 ||
                            bank_.size(0) > options_.bank))
      throw Error(ErrorKind::model, "the saved bank of 'contrastive' does not fit the recipe", {},
                  "it was saved with other options; start the stage anew");
  }

 private:
  static std::string join_words(const std::vector<std::string>& parts) {
    std::vector<std::string> said;
    for (const std::string& part : parts)
      if (!part.empty()) said.push_back(part);
    return join(said, "; ");
  }

  static Tensor normalized(const Tensor& vectors) {
    return vectors / vectors.norm(2, {1}, /*keepdim=*/true).clamp_min(1e-12);
  }

  // The teacher's vectors of the whole update's rows, by rank. A stand-in row is nobody's key.
  Tensor gathered(const Tensor& theirs, bool counts, int64_t& before) const {
    if (processes_ == nullptr) return theirs.detach();
    const Tensor own = theirs.detach().narrow(0, 0, counts ? theirs.size(0) : 0).contiguous();
    const std::vector<int64_t> rows = processes_->gather(own.size(0));
    before = std::accumulate(rows.begin(), rows.begin() + processes_->rank(), int64_t{0});
    return processes_->gather_rows(own, rows);
  }

  ContrastiveOptions options_;
  Projection projection_;
  nn::Parameter* scale_ = nullptr;  // logarithm of 1 / temperature, where it is learnt
  parallel::Processes* processes_ = nullptr;
  Tensor bank_;        // [n, width] float32, newest first; undefined while it is empty
  Tensor batch_keys_;  // of the update that is computed
};

}  // namespace

void add_contrastive(ObjectiveRegistry& registry) {
  registry.add(
      recipe::describe<ContrastiveOptions>(
          "objective", "contrastive", "each row's vector close to the teacher's, far from others'",
          "keys = [the teacher's vectors of the batch; of earlier batches (bank)], all of length "
          "1\n"
          "-(1/B) sum_i log softmax_j(cos(W s_i, keys_j) / temperature)_i",
          "Wu et al. 2021 (contrastive knowledge distillation), arXiv 2112.05638; a bank of "
          "earlier "
          "keys: He et al. 2020, arXiv 1911.05722",
          "Needs a teacher and, of both models, one vector a row (pooled output or embedding). "
          "Keys "
          "are the teacher's alone, so that no gradient reaches them. The bank fills from empty: "
          "the loss rises at first, and losses compare only with as many keys. Rows are compared "
          "with each other: no `accumulate`; several processes compare with the rows of all. A "
          "temperature that is learnt is not exported, nor does weight decay reach it."),
      [](const recipe::Component& component) {
        return std::make_unique<Contrastive>(component.as<ContrastiveOptions>());
      });
}

}  // namespace compress::objective
