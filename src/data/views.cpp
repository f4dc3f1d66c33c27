#include "compress/data/views.h"

#include <algorithm>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/data/mixture.h"
#include "pack.h"

namespace compress::data {

void require_same_rows(const Split& ours, const Split& theirs) {
  if (ours.mixture != nullptr) {  // whose sources have the lines
    for (size_t i = 0; i < ours.mixture->sources.size(); ++i)
      require_same_rows(*ours.mixture->sources[i].split, *theirs.mixture->sources.at(i).split);
    return;
  }
  const int64_t both = std::min(ours.texts(), theirs.texts());
  int64_t text = 0;
  while (text < both && ours.lines[text] == theirs.lines[text]) ++text;
  if (text == both && ours.texts() == theirs.texts()) return;
  // The earlier line is the one that the other split lacks.
  const bool mine =
      text == theirs.texts() || (text < ours.texts() && ours.lines[text] < theirs.lines[text]);
  const Split& has = mine ? ours : theirs;
  throw Error(ErrorKind::data,
              str("this row has tokens for ", mine ? "the student's" : "the teacher's",
                  " tokenizer alone, so that the two do not read the same rows"),
              has.place(text / has.choices), "remove the row");
}

void require_same_labels(const Split& ours, const Split& theirs) {
  if (ours.mixture != nullptr) {
    for (size_t i = 0; i < ours.mixture->sources.size(); ++i)
      require_same_labels(*ours.mixture->sources[i].split, *theirs.mixture->sources.at(i).split);
    return;
  }
  for (int64_t row = 0; row < ours.texts(); ++row) {
    const int64_t mine = labelled_tokens(ours, row), other = labelled_tokens(theirs, row);
    if (mine == other) continue;
    throw Error(ErrorKind::data,
                str("this row has ", mine, " tokens with a label for the student's tokenizer and ",
                    other, " for the teacher's"),
                ours.place(row / ours.choices), "raise max_length, so that neither cuts words off");
  }
}

Batch before_changes(const Batch& before, const Batch& now) {
  if (before.row_offsets != now.row_offsets || before.example_ids != now.example_ids)
    throw Error(ErrorKind::internal, "tokens of a batch were moved, so it has no view before that");
  Batch batch = before;
  batch.targets = now.targets;
  batch.part = now.part;
  return batch;
}

}  // namespace compress::data
