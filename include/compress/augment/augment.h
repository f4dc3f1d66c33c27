#pragma once
// Role `augment`: what the model sees. Changes to a batch before the forward passes, shared by
// student and teacher.

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "compress/data/batch.h"
#include "compress/recipe/options.h"
#include "compress/roles/part.h"
#include "compress/text/tokenizer.h"

namespace compress::augment {

// Its bind() does nothing in a plan that reads no tokenizer. Error{recipe} when the tokenizer lacks
// what is needed, Error{model} when the embeddings do: no token beyond them is written.
class Augment : public roles::Part {
 public:
  // Changes `batch`, which is on the host, in place (its tensors are replaced, never written to).
  // The same seed gives the same change.
  virtual void apply(data::Batch& batch, uint64_t seed) const {
    (void)batch;
    (void)seed;
  }
  // A row is changed in the same way in every epoch, whatever else is in its batch: what a teacher
  // says of it can be kept.
  virtual bool fixed() const { return false; }
  // It chooses the tokens whose originals the model has to guess, in place of whatever was
  // labelled.
  virtual bool labels_tokens() const { return false; }
  // The marks that it gives to tokens (data::Targets::marks).
  virtual std::vector<std::string> marks() const { return {}; }
};

using Augments = std::vector<std::unique_ptr<Augment>>;

// What update `step` of a stage does to its batch: each of `list` in order, drawn from the stream
// "mask". Fixed ones draw the same in every step of every stage and run.
void apply_all(const Augments& list, data::Batch& batch, uint64_t seed, int64_t step);

using Maker = std::function<std::unique_ptr<Augment>(const recipe::Component&)>;
const recipe::RegistryOf<Maker>& augments();  // masking, hidden_noise, self_replacement
std::unique_ptr<Augment> make(const recipe::Component& component);

// Masked language modelling as in BERT (Devlin et al. 2019, arXiv 1810.04805, section 3.1): of all
// tokens that are not special, each is chosen with `probability`; a chosen one becomes [MASK]
// (`masked`), a random token (`random`) or stays. token_labels holds the original at chosen
// positions and -100 elsewhere. A row without a chosen token gets one. With `fixed` the draws are a
// function of the row's number in the data set alone. With `sets` the tokens are those that an
// earlier stage measured as hard, and a row without any hides none. With `predict` all every token
// of a row has its original as label, special ones too, and the chosen ones have the mark `masked`.
// With `draw` update ceil(probability * tokens) of the update's tokens, special ones counted but
// never chosen, are drawn without replacement, as DistilBERT does (Sanh et al. 2019, arXiv
// 1910.01108): with chances in proportion to count^-smoothing where `counts` names the stage that
// counted them. A row may then have no chosen token.
struct MaskingOptions {
  recipe::Fraction probability{0.15};
  recipe::Fraction masked{0.8};
  recipe::Fraction random{0.1};
  bool fixed = false;
  std::optional<recipe::StoreReference> sets;    // unset: drawn
  std::string predict = "masked";                // masked | all
  std::string draw = "each";                     // each | update
  std::optional<recipe::StoreReference> counts;  // draw: update; unset: even odds
  double smoothing = 0.7;                        // of the counts
  static const recipe::Options<MaskingOptions>& options();
};
std::unique_ptr<Augment> make_masking(const MaskingOptions& options);
// The mark of the chosen tokens where all have a label.
inline constexpr const char* masked_mark = "masked";
// How often each token is in a data set, [tokens] int64: what `measure` leaves and masking reads.
inline constexpr const char* token_counts = "token_counts";

// The values of rows that name tokens by their positions in the row, int32: what `measure` leaves
// and masking reads.
inline constexpr const char* hard_tokens = "hard_tokens";

// Replacement by the model's own words, as in SAS (AAAI 2022, arXiv 2106.07176): see its
// description.
struct ReplacementOptions {
  recipe::Fraction probability{0.15};
  double temperature = 1;
  static const recipe::Options<ReplacementOptions>& options();
};
std::unique_ptr<Augment> make_replacement(const ReplacementOptions& options);

}  // namespace compress::augment
