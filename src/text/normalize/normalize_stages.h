#pragma once
// The normalizers of tokenizer.json, one after another.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "normalize/bert_normalizer.h"
#include "normalize/charsmap.h"
#include "regex/regex.h"
#include "unicode/normal_forms.h"
#include "unicode/transform.h"

namespace compress::text {

// A text on its way through normalizers. Buffers keep their memory.
struct NormalizerState {
  Normalized text;
  uint32_t origin = 0;   // where the text starts in the user's text
  bool offsets = false;  // text.begin and text.end are kept
  Normalized next;       // scratch
  std::vector<Change> changes;
  std::vector<Match> matches;
};

class NormalizerStage {
 public:
  virtual ~NormalizerStage() = default;
  virtual void apply(NormalizerState& state) const = 0;
};
using NormalizerStages = std::vector<std::unique_ptr<const NormalizerStage>>;

std::unique_ptr<NormalizerStage> bert_stage(const NormalizerOptions& options);
std::unique_ptr<NormalizerStage> form_stage(NormalForm form);
std::unique_ptr<NormalizerStage> lowercase_stage();
std::unique_ptr<NormalizerStage> strip_accents_stage();
std::unique_ptr<NormalizerStage> strip_stage(bool left, bool right);
std::unique_ptr<NormalizerStage> replace_stage(Regex pattern, std::string content);
std::unique_ptr<NormalizerStage> prepend_stage(std::string content);
std::unique_ptr<NormalizerStage> nmt_stage();
std::unique_ptr<NormalizerStage> charsmap_stage(Charsmap map);
std::unique_ptr<NormalizerStage> byte_level_stage();

// state.text becomes the normalised `text`, which starts at byte `base` of the user's text. The
// result is well-formed UTF-8 whatever the input.
void normalize(const NormalizerStages& stages, std::string_view text, uint32_t base, bool offsets,
               NormalizerState& state);

}  // namespace compress::text
