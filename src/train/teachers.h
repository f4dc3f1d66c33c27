#pragma once
// The teachers of a stage in an update: what each reads, and what each says of it.

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "compress/train/binding.h"

namespace compress::train {

class Teachers {
 public:
  // `repeats`: a mover asks for more than one pass, so answers are kept in an update.
  Teachers(const Job& job, Binding& binding);

  // Whether there are any, and whether the only one says what it was asked before (by_example).
  bool any() const { return !voices_.empty(); }
  bool answers_by_example() const;

  // The rows of an update: `packed` as the loader gave them (the student's, then the further
  // views), `seen` after augments, in host memory.
  void begin(const std::vector<data::Batch>& packed, const data::Batch& seen,
             const Progress& progress);
  void end() { answers_.clear(); }

  // What each teacher says of a part of the update: rows `begin` to `end` - 1 of its batch, or all
  // of it where `part` is the whole. `staged`: in a graph, which asks each time that it is played.
  using Said = std::vector<nn::Outputs>;
  Said ask(const data::Batch& part, bool whole, int64_t begin, int64_t end, bool staged);
  // Of what they said, what an objective reads; null where it reads no teacher.
  const nn::Outputs* heard(const Said& said, size_t objective) const {
    return of_objective_[objective] < 0 ? nullptr
                                        : &said[static_cast<size_t>(of_objective_[objective])];
  }

  // The splits behind further views, in the order of begin().
  static std::vector<const data::Split*> views_of(const Job& job);

 private:
  struct Voice {
    teacher::Teacher* teacher = nullptr;
    nn::Capture capture;
    teacher::View view = teacher::View::student;
    size_t packed = 0;  // of an own view: its number among the packed ones
    bool given = false;
    data::Batch rows;  // of the update, where the view is not the student's
  };
  nn::Outputs ask(const Voice& voice, const data::Batch& part, bool whole, int64_t begin,
                  int64_t end) const;

  const Job& job_;
  bool repeats_;
  std::vector<Voice> voices_;
  std::vector<int> of_objective_;    // the voice that each objective reads; -1: none
  std::map<int64_t, Said> answers_;  // in the update, by the part's first row
};

}  // namespace compress::train
