#include <algorithm>
#include <iterator>
#include <map>
#include <numeric>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/recipe/options.h"
#include "layouts/layout.h"
#include "tasks/task.h"

namespace compress::data {

namespace fs = std::filesystem;

using recipe::Node;

const std::vector<PublishedLayout>& layouts() {
  static const auto* list = [] {
    auto* all = new std::vector<PublishedLayout>;
    for (const auto of :
         {glue_layouts, super_glue_layouts, single_layouts, similarity_layouts, few_shot_layouts})
      std::ranges::move(of(), std::back_inserter(*all));
    return all;
  }();
  return *list;
}

const PublishedLayout* find_layout(std::string_view name) {
  for (const PublishedLayout& layout : layouts())
    if (layout.name == name) return &layout;
  return nullptr;
}

std::vector<LayoutFacts> layout_facts() {
  std::vector<LayoutFacts> facts;
  for (const PublishedLayout& layout : layouts()) facts.push_back({layout.name, layout.summary});
  return facts;
}

namespace {

constexpr const char* parts[] = {"train", "validation", "test"};

// What belongs to a layout's own task, and not to another one that is learnt from its texts.
constexpr const char* of_its_task[] = {"label",   "labels",  "positive",  "skip_labels",
                                       "metrics", "choices", "candidate", "submission"};

template <class List>
bool holds(const List& list, std::string_view key) {
  return std::find(std::begin(list), std::end(list), key) != std::end(list);
}

// A name that begins with "_" goes on where `folder` ends, which then is more than a folder.
std::string one_file_in(const fs::path& folder, const std::string& name) {
  if (name.starts_with("=")) return name;  // a text
  if (name.starts_with("_")) {
    std::error_code failed;
    for (const char* end : {"", ".gz", ".zst"})
      if (fs::exists(folder.string() + name + end, failed)) return folder.string() + name + end;
    return folder.string() + name;
  }
  std::error_code failed;
  for (const char* end : {"", ".gz", ".zst"})
    if (fs::exists(folder / (name + end), failed)) return (folder / (name + end)).string();
  return (folder / name).string();
}

// The same for each of several files (files/contents.h).
std::string file_in(const fs::path& folder, const std::string& names) {
  std::string placed;
  for (const std::string& piece : pieces_of(names)) {
    std::string columns;
    for (const std::string& name : beside(piece))
      columns += (columns.empty() ? "" : " | ") + one_file_in(folder, name);
    placed += (placed.empty() ? "" : " + ") + columns;
  }
  return placed;
}

void place_all(Node& node, const recipe::Mark& mark, const std::string& path) {
  node.mark = mark;
  node.mark.path = path;
  for (Node& item : node.items) place_all(item, mark, path);
  for (Node::Entry& entry : node.entries) {
    entry.mark = node.mark;
    place_all(entry.value, mark, path + "." + entry.key);
  }
}

// Whether both tasks read the same scores: of pairs that are read together, or each text by itself.
bool same_labels(std::string_view one, std::string_view other) {
  auto scores = [](std::string_view name) {
    return std::ranges::any_of(tasks(), [&](const auto& kind) {
      return name == kind->facts().name && kind->targets({}) == RowTargets::values;
    });
  };
  return scores(one) && scores(other);
}

std::string text_of(const Node& map, std::string_view key) {
  const Node* found = map.find(key);
  return found != nullptr && found->kind == Node::Kind::scalar ? found->scalar : std::string();
}

}  // namespace

Node with_layout(const Node& dataset, recipe::Problems& problems) {
  const std::string name = text_of(dataset, "layout");
  if (name.empty()) return dataset;
  const Node& named = *dataset.find("layout");
  const PublishedLayout* layout = find_layout(name);
  if (layout == nullptr) {
    std::vector<std::string> names;
    for (const PublishedLayout& each : layouts()) names.push_back(each.name);
    const std::string near = nearest(name, names);
    problems.add(
        named.mark, str("unknown layout ", cited(name)),
        near.empty() ? "the layouts are " + join(names, ", ") : str("did you mean ", near, "?"));
    return dataset;
  }
  Node keys = recipe::parse_text(layout->keys, layout->name);
  place_all(keys, named.mark, dataset.mark.path);
  const std::string folder = text_of(dataset, "folder");
  const bool has_parts =
      std::ranges::any_of(parts, [&](const char* part) { return dataset.find(part) != nullptr; });
  if (folder.empty() && !has_parts)
    problems.add(named.mark, str("the layout ", name, " needs `folder`"),
                 "name the folder with its files");
  std::string own_task = text_of(keys, "task");
  if (own_task.empty()) own_task = DatasetOptions().task;
  const Node* task = dataset.find("task");
  const bool other_task =
      task != nullptr && task->scalar != own_task && !same_labels(task->scalar, own_task);
  Node full = dataset;
  for (Node::Entry& entry : keys.entries) {
    const bool is_part = holds(parts, entry.key);
    if (dataset.find(entry.key) != nullptr || (other_task && holds(of_its_task, entry.key)))
      continue;
    if (dataset.find("soft_labels") != nullptr && entry.key == "label") continue;
    if (folder.empty() && (is_part || entry.key == "submission")) continue;
    if (is_part) entry.value.scalar = file_in(folder, entry.value.scalar);
    if (entry.key == "submission")
      for (Node::Entry& inner : entry.value.entries)
        if (inner.key == "file") inner.value.scalar = file_in(folder, inner.value.scalar);
    full.entries.push_back(std::move(entry));
  }
  return full;
}

BenchmarkScore benchmark_score(const std::vector<TaskScore>& scores) {
  auto benchmark_of = [](const std::string& name) { return name.substr(0, name.find('/')); };
  std::string benchmark;
  std::map<std::string, std::vector<double>> tasks;  // means of the parts of each
  for (const TaskScore& score : scores) {
    const PublishedLayout* layout = find_layout(score.layout);
    if (layout == nullptr || layout->counts == PublishedLayout::Counts::never) continue;
    const std::string own = benchmark_of(layout->name);
    if (!benchmark.empty() && own != benchmark)
      throw Error(ErrorKind::recipe, str("scores of two benchmarks, ", benchmark, " and ", own));
    benchmark = own;
    if (score.metrics.empty()) continue;
    const double mean = std::accumulate(score.metrics.begin(), score.metrics.end(), 0.0) /
                        static_cast<double>(score.metrics.size());
    tasks[layout->part_of.empty() ? layout->name : layout->part_of].push_back(mean);
  }
  if (tasks.empty()) throw Error(ErrorKind::recipe, "no score is of a benchmark's task");
  BenchmarkScore result;
  double all = 0, without = 0;
  int64_t count = 0, kept = 0;
  for (const PublishedLayout& layout : layouts()) {
    if (benchmark_of(layout.name) != benchmark || !layout.part_of.empty() ||
        layout.counts == PublishedLayout::Counts::never)
      continue;
    const auto found = tasks.find(layout.name);
    if (found == tasks.end()) {
      result.missing.push_back(layout.name);
      continue;
    }
    const double mean = std::accumulate(found->second.begin(), found->second.end(), 0.0) /
                        static_cast<double>(found->second.size());
    all += mean;
    ++count;
    if (layout.counts == PublishedLayout::Counts::often_left_out) {
      result.left_out.push_back(layout.name);
      continue;
    }
    without += mean;
    ++kept;
  }
  result.all = all / static_cast<double>(count);
  result.without = kept > 0 ? without / static_cast<double>(kept) : 0;
  return result;
}

}  // namespace compress::data
