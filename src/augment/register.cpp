#include "components.h"
#include "compress/augment/augment.h"
#include "compress/base/random.h"

namespace compress::augment {

const recipe::RegistryOf<Maker>& augments() {
  static const auto* registry = [] {
    auto* list = new recipe::RegistryOf<Maker>("augment");
    list->add(recipe::describe<MaskingOptions>("augment", "masking",
                                               "hides tokens that the model has to guess",
                                               "choose each ordinary token with probability p; of "
                                               "the chosen 80% -> [MASK], 10% -> random, 10% kept\n"
                                               "draw: update: ceil(p N) of the N tokens, one after "
                                               "the other, P(t) ~ count(t)^-smoothing, 0 for "
                                               "special ones",
                                               "Devlin et al. 2019, arXiv 1810.04805, section 3.1; "
                                               "Sanh et al. 2019, arXiv 1910.01108, and its code "
                                               "(draw: update)",
                                               "Needs a model with the head masked_lm."),
              [](const recipe::Component& component) {
                return make_masking(component.as<MaskingOptions>());
              });
    list->add(hidden_noise_info(), make_hidden_noise);
    list->add(
        recipe::describe<ReplacementOptions>(
            "augment", "self_replacement",
            "replaces tokens by what the model said in their place an epoch ago",
            "x~_t = a draw of softmax(z_t / T) of the last epoch at chosen places t, x_t "
            "elsewhere; "
            "label_t = x_t at chosen places",
            "SAS, AAAI 2022, arXiv 2106.07176",
            "The places of a row are drawn once, by its number; in the first epoch their tokens "
            "are drawn evenly from all tokens, where the published code draws by how often they "
            "occur. Every pass over a row draws the next epoch's tokens from the same logits as "
            "the loss. Draws at the true token stay labelled. Needs a model with the head "
            "masked_lm."),
        [](const recipe::Component& component) {
          return make_replacement(component.as<ReplacementOptions>());
        });
    return list;
  }();
  return *registry;
}

void apply_all(const Augments& list, data::Batch& batch, uint64_t seed, int64_t step) {
  for (size_t i = 0; i < list.size(); ++i)
    list[i]->apply(batch, list[i]->fixed()
                              ? stream_seed(0, "mask", 0, i)
                              : stream_seed(seed, "mask", static_cast<uint64_t>(step), i));
}

std::unique_ptr<Augment> make(const recipe::Component& component) {
  return roles::make(augments(), component);
}

}  // namespace compress::augment
