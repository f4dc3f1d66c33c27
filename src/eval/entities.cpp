// Entities of tagged words, as the CoNLL shared tasks count them.

#include <algorithm>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/eval/metrics.h"

namespace compress {

namespace {

struct Entity {
  size_t begin, end;
  std::string_view type;
  bool operator==(const Entity&) const = default;
};

// "B-PER": prefix 'B', type "PER"; "O": 'O' and no type.
char prefix_of(std::string_view tag) {
  return tag.empty() ? 'O' : tag[0];
}
std::string_view type_of(std::string_view tag) {
  return tag.size() > 2 ? tag.substr(2) : std::string_view();
}

std::vector<Entity> entities_of(std::span<const std::string_view> tags) {
  std::vector<Entity> entities;
  bool open = false;
  for (size_t i = 0; i < tags.size(); ++i) {
    const char prefix = prefix_of(tags[i]);
    const bool goes_on = open && prefix == 'I' && entities.back().type == type_of(tags[i]);
    if (!goes_on && prefix != 'O') entities.push_back({i, i, type_of(tags[i])});
    open = prefix != 'O';
    if (open) entities.back().end = i + 1;
  }
  return entities;
}

}  // namespace

bool are_iob_tags(std::span<const std::string> names) {
  auto fits = [](const std::string& name) {
    return name == "O" || (name.size() > 2 && (starts_with(name, "B-") || starts_with(name, "I-")));
  };
  auto begins = [](const std::string& name) { return starts_with(name, "B-"); };
  return std::all_of(names.begin(), names.end(), fits) &&
         std::any_of(names.begin(), names.end(), begins);
}

void count_entities(std::span<const std::string_view> predicted,
                    std::span<const std::string_view> labels, EntityCounts& counts) {
  if (predicted.size() != labels.size())
    throw Error(ErrorKind::internal,
                str(predicted.size(), " predicted tags for ", labels.size(), " words"));
  const std::vector<Entity> found = entities_of(predicted), given = entities_of(labels);
  counts.predicted += static_cast<int64_t>(found.size());
  counts.labelled += static_cast<int64_t>(given.size());
  counts.both += std::count_if(found.begin(), found.end(), [&](const Entity& entity) {
    return std::find(given.begin(), given.end(), entity) != given.end();
  });
}

Metric entity_score(EntityScore which, const EntityCounts& counts) {
  const auto both = static_cast<double>(counts.both);
  Metric metric{"entity_f1", 0, counts.labelled, {}};
  int64_t base = counts.labelled + counts.predicted;
  if (which == EntityScore::precision) metric.name = "entity_precision", base = counts.predicted;
  if (which == EntityScore::recall) metric.name = "entity_recall", base = counts.labelled;
  if (base == 0) {
    metric.note = "no entities: undefined, reported as 0";
    return metric;
  }
  metric.value = (which == EntityScore::f1 ? 2 : 1) * both / static_cast<double>(base);
  return metric;
}

}  // namespace compress
