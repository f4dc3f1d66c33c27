#include "shared/data_flags.h"

#include <CLI/CLI.hpp>
#include <set>

#include "compress/base/error.h"
#include "compress/base/place.h"
#include "compress/base/strings.h"
#include "compress/cli/commands.h"
#include "compress/data/task.h"
#include "compress/pipeline/recipe.h"

namespace compress::cli {

namespace {

// What a head can be scored on. A masked model reads texts alone.
std::string task_of(const nn::ModelConfig& config) {
  if (config.head == nn::HeadKind::masked_lm) return data::facts_of(data::Task::unlabelled).name;
  const data::TaskFacts* facts = data::task_of_head(nn::head_name(config.head));
  return facts != nullptr ? facts->name : data::facts_of(data::Task::classification).name;
}

}  // namespace

void DataFlags::add_to(CLI::App& sub, const char* format_flag) {
  CLI::Option* data =
      sub.add_option("--data", file,
                     "Data file (tsv, csv, jsonl, conll, squad, text), several as \"A + B\" "
                     "or a pattern, .gz and .zst too; - is standard input")
          ->type_name("FILE");
  CLI::Option* published =
      sub.add_option("--layout", layout,
                     "A benchmark's published form (glue/sst2); scored is its test part, or its "
                     "validation part")
          ->type_name("NAME")
          ->excludes(data);
  sub.add_option("--folder", folder, "Folder of the layout's files")->type_name("DIR");
  sub.add_option("--text", text, "Column of the text, by name or number from 0")
      ->type_name("COL")
      ->capture_default_str();
  sub.add_option("--pair", pair, "Column of the second text of a pair")->type_name("COL");
  sub.add_option("--label", label, "Column of the label or score; default: label")
      ->type_name("COL");
  sub.add_option("--target", target,
                 "Column of the text to be written (sequence_to_sequence); default: target")
      ->type_name("COL");
  sub.add_option("--answer", answer, "Column of the answer in the passage, --pair (span)")
      ->type_name("COL");
  sub.add_option("--answer-start", answer_start, "Column of its place, in characters")
      ->type_name("COL");
  sub.add_option("--choices", choices, "Comma-separated columns of second texts (multiple_choice)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("COLS");
  sub.add_option("--skip-labels", skip_labels,
                 "Comma-separated labels of rows to leave out (--skip-labels=-,-1)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("LABELS");
  sub.add_option("--label-columns", label_columns,
                 "Comma-separated columns of 0 or 1, one a class (multi_label)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("COLS");
  sub.add_option("--label-separator", label_separator,
                 "What separates the names in the label's cell (multi_label)");
  sub.add_option("--group", group,
                 "Column that the rows of one query share, for metrics that rank (map, mrr)")
      ->type_name("COL");
  sub.add_option("--positive", positive,
                 "The class that f1 is about; default: positive, 1, true, yes and the like")
      ->type_name("CLASS");
  sub.add_option("--task", task,
                 "The data's task, as in a recipe; default: what the model's head does");
  sub.add_option(format_flag, format,
                 "tsv, csv, jsonl, conll, squad or text; default: by the file's extension");
  sub.add_option("--max-length", max_length, "Tokens a row, longer rows are cut; default: 128")
      ->check(CLI::Range(3, 100000));
  sub.add_option("--max-target-length", max_target_length,
                 "The same of the text to be written; default: 128")
      ->check(CLI::Range(1, 100000));
  sub.add_option("--stride", stride,
                 "Tokens that windows of a long passage share (span); default: a third of "
                 "--max-length or less")
      ->check(CLI::Range(0, 100000));
  sub.add_flag("--concatenate", concatenate,
               "Language models: all texts in one, cut into rows of --max-length tokens");
  sub.add_option("--limit", limit, "First rows only")->check(CLI::Range(1, 1000000000));
  sub.add_flag("--no-header", no_header, "The first row is data");
  CLI::Option* from = sub.add_option("--recipe", recipe, "Takes the data set from a recipe instead")
                          ->type_name("RECIPE");
  sub.add_option("--dataset", dataset, "Its name in the recipe; default: the only one")
      ->type_name("NAME");
  sub.add_option("--split", split, "train, validation or test")
      ->check(CLI::IsMember({"train", "validation", "test"}))
      ->capture_default_str();
  from->excludes(data);
  from->excludes(published);
}

data::DatasetOptions DataFlags::chosen(const nn::ModelConfig& config) const {
  return recipe.empty() ? options(config) : from_recipe();
}

data::Split DataFlags::load(const nn::ModelConfig& config, const text::Tokenizer& tokenizer) const {
  const data::DatasetOptions set = chosen(config);
  const bool named = nn::has_classes(config.head) && data::facts_of(set).class_names;
  std::string part = recipe.empty() ? "test" : split;
  if (!layout.empty() && set.test.empty()) part = "validation";
  return with_place(positive.empty() ? recipe : "--positive", [&] {
    return data::load_split(set, part, tokenizer,
                            named ? config.labels : std::vector<std::string>{});
  });
}

int64_t DataFlags::longest_target() const {
  if (max_target_length > 0) return max_target_length;
  return recipe.empty() ? data::DatasetOptions().max_target_length
                        : from_recipe().max_target_length;
}

// Goes through the same description as a recipe's `data:` entry, so that the same rules hold.
data::DatasetOptions DataFlags::options(const nn::ModelConfig& config) const {
  const std::string chosen_task = task.empty() ? task_of(config) : task;
  recipe::Node map = recipe::Node::map();
  map.mark.path = "--data";
  auto add = [&](const char* key, const char* flag, recipe::Node value) {
    value.mark.path = flag;
    map.add(key, std::move(value));
    map.entries.back().mark.path = flag;
  };
  const bool published = !layout.empty();
  if (published) add("layout", "--layout", recipe::Node::text(layout));
  if (!folder.empty()) add("folder", "--folder", recipe::Node::text(folder));
  if (!file.empty()) add("test", "--data", recipe::Node::text(file));
  if (!published || text != DataFlags().text) add("text", "--text", recipe::Node::text(text));
  if (!published || !task.empty()) add("task", "--task", recipe::Node::text(chosen_task));
  if (!format.empty()) add("format", "--format", recipe::Node::text(format));
  if (!pair.empty()) add("pair", "--pair", recipe::Node::text(pair));
  if (!group.empty()) add("group", "--group", recipe::Node::text(group));
  if (!target.empty() || (!published && chosen_task == "sequence_to_sequence"))
    add("target", "--target", recipe::Node::text(target.empty() ? "target" : target));
  if (max_target_length > 0)
    add("max_target_length", "--max-target-length", recipe::Node::of(str(max_target_length)));
  if (concatenate) add("concatenate", "--concatenate", recipe::Node::of("true"));
  if (!answer.empty()) add("answer", "--answer", recipe::Node::text(answer));
  if (!answer_start.empty())
    add("answer_start", "--answer-start", recipe::Node::text(answer_start));
  auto add_list = [&](const char* key, const char* flag, const std::vector<std::string>& values) {
    if (values.empty()) return;
    recipe::Node list = recipe::Node::list();
    for (const std::string& value : values) list.items.push_back(recipe::Node::text(value));
    add(key, flag, std::move(list));
  };
  add_list("choices", "--choices", choices);
  add_list("skip_labels", "--skip-labels", skip_labels);
  if (!positive.empty()) add("positive", "--positive", recipe::Node::text(positive));
  add_list("label_columns", "--label-columns", label_columns);
  if (!label_separator.empty())
    add("label_separator", "--label-separator", recipe::Node::text(label_separator));
  const std::set<std::string> labelled = {
      "classification",  "regression",  "token_classification",
      "multiple_choice", "multi_label", data::facts_of(data::Task::similarity).name};
  if (!label.empty() || (!published && labelled.count(chosen_task) != 0 && label_columns.empty()))
    add("label", "--label", recipe::Node::text(label.empty() ? "label" : label));
  if (max_length > 0) add("max_length", "--max-length", recipe::Node::of(str(max_length)));
  if (stride) add("stride", "--stride", recipe::Node::of(str(*stride)));
  if (limit > 0) add("limit", "--limit", recipe::Node::of(str(limit)));
  if (no_header) add("header", "--no-header", recipe::Node::of("false"));
  data::DatasetOptions result;
  recipe::Problems problems;
  recipe::Type<data::DatasetOptions>::read(map, result, problems);
  problems.raise();
  return result;
}

data::DatasetOptions DataFlags::from_recipe() const {
  const pipeline::Recipe loaded = pipeline::load_recipe(recipe);
  std::vector<std::string> names;
  for (const auto& named : loaded.options.data) {
    names.push_back(named.name);
    bool chosen = dataset.empty() ? loaded.options.data.size() == 1 : named.name == dataset;
    if (!chosen) continue;
    data::DatasetOptions result = named.value;
    if (limit > 0) result.limit = limit;
    if (max_length > 0) result.max_length = max_length;
    if (stride) result.stride = stride;
    if (!skip_labels.empty()) result.skip_labels = skip_labels;
    if (!positive.empty()) result.positive = positive;
    return result;
  }
  if (dataset.empty())
    throw Error(ErrorKind::recipe, str("the recipe has ", names.size(), " data sets"), recipe,
                "choose one with --dataset");
  throw Error(ErrorKind::recipe, "there is no data set '" + dataset + "'", recipe,
              suggestion(dataset, names, "data sets"));
}

}  // namespace compress::cli
