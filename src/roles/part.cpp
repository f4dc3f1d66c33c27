#include "compress/roles/part.h"

namespace compress::roles {

Needs& Needs::operator|=(const Needs& other) {
  student = student | other.student;
  if (!other.teacher) return *this;
  if (!teacher) {
    teacher = other.teacher;
    return *this;
  }
  // Whole logits are needed as soon as one of those that read logits needs them whole.
  const bool whole = (teacher->logits && !teacher->top_tokens) ||
                     (other.teacher->logits && !other.teacher->top_tokens);
  teacher->capture = teacher->capture | other.teacher->capture;
  teacher->logits = teacher->logits || other.teacher->logits;
  teacher->top_tokens = teacher->logits && !whole;
  return *this;
}

}  // namespace compress::roles
