#pragma once
// Role `augment`: what the model sees. Changes to a batch before the forward passes, shared by
// student and teacher.

#include <functional>
#include <memory>

#include "compress/data/batch.h"
#include "compress/recipe/options.h"
#include "compress/text/tokenizer.h"

namespace compress::augment {

class Augment {
 public:
  virtual ~Augment() = default;
  virtual void bind(const text::Tokenizer&
                        tokenizer) = 0;  // Error{recipe} when the tokenizer lacks what is needed
  // Changes `batch`, which is on the host, in place (its tensors are replaced, never written to).
  // The same seed gives the same change.
  virtual void apply(data::Batch& batch, uint64_t seed) const = 0;
};

using Maker = std::function<std::unique_ptr<Augment>(const recipe::Component&)>;
const recipe::RegistryOf<Maker>& augments();  // masking
const recipe::Registry& registry();
std::unique_ptr<Augment> make(const recipe::Component& component);

// Masked language modelling as in BERT (Devlin et al. 2019, arXiv 1810.04805, section 3.1): of all
// tokens that are not special, each is chosen with `probability`; a chosen one becomes [MASK]
// (`masked`), a random token (`random`) or stays. token_labels holds the original at chosen
// positions and -100 elsewhere. A row without a chosen token gets one.
struct MaskingOptions {
  recipe::Fraction probability{0.15};
  recipe::Fraction masked{0.8};
  recipe::Fraction random{0.1};
  static const recipe::Options<MaskingOptions>& options();
};
std::unique_ptr<Augment> make_masking(const MaskingOptions& options);

}  // namespace compress::augment
