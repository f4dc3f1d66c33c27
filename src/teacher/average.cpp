// An exponential moving average of the student as its teacher.

#include "components.h"
#include "compress/base/error.h"

namespace compress::teacher {

namespace {

using torch::Tensor;

struct AverageOptions {
  recipe::Ramp decay = 0.999;
  std::string view = "student";

  static const recipe::Options<AverageOptions>& options() {
    static const auto description =
        recipe::Options<AverageOptions>("average")
            .field("decay", &AverageOptions::decay,
                   "weight of the past average; a number, or a ramp over the stage")
            .range(0, 1)
            .field("view", &AverageOptions::view, view_doc)
            .one_of({"student", "unmasked"});
    return description;
  }
};

class Average final : public Teacher {
 public:
  explicit Average(const AverageOptions& options)
      : decay_(options.decay), view_(view_of(options.view)) {}

  void bind(const roles::Scene& scene) override {
    student_ = scene.model;
    precision_ = scene.precision;
    if (student_ == nullptr) throw Error(ErrorKind::internal, "an average without its student");
  }

  // What holds the student's weights (masks, rounding) as they are now holds the average, too.
  // Constraints have changed theirs by now, and the student's weights are computed afterwards.
  bool before_update(const Progress&) override {
    copy();
    for (const Pair& pair : pairs_) {
      pair.average->transforms = pair.live->transforms;
      pair.average->input = pair.live->input;
    }
    model_->params().refresh(precision_);
    return false;
  }

  void after_update(const Progress& progress) override {
    torch::NoGradGuard no_grad;
    const double share = 1 - decay_.at(progress);
    std::vector<Tensor> averages, live;
    for (const Pair& pair : pairs_) {
      if (!pair.live->trainable) continue;
      if (pair.live->late != nullptr) pair.live->late->settle();
      averages.push_back(pair.average->latent);
      live.push_back(pair.live->latent.detach());
    }
    if (!averages.empty()) at::_foreach_lerp_(averages, live, share);
  }

  nn::Outputs signals(const data::Batch& batch, const nn::Capture& capture) override {
    torch::NoGradGuard no_grad;
    nn::Pass pass;
    pass.precision = precision_;
    return model_->forward(batch, capture, pass);
  }
  const nn::ModelConfig& config() const override { return student_->config(); }
  torch::Device device() const override { return student_->device(); }
  View view() const override { return view_; }
  // Float32, and as they are computed with where that is less precise.
  int64_t own_bytes() const override {
    return student_->params().numel() * (precision_ == nn::Precision::float32 ? 4 : 6);
  }
  std::string unrecordable() const override { return "a teacher is an average that moves"; }
  std::string summary() const override {
    return std::string("an average of the student") +
           (view_ == View::unmasked ? ", on unmasked rows" : "");
  }

  nn::TensorMap state() const override {
    nn::TensorMap state;
    if (model_)
      for (const Pair& pair : pairs_) state[pair.average->name] = pair.average->latent;
    return state;
  }
  void load_state(const nn::TensorMap& state) override {
    copy();
    torch::NoGradGuard no_grad;
    for (const Pair& pair : pairs_) {
      const auto found = state.find(pair.average->name);
      if (found == state.end() || found->second.sizes() != pair.average->latent.sizes() ||
          found->second.scalar_type() != torch::kFloat32)
        throw Error(ErrorKind::model,
                    "the saved average has no fitting tensor " + pair.average->name, {},
                    "it was saved with other options or is damaged; start the stage anew");
      pair.average->latent.copy_(found->second);
    }
  }

 private:
  struct Pair {
    nn::Parameter* average;
    const nn::Parameter* live;
  };

  // The average begins as a copy of the student, which is made when it is first needed: not in a
  // plan, where there is nothing to copy.
  void copy() {
    if (model_) return;
    nn::ModelState state = student_->state();
    for (auto& [name, tensor] : state.tensors) tensor = tensor.clone();
    model_ = nn::build(state, 0);
    model_->to(student_->device());
    model_->freeze();
    for (const nn::Parameter& live : student_->params().list()) {
      nn::Parameter* average = model_->params().find(live.name);
      if (average == nullptr)
        throw Error(ErrorKind::internal, "the student's average has no " + live.name);
      pairs_.push_back({average, &live});
    }
  }

  recipe::Ramp decay_;
  View view_;
  nn::Model* student_ = nullptr;
  nn::Precision precision_ = nn::Precision::float32;
  std::unique_ptr<nn::Model> model_;
  std::vector<Pair> pairs_;
};

}  // namespace

void add_average(TeacherRegistry& registry) {
  registry.add(
      recipe::describe<AverageOptions>(
          "teacher", "average", "an exponential moving average of the student",
          "w_T <- d w_T + (1 - d) w  after each update;  w_T = w before the first",
          "Tarvainen & Valpola 2017, arXiv 1703.01780, equation 1",
          "It has weights of its own, float32, and is not what the stage leaves (that is "
          "`averaging`). Masks and rounding that hold the student hold the average as well. It "
          "answers without dropout."),
      [](const recipe::Component& component) {
        return std::make_unique<Average>(component.as<AverageOptions>());
      });
}

}  // namespace compress::teacher
