#include "materials/heads.h"

#include "compress/base/error.h"
#include "compress/base/place.h"
#include "compress/base/strings.h"
#include "compress/data/classes.h"
#include "compress/data/task.h"
#include "compress/eval/evaluate.h"
#include "compress/surgery/surgery.h"

namespace compress::pipeline {

namespace {

// The head that a task asks for; none = any.
nn::HeadKind head_of(const data::DatasetOptions& data) {
  const std::string head = data::facts_of(data).head;
  return head.empty() ? nn::HeadKind::none : nn::parse_head(head);
}

// A head that no task trains is neither trained as something else nor replaced without being asked.
void check_trained(const nn::ModelConfig& source, nn::HeadKind wanted,
                   const train::ModelOptions& options) {
  if (options.head.empty() && nn::class_of(wanted) == nn::HeadKind::classification)
    eval::check_task(source, options.from);
}

}  // namespace

bool scores_teacher(const nn::ModelConfig& teacher, const data::DatasetOptions& data,
                    const std::vector<std::string>& labels) {
  if (data.validation.empty() || teacher.head == nn::HeadKind::none ||
      teacher.head != head_of(data))
    return false;
  return !nn::has_classes(teacher.head) || data::match_classes(labels, teacher.labels);
}

namespace {

// The heads that a recipe lists, with the data's classes where they have no others.
std::vector<std::string> prepare_more_heads(nn::ModelState& state,
                                            const train::ModelOptions& options,
                                            const std::vector<std::string>& labels) {
  std::vector<nn::HeadSpec> specs;
  for (const recipe::Named<train::HeadOptions>& named : options.heads) {
    if (!nn::is_name_part(named.name))
      throw Error(ErrorKind::recipe, "a head cannot be called '" + named.name + "'",
                  named.mark.text(), "letters, digits, '_' and '-', at most 64 of them");
    nn::HeadSpec spec{.name = named.name,
                      .kind = nn::parse_head(named.value.kind),
                      .labels = named.value.labels,
                      .layers = named.value.layers};
    const bool is_there = state.config.find_head(spec.name) != nullptr;
    if (spec.labels.empty() && nn::has_classes(spec.kind) && (!is_there || !labels.empty()))
      spec.labels = labels;
    specs.push_back(std::move(spec));
  }
  const recipe::Mark& mark = options.heads.front().mark;
  return with_place(mark.text(), [&] { return nn::set_more_heads(state, std::move(specs)); });
}

}  // namespace

std::vector<std::string> prepare_head(nn::ModelState& state, const train::ModelOptions& options,
                                      const data::DatasetOptions& data,
                                      const std::vector<std::string>& labels) {
  nn::HeadKind wanted = options.head.empty() ? head_of(data) : nn::parse_head(options.head);
  if (wanted == nn::HeadKind::none && options.head.empty()) wanted = state.config.head;
  if (wanted == nn::HeadKind::masked_lm && data::reads_on(data::task_of(data)))
    throw Error(ErrorKind::recipe,
                "a masked LM that sees the whole row would learn to copy the next token",
                options.mark.text(),
                "set `task: unlabelled` on the data set and `augment: {masking: {}}` on the stage");
  check_trained(state.config, wanted, options);
  for (const recipe::Component& edit : options.surgery)
    if (surgery::traits(edit).embedding_head && wanted != nn::HeadKind::embedding)
      throw Error(ErrorKind::recipe, edit.name() + " needs a model with the embedding head",
                  edit.mark.text(), "add head: embedding to the model");
  std::vector<std::string> classes = nn::has_classes(wanted) ? labels : std::vector<std::string>{};
  // Texts without labels leave a trained head its own classes.
  if (classes.empty() && wanted == state.config.head) classes = state.config.labels;
  if (classes.empty() && nn::has_classes(wanted))
    throw Error(
        ErrorKind::recipe,
        str("the head '", nn::head_name(wanted), "' needs class names, and the data set has none"),
        options.mark.text(), "start from a model that has this head");
  std::vector<std::string> notes;
  auto note = [&](std::string text) {
    if (!text.empty()) notes.push_back(std::move(text));
  };
  with_place(options.mark.text(),
             [&] { note(nn::set_head(state, wanted, std::move(classes), options.pooling)); });
  if (!options.heads.empty())
    for (std::string& text : prepare_more_heads(state, options, labels)) note(std::move(text));
  return notes;
}

}  // namespace compress::pipeline
