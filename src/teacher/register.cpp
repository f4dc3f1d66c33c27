#include "components.h"

namespace compress::teacher {

const TeacherRegistry& teachers() {
  static const TeacherRegistry registry = [] {
    TeacherRegistry list("teacher");
    add_model(list);
    add_average(list);
    add_student(list);
    return list;
  }();
  return registry;
}

std::unique_ptr<Teacher> make(const recipe::Component& component) {
  return teachers().maker(component) ? roles::make(teachers(), component) : nullptr;
}

const TeacherOptions* model_of(const recipe::Component& component) {
  if (&component.info->options() != &TeacherOptions::options().info()) return nullptr;
  return &component.as<TeacherOptions>();
}

recipe::Component only(const TeacherOptions& options) {
  recipe::Component component;
  for (const auto& info : teachers().list())
    if (&info->options() == &TeacherOptions::options().info()) component.info = info.get();
  component.options = std::make_shared<TeacherOptions>(options);
  component.mark = options.mark;
  return component;
}

}  // namespace compress::teacher
