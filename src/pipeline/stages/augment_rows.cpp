// The kind of stage that makes more rows of a data set's by replacing words.

#include <algorithm>
#include <chrono>
#include <numeric>

#include "compress/base/clock.h"
#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/log.h"
#include "compress/base/strings.h"
#include "compress/base/work_line.h"
#include "compress/data/texts.h"
#include "compress/nn/architecture.h"
#include "materials/asking.h"
#include "materials/workbench.h"
#include "recipe/configs.h"
#include "recipe/planning.h"
#include "stages/kinds.h"
#include "stages/words/word_candidates.h"

namespace compress::pipeline {

namespace {

struct AugmentRowsOptions : AskOptions {
  recipe::DataReference data;
  std::string part = "train";
  int64_t copies = 20, candidates = 15;
  double probability = 0.4;
  std::optional<std::vector<std::string>> stop_words;
  recipe::Reference vectors;
  int64_t vector_words = 100000;
  std::optional<int64_t> seed;

  static const recipe::Options<AugmentRowsOptions>& options();
};

const recipe::Options<AugmentRowsOptions>& AugmentRowsOptions::options() {
  using O = AugmentRowsOptions;
  static const auto description = [] {
    recipe::Options<O> o("augment_rows");
    add_model(o);
    o.field("data", &O::data, "name of the data set").required();
    o.field("part", &O::part, "of the data set").one_of({"train", "validation", "test"});
    o.field("copies", &O::copies, "draws a row (N_a); those that are there already are left out")
        .range(0, 1000);
    o.field("candidates", &O::candidates, "fillers or neighbours of a word (K)").range(1, 1000);
    o.field("probability", &O::probability, "of a word with candidates to be replaced (p_t)")
        .range(0, 1);
    o.field("stop_words", &O::stop_words,
            "words that are never replaced, in lower case; default: English function words");
    o.field("vectors", &O::vectors,
            "file of word vectors as GloVe's text files are: words of several tokens have their "
            "neighbours from it; default: from the model's own input embeddings");
    o.field("vector_words", &O::vector_words, "lines that are read of it").at_least(1);
    o.field("seed", &O::seed, "of the draws; default: the recipe's");
    add_asking(o);
    return o;
  }();
  return description;
}

// The columns beside the texts that a data set reads, each once.
std::vector<std::string> other_columns(const data::DatasetOptions& data) {
  std::vector<std::string> columns;
  auto add = [&](const std::string& name) {
    if (!name.empty() && name != data.text && name != data.pair &&
        std::find(columns.begin(), columns.end(), name) == columns.end())
      columns.push_back(name);
  };
  add(data.label);
  for (const std::string& name : data.soft_labels) add(name);
  for (const std::string& name : data.label_columns) add(name);
  for (const std::string& name : {data.weight, data.group, data.id}) add(name);
  return columns;
}

std::vector<std::string> all_columns(const data::DatasetOptions& data) {
  std::vector<std::string> columns = {data.text};
  if (!data.pair.empty()) columns.push_back(data.pair);
  for (std::string& name : other_columns(data)) columns.push_back(std::move(name));
  return columns;
}

class AugmentRowsStage : public StageKind {
 public:
  explicit AugmentRowsStage(const StageOptions& stage)
      : StageKind(stage), options_(stage.kind.as<AugmentRowsOptions>()) {}

  Leaves leaves() const override { return {.rows = true}; }
  std::optional<int64_t> seed() const override { return options_.seed; }
  std::vector<std::vector<std::string>> indifferent() const override {
    return {{"batch"}, {"device"}, {"seed"}, {"vectors"}};
  }
  std::vector<std::pair<std::string, std::string>> files() const override {
    if (options_.vectors.empty()) return {};
    return {{"vectors", options_.vectors.name}};
  }
  std::vector<std::string> columns(Configs& configs) const override {
    return all_columns(configs.recipe().dataset(options_.data));
  }

  void check(const RecipeOptions& recipe, recipe::Problems& problems) const override {
    check_asking(options_, problems);
    check_part(recipe, options_.data, options_.part, problems);
    if (!options_.vectors.empty() && !std::filesystem::is_regular_file(options_.vectors.name))
      problems.add(options_.vectors.mark,
                   "the file '" + options_.vectors.name + "' does not exist");
    const data::DatasetOptions* data = recipe.dataset(options_.data);
    if (data == nullptr) return;
    const std::vector<std::string> tasks = {"classification", "regression", "unlabelled"};
    if (std::find(tasks.begin(), tasks.end(), data->task) == tasks.end())
      problems.add(options_.data.mark,
                   "rows of the task '" + data->task +
                       "' are no texts or pairs of texts with "
                       "labels that hold whatever their words are",
                   "augment rows of classification, regression or unlabelled");
    for (const std::string& name : all_columns(*data))
      if (data::columns_of({name}) != std::vector<std::string>{name})
        problems.add(options_.data.mark, "the column '" + name + "' is a template",
                     "name the columns of the file themselves");
  }

  void check_models(Configs& configs) const override {
    const nn::ModelConfig& config = configs.model(options_.model).config;
    if (config.head == nn::HeadKind::masked_lm && nn::architecture(config).encoder.layers > 0 &&
        !config.encoder_decoder())
      return;
    throw Error(ErrorKind::recipe,
                str("a model with the head '", nn::head_name(config.head),
                    "' does not say what may stand in a word's place"),
                options_.model.mark.text(), "name a masked_lm");
  }

