// Puts what is attached into the weights, where that can be.

#include "components.h"
#include "compress/base/place.h"
#include "compress/base/strings.h"
#include "compress/nn/attachment.h"

namespace compress::surgery {

namespace {

struct MergeOptions {
  std::vector<std::string> names;

  static const recipe::Options<MergeOptions>& options() {
    static const auto description =
        recipe::Options<MergeOptions>("merge")
            .field("names", &MergeOptions::names, "of attachments; default: all that there are")
            .shorthand("names");
    return description;
  }
};

void merge_edit(const recipe::Component& component, nn::ModelState& state, Workshop&) {
  std::vector<std::string> names = component.as<MergeOptions>().names;
  if (names.empty())
    for (const nn::AttachmentSpec& spec : state.config.attachments) names.push_back(spec.name);
  with_place(component.mark.text(), [&] {
    if (names.empty()) refuse("the model has nothing attached that could be merged");
    for (const std::string& name : names) nn::merge(state, name);
  });
  state.history.push_back("merge: " + join(names, ", "));
}

}  // namespace

void add_merge(EditRegistry& registry) {
  registry.add(recipe::describe<MergeOptions>(
                   "surgery", "merge", "puts attachments into the weights that they stand beside",
                   "W <- W + alpha / rank * B A", "Hu et al. 2021, arXiv 2106.09685, section 4.1",
                   "Low-rank additions can be merged; adapters and prefixes are refused, as no "
                   "weight computes what they do. It comes before the other edits of a stage."),
               merge_edit);
}

}  // namespace compress::surgery
