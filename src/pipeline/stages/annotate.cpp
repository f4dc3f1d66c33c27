// The kind of stage that labels rows with what a model says of them.

#include <algorithm>
#include <chrono>

#include "compress/base/clock.h"
#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/log.h"
#include "compress/base/strings.h"
#include "compress/data/texts.h"
#include "materials/asking.h"
#include "materials/workbench.h"
#include "recipe/configs.h"
#include "recipe/planning.h"
#include "stages/annotated.h"
#include "stages/kinds.h"

namespace compress::pipeline {

using torch::Tensor;

namespace {

constexpr const char *text_column = "text", *pair_column = "pair", *label_column = "label",
                     *score_column = "score";

struct AnnotateOptions : AskOptions {
  recipe::DataReference data;
  std::string part = "train";
  double temperature = 1;

  static const recipe::Options<AnnotateOptions>& options() {
    static const auto description = [] {
      recipe::Options<AnnotateOptions> o("annotate");
      add_model(o);
      o.field("data", &AnnotateOptions::data,
              "name of the data set with the texts; its labels do not matter")
          .required();
      o.field("part", &AnnotateOptions::part, "of the data set")
          .one_of({"train", "validation", "test"});
      o.field("temperature", &AnnotateOptions::temperature,
              "logits are divided by it before they become probabilities")
          .above(0);
      add_asking(o);
      return o;
    }();
    return description;
  }
};

class AnnotateStage : public StageKind {
 public:
  explicit AnnotateStage(const StageOptions& stage)
      : StageKind(stage), options_(stage.kind.as<AnnotateOptions>()) {}

  Leaves leaves() const override { return {.rows = true}; }
  std::vector<std::vector<std::string>> indifferent() const override {
    return {{"batch"}, {"device"}};
  }

  std::vector<std::string> columns(Configs& configs) const override {
    return columns_of(configs.model(options_.model).config,
                      configs.recipe().dataset(options_.data));
  }

  void check(const RecipeOptions& recipe, recipe::Problems& problems) const override {
    check_asking(options_, problems);
    check_part(recipe, options_.data, options_.part, problems);
    const data::DatasetOptions* data = recipe.dataset(options_.data);
    const std::vector<std::string> tasks = {"classification", "regression", "unlabelled",
                                            "language_model"};
    if (data != nullptr && std::find(tasks.begin(), tasks.end(), data->task) == tasks.end())
      problems.add(options_.data.mark,
                   "rows of the task '" + data->task + "' are no texts or pairs of texts",
                   "read the file as a data set with `task: unlabelled`");
    if (data != nullptr && data->concatenate)
      problems.add(options_.data.mark, "the rows of this data set are no rows of its file",
                   "set `concatenate: false`");
  }

  void check_models(Configs& configs) const override {
    const nn::ModelConfig& config = configs.model(options_.model).config;
    const bool score = config.head == nn::HeadKind::regression && config.outputs() == 1;
    if (!score && config.head != nn::HeadKind::classification)
      throw Error(ErrorKind::recipe,
                  str("a model with the head '", nn::head_name(config.head), "' labels no texts"),
                  options_.model.mark.text(), "name a classifier, or a regressor of one score");
    for (const std::string& name : config.labels)
      for (const char* taken : {text_column, pair_column, label_column})
        if (!score && name == taken)
          throw Error(ErrorKind::recipe,
                      "the class '" + name + "' has the name of a column that is written beside it",
                      options_.model.mark.text(), "rename the class in the model's id2label");
  }

  void plan(Planning& planning) const override {
    const int64_t rows = planning.rows(options_.data, options_.part);
    planning.line(str("annotate ", options_.data, " (", options_.part, ") with ", options_.model));
    planning.line(str("leaves        ", rows_name, ": ", with_commas(rows), " rows of ",
                      join(columns_of(planning.model(options_.model).config,
                                      planning.recipe().dataset(options_.data)),
                           ", ")));
    planning.leave_rows(stage_.name, rows);
  }

