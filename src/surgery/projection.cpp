// A linear layer behind the pooled state of the embedding head.

#include "components.h"
#include "compress/base/error.h"
#include "compress/base/strings.h"

namespace compress::surgery {

namespace {

struct ProjectionOptions {
  int64_t size = 0;

  static const recipe::Options<ProjectionOptions>& options() {
    static const auto description =
        recipe::Options<ProjectionOptions>("projection")
            .field("size", &ProjectionOptions::size, "width of the embedding; 0 takes it away")
            .at_least(0)
            .required();
    return description;
  }
};

void project(const recipe::Component& component, nn::ModelState& state, Workshop&) {
  const int64_t size = component.as<ProjectionOptions>().size;
  if (size == state.config.projection)
    throw Error(ErrorKind::recipe, str("the projection is ", size, " wide already"),
                component.mark.text(), "remove it, or give another size");
  std::erase_if(state.tensors,
                [](const auto& entry) { return starts_with(entry.first, "projection."); });
  state.config.projection = size;
  state.history.push_back(size > 0 ? str("projection: ", state.config.hidden_size, " to ", size)
                                   : std::string("projection: removed"));
}

}  // namespace

void add_projection(EditRegistry& registry) {
  registry.add(
      recipe::describe<ProjectionOptions>(
          "surgery", "projection", "a linear layer behind the embedding head's pooled state",
          "e = W pool(h),  W [size, hidden_size]",
          "Reimers and Gurevych 2019, arXiv 1908.10084 (the layout of the saved model)",
          "Drawn anew with the model's initializer_range. Needs `head: embedding`. It is "
          "saved as 2_Dense, as sentence-transformers keeps it."),
      project, {.embedding_head = true});
}

}  // namespace compress::surgery
