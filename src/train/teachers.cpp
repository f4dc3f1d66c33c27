#include "teachers.h"

#include "compress/base/error.h"
#include "compress/data/views.h"

namespace compress::train {

namespace {

const Given* given_as(const Job& job, const std::string& name) {
  for (const Given& given : job.given)
    if (given.name == name) return &given;
  return nullptr;
}

}  // namespace

std::vector<const data::Split*> Teachers::views_of(const Job& job) {
  std::vector<const data::Split*> views;
  for (const Given& given : job.given)
    if (given.view == teacher::View::own) views.push_back(given.rows);
  return views;
}

Teachers::Teachers(const Job& job, Binding& binding)
    : job_(job), repeats_(binding.roles().mover->repeats()) {
  std::map<std::string, int> numbers;
  size_t packed = 0;
  std::map<std::string, size_t> views;
  for (const Given& given : job.given)
    if (given.view == teacher::View::own) views[given.name] = ++packed;
  for (const auto& [name, asked] : binding.needs().teachers) {
    numbers[name] = static_cast<int>(voices_.size());
    Voice voice;
    voice.capture = asked.capture;
    if (const Given* given = given_as(job, name)) {
      voice.teacher = given->teacher;
      voice.view = given->view;
      voice.given = true;
      if (voice.view == teacher::View::own) voice.packed = views[name];
    }
    for (const auto& made : binding.roles().teachers) {
      if (made->name() != name) continue;
      voice.teacher = made.get();
      voice.view = made->view();
    }
    if (voice.teacher == nullptr)
      throw Error(ErrorKind::internal, "the teacher '" + name + "' was never made");
    if (voice.given) voice.teacher->bind(binding.scene());
    voices_.push_back(std::move(voice));
  }
  for (const auto& objective : binding.roles().objectives) {
    const auto found = numbers.find(objective->teacher());
    of_objective_.push_back(found == numbers.end() ? -1 : found->second);
  }
}

bool Teachers::answers_by_example() const {
  return voices_.size() == 1 && voices_.front().teacher->by_example();
}

void Teachers::begin(const std::vector<data::Batch>& packed, const data::Batch& seen,
                     const Progress& progress) {
  for (Voice& voice : voices_) {
    // Teachers that are made of the student are parts of the stage and have heard.
    if (voice.given) voice.teacher->before_update(progress);
    if (voice.view == teacher::View::own)
      voice.rows = packed.at(voice.packed).to(job_.device);
    else if (voice.view == teacher::View::unmasked)
      voice.rows = data::before_changes(packed.front(), seen).to(job_.device);
  }
}

nn::Outputs Teachers::ask(const Voice& voice, const data::Batch& part, bool whole, int64_t begin,
                          int64_t end) const {
  if (voice.view == teacher::View::student) return voice.teacher->signals(part, voice.capture);
  return voice.teacher->signals(whole ? voice.rows : data::slice(voice.rows, begin, end),
                                voice.capture);
}

// A pass that reads the same part again does not ask again.
Teachers::Said Teachers::ask(const data::Batch& part, bool whole, int64_t begin, int64_t end,
                             bool staged) {
  const bool kept = repeats_ && !staged;
  const auto known = kept ? answers_.find(begin) : answers_.end();
  if (known != answers_.end()) return known->second;
  Said said;
  for (const Voice& voice : voices_) said.push_back(ask(voice, part, whole, begin, end));
  if (kept) answers_[begin] = said;
  return said;
}

}  // namespace compress::train