  StageResult run(Bench& bench) const override {
    const auto begin = std::chrono::steady_clock::now();
    Asked asked(bench, options_);
    StageResult result;
    result.count(asked.model());
    const data::Split& split = bench.work.split(options_.data, options_.part, asked.folder());
    const RowRange mine = share_of(split.rows(), bench.processes);
    const Tensor said = answers(asked, split, mine);
    const std::string lines =
        gather_text(rows_of(bench, asked, split, mine, said), bench.processes);
    parallel::first_only(bench.processes, [&] { write_file(bench.folder / rows_name, lines); });
    result.made = {rows_name};
    result.notes.push_back(str(with_commas(split.rows()), " rows labelled by ", options_.model));
    log::info(bench.name() + ": " + result.notes.back());
    result.seconds = seconds_since(begin);
    return result;
  }

 private:
  static std::vector<std::string> columns_of(const nn::ModelConfig& config,
                                             const data::DatasetOptions& data) {
    std::vector<std::string> names = {text_column};
    if (!data.pair.empty()) names.emplace_back(pair_column);
    if (config.head == nn::HeadKind::regression) {
      names.emplace_back(score_column);
      return names;
    }
    names.emplace_back(label_column);
    names.insert(names.end(), config.labels.begin(), config.labels.end());
    return names;
  }

  // Probabilities [rows, C], or scores [rows, 1], of the range's rows in order.
  Tensor answers(Asked& asked, const data::Split& split, RowRange range) const {
    Tensor all = torch::zeros({range.size(), asked.config().outputs()}, torch::kFloat64);
    asked.each(split, range, {},
               [&](const std::vector<int64_t>& rows, const data::Batch&, const nn::Outputs& out) {
                 all.index_copy_(0, torch::tensor(rows) - range.begin,
                                 out.logits.to(torch::kFloat64).cpu());
               });
    if (!torch::isfinite(all).all().item<bool>())
      throw Error(ErrorKind::diverged, "the model's outputs are not finite",
                  options_.model.mark.text());
    return asked.config().head == nn::HeadKind::regression
               ? all
               : soft_labels_of(all, options_.temperature);
  }

  // JSON lines of the range's rows, their texts as the file has them.
  std::string rows_of(Bench& bench, Asked& asked, const data::Split& split, RowRange range,
                      const Tensor& said) const {
    const bool score = asked.config().head == nn::HeadKind::regression;
    const data::DatasetOptions& data = bench.recipe.dataset(options_.data);
    data::TextReader reader(data, options_.part);
    data::TextRow row;
    std::string lines;
    for (int64_t i = range.begin; i < range.end;) {
      if (!reader.next(row))
        throw Error(ErrorKind::data, "the data file was changed while it was read",
                    split.file.string(), "run again when nothing writes to it");
      if (row.line != split.lines[static_cast<size_t>(i)])
        continue;  // left out, or another's share
      nn::Json json = {{text_column, row.text}};
      if (!data.pair.empty()) json[pair_column] = row.pair;
      const Tensor numbers = said[i++ - range.begin];
      if (score)
        json[score_column] = numbers[0].item<double>();
      else
        add_soft_labels(asked.config().labels, numbers, json);
      lines += json.dump() + "\n";
    }
    return lines;
  }

  static void add_soft_labels(const std::vector<std::string>& names, const Tensor& probabilities,
                              nn::Json& json) {
    const auto* p = probabilities.const_data_ptr<double>();
    const auto best = std::max_element(p, p + names.size()) - p;
    json[label_column] = names[static_cast<size_t>(best)];
    for (size_t c = 0; c < names.size(); ++c) json[names[c]] = p[c];
  }

  const AnnotateOptions& options_;
};

}  // namespace

Tensor soft_labels_of(const Tensor& logits, double temperature) {
  return at::softmax(logits / temperature, 1);
}

void add_annotate(StageRegistry& registry) {
  add_kind<AnnotateStage, AnnotateOptions>(
      registry, "annotate", "labels the rows of a data set with what a model says of them",
      "q = softmax(logits / temperature)", "He et al. 2022, arXiv 2106.06168 (annotation)",
      "It leaves `rows.jsonl`, which `train: {stage: NAME}` of a data set reads: \"text\", "
      "\"pair\" "
      "where the data set has one, the probabilities of the model's classes in columns with their "
      "names (`soft_labels: [negative, positive]`), and the most probable one in \"label\". A "
      "regressor's rows have \"text\" and \"score\". Rows that the data set leaves out are left "
      "out.");
}

}  // namespace compress::pipeline
