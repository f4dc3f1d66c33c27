// The student as its own teacher: what it says of another view of the rows.

#include "components.h"
#include "compress/base/error.h"

namespace compress::teacher {

namespace {

struct StudentOptions {
  std::string view = "unmasked";

  static const recipe::Options<StudentOptions>& options() {
    static const auto description = recipe::Options<StudentOptions>("student")
                                        .field("view", &StudentOptions::view, view_doc)
                                        .one_of({"student", "unmasked"});
    return description;
  }
};

class Student final : public Teacher {
 public:
  explicit Student(const StudentOptions& options) : view_(view_of(options.view)) {}

  void bind(const roles::Scene& scene) override {
    model_ = scene.model;
    precision_ = scene.precision;
    if (model_ == nullptr) throw Error(ErrorKind::internal, "a teacher without its student");
  }

  // At the weights of the update: the mover's first pass asks, and later ones hear the same.
  nn::Outputs signals(const data::Batch& batch, const nn::Capture& capture) override {
    torch::NoGradGuard no_grad;
    nn::Pass pass;
    pass.precision = precision_;
    return model_->forward(batch, capture, pass);
  }
  const nn::ModelConfig& config() const override { return model_->config(); }
  torch::Device device() const override { return model_->device(); }
  View view() const override { return view_; }
  std::string unrecordable() const override { return "the student teaches itself"; }
  std::string summary() const override {
    return std::string("the student itself, without dropout") +
           (view_ == View::unmasked ? ", on unmasked rows" : "");
  }

 private:
  View view_;
  nn::Model* model_ = nullptr;
  nn::Precision precision_ = nn::Precision::float32;
};

}  // namespace

void add_student(TeacherRegistry& registry) {
  registry.add(
      recipe::describe<StudentOptions>(
          "teacher", "student", "the student itself, as it is in the update",
          "z_T = f(x'; w) without dropout and without gradient,  x' = the view of the rows", "",
          "No gradient flows through what it says. With `view: unmasked` it reads what "
          "masking hid, and answers at the masked places. Its pass costs a forward pass "
          "of the student."),
      [](const recipe::Component& component) {
        return std::make_unique<Student>(component.as<StudentOptions>());
      });
}

}  // namespace compress::teacher
