#include "compress/roles/part.h"

namespace compress::roles {

Asked& Asked::operator|=(const Asked& other) {
  // Whole logits are needed as soon as one of those that read logits needs them whole.
  const bool whole = (logits && !top_tokens) || (other.logits && !other.top_tokens);
  capture = capture | other.capture;
  logits = logits || other.logits;
  top_tokens = logits && !whole;
  return *this;
}

Needs& Needs::operator|=(const Needs& other) {
  student = student | other.student;
  for (const auto& [name, asked] : other.teachers) {
    const auto [known, fresh] = teachers.try_emplace(name, asked);
    if (!fresh) known->second |= asked;
  }
  return *this;
}

}  // namespace compress::roles
