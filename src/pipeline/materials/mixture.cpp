#include "materials/mixture.h"

#include <algorithm>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/data/classes.h"
#include "compress/data/task.h"

namespace compress::pipeline {

data::MixtureShares shares_of(const train::MixOptions& options) {
  data::MixtureShares shares{{}, options.temperature, options.cap, options.epoch};
  for (const auto& source : options.mix) shares.weights.push_back(source.value);
  return shares;
}

void check_mixture(const train::TrainingData& data, const RecipeOptions& recipe,
                   recipe::Problems& problems) {
  const data::DatasetOptions* scored = recipe.dataset(data);
  for (const recipe::DataReference& name : data.sources()) {
    const data::DatasetOptions* source = recipe.dataset(name);
    if (source == nullptr || scored == nullptr) continue;  // told as a reference
    if (source->train.empty())
      problems.add(name.mark, "data set '" + name.name + "' has no training part");
    if (source->task != scored->task)
      problems.add(name.mark,
                   str("the mixture has data for ", scored->task, " and for ", source->task),
                   "one head is trained on all rows: give them one task");
    if (source->choices.size() != scored->choices.size())
      problems.add(name.mark, "the data sets of a mixture have different numbers of choices");
  }
}

void check_mixed_classes(const train::TrainingData& data,
                         const std::vector<std::string>& scored_classes,
                         const recipe::DataReference& name,
                         const std::vector<std::string>& classes) {
  if (data::match_classes(classes, scored_classes)) return;
  throw Error(ErrorKind::data,
              str("the classes of a mixture differ: '", data.name, "' has {",
                  data::class_list(scored_classes), "}, '", name.name, "' has {",
                  data::class_list(classes), "}"),
              name.mark.text(), "one head is trained on all rows; classes are matched by name");
}

void check_marks(const train::TrainingData& data, const Recipe& recipe,
                 const train::Binding& binding) {
  std::vector<std::string> known;
  for (const recipe::DataReference& name : data.sources())
    for (std::string& mark : data::marks_of(recipe.dataset(name))) known.push_back(std::move(mark));
  for (const auto& augment : *binding.roles().augments)
    for (std::string& mark : augment->marks()) known.push_back(std::move(mark));
  for (const auto& objective : binding.roles().objectives) {
    const std::string mark = objective->needs().mark;
    if (mark.empty() || std::find(known.begin(), known.end(), mark) != known.end()) continue;
    throw Error(ErrorKind::recipe, str("no row of the data has tokens with the mark '", mark, "'"),
                objective->mark().text(),
                known.empty() ? "a language model's data has the mark `answer` with `target`"
                              : "the marks are " + join(known, ", "));
  }
}

std::string mixture_text(const std::vector<std::string>& names, const std::vector<int64_t>& counts,
                         const std::vector<int64_t>& sizes) {
  std::vector<std::string> parts;
  for (size_t i = 0; i < names.size(); ++i)
    parts.push_back(
        str(with_commas(counts[i]), " of ", names[i], " (", with_commas(sizes[i]), " rows)"));
  return "an epoch has " + join(parts, ", ");
}

std::string mixture_text(const data::Split& split) {
  std::vector<std::string> names;
  std::vector<int64_t> counts, sizes;
  for (const data::Mixture::Source& source : split.mixture->sources) {
    names.push_back(source.name);
    counts.push_back(source.epoch_rows);
    sizes.push_back(source.split->rows());
  }
  return mixture_text(names, counts, sizes);
}

}  // namespace compress::pipeline
