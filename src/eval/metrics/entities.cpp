// Entities of tagged words, as the CoNLL shared tasks count them.

#include <algorithm>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "metrics/checks.h"

namespace compress {

namespace {

struct Entity {
  size_t begin, end;
  std::string_view type;
  bool operator==(const Entity&) const = default;
};

// What a tag says of its word: 'B', 'I', 'E', 'S' or 'O', in whatever scheme; 0 where it is no tag.
char role_of(std::string_view tag) {
  if (tag.size() > 1 && (tag[1] != '-' || tag.size() == 2)) return 0;
  switch (tag.empty() ? 0 : tag[0]) {
    case 'B':
      return 'B';
    case 'I':
    case 'M':
      return 'I';
    case 'E':
    case 'L':
      return 'E';
    case 'S':
    case 'U':
      return 'S';
    case 'O':
      return tag.size() == 1 ? 'O' : 0;
    default:
      return 0;
  }
}
std::string_view type_of(std::string_view tag) {
  return tag.size() > 2 ? tag.substr(2) : std::string_view();
}

std::vector<Entity> entities_of(std::span<const std::string_view> tags) {
  std::vector<Entity> entities;
  bool open = false;  // whether the next word may go on the last entity
  for (size_t i = 0; i < tags.size(); ++i) {
    const char role = role_of(tags[i]);
    if (role == 'O') {
      open = false;
      continue;
    }
    const bool begins =
        !open || role == 'B' || role == 'S' || entities.back().type != type_of(tags[i]);
    if (begins) entities.push_back({i, i, type_of(tags[i])});
    entities.back().end = i + 1;
    open = role == 'B' || role == 'I';
  }
  return entities;
}

}  // namespace

bool are_entity_tags(std::span<const std::string> names) {
  auto is_tag = [](const std::string& name) { return role_of(name) != 0; };
  auto typed = [](const std::string& name) { return name.size() > 2; };
  auto begins = [](const std::string& name) { return name == "B"; };
  return std::all_of(names.begin(), names.end(), is_tag) &&
         (std::any_of(names.begin(), names.end(), typed) ||
          std::any_of(names.begin(), names.end(), begins));
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
  if (which == EntityScore::precision) {
    metric.name = "entity_precision";
    base = counts.predicted;
  }
  if (which == EntityScore::recall) {
    metric.name = "entity_recall";
    base = counts.labelled;
  }
  if (base == 0) {
    metric.note = "no entities: undefined, reported as 0";
    return metric;
  }
  metric.value = (which == EntityScore::f1 ? 2 : 1) * both / static_cast<double>(base);
  return metric;
}

namespace eval {

void add_entity_metrics(MetricRegistry& registry) {
  auto add = [&](EntityScore which, auto... story) {
    add_metric(
        registry,
        {Need::entities, true,
         [which](const Predictions& p, int64_t) { return entity_score(which, *p.entities); }},
        story..., "Tjong Kim Sang and De Meulder 2003, conlleval",
        "An entity counts as found with the same words and the same type. 0 with a note "
        "without entities.");
  };
  add(EntityScore::f1, "entity_f1", "F1 of the entities that the words' tags mark",
      "2 both / (predicted + labelled)");
  add(EntityScore::precision, "entity_precision", "share of the marked entities that are right",
      "both / predicted");
  add(EntityScore::recall, "entity_recall", "share of the entities that were marked",
      "both / labelled");
}

}  // namespace eval
}  // namespace compress