  void plan(Planning& planning) const override {
    const auto tokenizer = text::load_tokenizer(planning.tokenizer_folder(options_.model));
    if (tokenizer->special_ids().mask < 0 ||
        tokenizer->special_ids().mask >= planning.model(options_.model).config.vocab_size)
      throw Error(ErrorKind::recipe, "the model's tokenizer has no mask token",
                  options_.model.mark.text(), "name a masked_lm with one");
    const int64_t rows = planning.rows(options_.data, options_.part);
    const int64_t most = rows * (1 + options_.copies);
    planning.line(str("augment       ", options_.data, " (", options_.part, ") with ",
                      options_.model, ", neighbours from ",
                      options_.vectors.empty() ? "its input embeddings" : options_.vectors.name));
    planning.line(str("leaves        ", rows_name, ": at most ", with_commas(most), " rows of ",
                      join(all_columns(planning.recipe().dataset(options_.data)), ", ")));
    planning.leave_rows(stage_.name, most);
  }

  StageResult run(Bench& bench) const override {
    torch::NoGradGuard no_grad;
    const auto begin = std::chrono::steady_clock::now();
    Asked asked(bench, options_);
    StageResult result;
    result.count(asked.model());
    const data::Split& split = bench.work.split(options_.data, options_.part, asked.folder());
    const data::DatasetOptions& data = bench.recipe.dataset(options_.data);
    Candidates candidates(asked, {options_.candidates, options_.stop_words, options_.vectors.name,
                                  options_.vector_words, data.max_length});
    const std::string lines =
        gather_text(write_rows(bench, asked, split, data, candidates), bench.processes);
    const int64_t rows = std::count(lines.begin(), lines.end(), '\n');
    parallel::first_only(bench.processes, [&] { write_file(bench.folder / rows_name, lines); });
    result.made = {rows_name};
    const Candidates::Counts& counts = candidates.counts();
    result.notes.push_back(str(with_commas(rows), " rows of ", with_commas(split.rows()),
                               "; candidates of ", with_commas(counts.filled),
                               " words by masking, of ", with_commas(counts.near),
                               " as neighbours, none of ", with_commas(counts.without),
                               bench.processes == nullptr ? "" : " (of this process's share)"));
    log::info(bench.name() + ": " + result.notes.back());
    result.seconds = seconds_since(begin);
    return result;
  }

 private:
  // JSON lines of the rows of this process's share, each with its copies behind it.
  std::string write_rows(Bench& bench, Asked& asked, const data::Split& split,
                         const data::DatasetOptions& data, Candidates& candidates) const {
    const uint64_t seed = stage_seed(bench.recipe, stage_);
    const RowRange range = share_of(split.rows(), bench.processes);
    const std::vector<std::string> others = other_columns(data);
    data::TextReader reader(data, options_.part, others);
    data::TextRow row;
    std::string lines;
    WorkLine line(bench.name() + "  rows", range.size());
    for (int64_t i = range.begin; i < range.end;) {
      asked.check_stop();
      if (!reader.next(row))
        throw Error(ErrorKind::data, "the data file was changed while it was read",
                    split.file.string(), "run again when nothing writes to it");
      if (row.line != split.lines[static_cast<size_t>(i)])
        continue;  // left out, or another's share
      Texts texts = {row.text};
      if (!data.pair.empty()) texts.push_back(row.pair);
      std::vector<std::vector<Choice>> choices;
      for (const std::string& text : texts) choices.push_back(candidates.of(text));
      Random random(stream_seed(seed, "replaced words", static_cast<uint64_t>(i)));
      const std::vector<Texts> made =
          row_and_copies(texts, choices, options_.copies, options_.probability, random);
      for (size_t n = 0; n < made.size(); ++n) lines += json_line(data, made[n], others, row, n);
      line.update(++i - range.begin);
    }
    return lines;
  }

  static std::string json_line(const data::DatasetOptions& data, const Texts& texts,
                               const std::vector<std::string>& others, const data::TextRow& row,
                               size_t copy) {
    nn::Json json = {{data.text, texts[0]}};
    if (texts.size() > 1) json[data.pair] = texts[1];
    for (size_t i = 0; i < others.size(); ++i)
      json[others[i]] =
          others[i] == data.id && copy > 0 ? str(row.others[i], ".", copy) : row.others[i];
    return json.dump() + "\n";
  }

  const AugmentRowsOptions& options_;
};

}  // namespace

void add_augment_rows(StageRegistry& registry) {
  add_kind<AugmentRowsStage, AugmentRowsOptions>(
      registry, "augment_rows",
      "makes more rows of a data set's: copies in which a masked language model replaced words",
      "copy n of a row: each word that may be replaced becomes, when u <= p_t with u ~ U(0, 1), a "
      "random one of its candidates\n"
      "a word of one token: the K most probable tokens at [MASK], read as the pair (masked text, "
      "text)\n"
      "a word of several tokens: the K words nearest by cosine",
      "Jiao et al. 2020 (TinyBERT), arXiv 1909.10351, algorithm 1, and its published code",
      "It leaves `rows.jsonl`, which `train: {stage: NAME}` of a data set reads: each row of the "
      "data set, and behind it those of its copies that differ, in columns of the names that the "
      "data set gives them, with the row's own label. Words are runs of letters; those with "
      "digits and stop words stay, and so does everything between words. Candidates are computed "
      "once, for the text as it is. Fillers that continue a word (##ing), special tokens and "
      "repetitions are dropped; the word itself may be among them. Neighbours come from the file "
      "`vectors` (GloVe, as published), or else, which is not the paper's way, from the model's "
      "input embeddings: the mean over the word's tokens against all words that are one token. "
      "Both texts of a pair are replaced in one copy. Rows are a function of the text, the "
      "row's number and the seed: texts are asked about one by one, whatever `batch` says and "
      "however many processes work.");
}

}  // namespace compress::pipeline
