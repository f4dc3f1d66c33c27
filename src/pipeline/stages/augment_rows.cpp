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
#include "materials/workbench.h"
#include "recipe/configs.h"
#include "recipe/planning.h"
#include "stages/asking.h"
#include "stages/kinds.h"
#include "stages/replaced_words.h"

namespace compress::pipeline {

using torch::Tensor;

namespace {

constexpr int64_t most_tokens = 16384;  // in one forward pass

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

// The words that single tokens of a vocabulary are, found when they are asked for.
class Fillers {
 public:
  explicit Fillers(const text::Tokenizer& tokenizer)
      : tokenizer_(tokenizer),
        texts_(static_cast<size_t>(tokenizer.vocabulary_size())),
        front_(encoded("a")) {}

  int64_t size() const { return static_cast<int64_t>(texts_.size()); }
  // "" for a special token, one that continues a word, and one that is not read as itself.
  const std::string& text(int64_t id) {
    std::optional<std::string>& known = texts_[static_cast<size_t>(id)];
    if (!known) known = look(static_cast<int32_t>(id));
    return *known;
  }

 private:
  std::vector<int32_t> encoded(const std::string& text) const {
    return tokenizer_.encode(text, {.add_special_tokens = false}).ids;
  }
  std::string look(int32_t id) const {
    const std::vector<int32_t> markers = tokenizer_.special_ids().markers(), one = {id};
    if (std::find(markers.begin(), markers.end(), id) != markers.end()) return {};
    std::string text(trim(tokenizer_.decode(one)));
    if (text.empty()) return {};
    std::vector<int32_t> expected = front_;
    expected.push_back(id);
    return encoded("a " + text) == expected ? text : std::string();
  }

  const text::Tokenizer& tokenizer_;
  std::vector<std::optional<std::string>> texts_;
  std::vector<int32_t> front_;  // what stands before a word that is looked at
};

// How words came by their candidates.
struct Counts {
  int64_t filled = 0, near = 0, without = 0;
};

// The candidates of a text's words, all of them for the text as it is (not for one in which other
// words were replaced already).
class Candidates {
 public:
  Candidates(Asked& asked, const AugmentRowsOptions& options, int64_t max_length)
      : asked_(asked),
        options_(options),
        fillers_(asked.tokenizer()),
        mask_(asked.tokenizer().special_ids().mask),
        stop_words_(options.stop_words ? std::set<std::string>(options.stop_words->begin(),
                                                               options.stop_words->end())
                                       : english_stop_words()) {
    const nn::Architecture plan = nn::architecture(asked.config());
    how_ = {.max_length = 2 * max_length, .offsets = true};
    if (plan.positions == nn::Positions::learned)
      how_.max_length = std::min(how_.max_length, plan.position_rows - plan.position_offset);
    nn::Model& model = asked.model();
    table_ = model.params().find(plan.encoder.word + ".weight")->latent.detach().cpu();
    if (!options.vectors.empty()) near_ = read_vectors(options.vectors.name, options.vector_words);
  }

  std::vector<Choice> of(const std::string& text) {
    asked_.tokenizer().encode(text, std::string_view(text), how_, pair_);
    std::vector<Choice> choices;
    std::vector<int64_t> masked;  // the token of a word that is one
    std::vector<size_t> whose;    // its place in `choices`
    for (const Word& word : words_in(text)) {
      const std::string_view spelled =
          std::string_view(text).substr(word.begin, word.end - word.begin);
      if (!is_replaceable(spelled, stop_words_)) continue;
      const std::vector<int64_t> tokens = tokens_of(word);
      if (tokens.empty()) continue;  // it was cut off
      Choice& choice = choices.emplace_back(Choice{word, {}});
      if (tokens.size() == 1) {
        masked.push_back(tokens[0]);
        whose.push_back(choices.size() - 1);
      } else {
        choice.candidates = near(lower_ascii(spelled), tokens);
        ++(choice.candidates.empty() ? counts_.without : counts_.near);
      }
    }
    const std::vector<std::vector<std::string>> found = fill(masked);
    for (size_t i = 0; i < found.size(); ++i) {
      choices[whose[i]].candidates = found[i];
      ++(found[i].empty() ? counts_.without : counts_.filled);
    }
    return choices;
  }

  const Counts& counts() const { return counts_; }

 private:
  // The tokens of a word of the first text; none where its end was cut off.
  std::vector<int64_t> tokens_of(const Word& word) const {
    std::vector<int64_t> tokens;
    uint32_t end = 0;
    for (int64_t t = 0; t < pair_.first_length; ++t) {
      const auto at = static_cast<size_t>(t);
      if (pair_.special[at] != 0 || pair_.offsets[at].end <= word.begin ||
          pair_.offsets[at].begin >= word.end)
        continue;
      tokens.push_back(t);
      end = std::max(end, pair_.offsets[at].end);
    }
    return end >= word.end ? tokens : std::vector<int64_t>();
  }

  // The most probable words at each of the tokens, when it alone is masked in the first of two
  // equal texts.
  std::vector<std::vector<std::string>> fill(const std::vector<int64_t>& masked) {
    std::vector<std::vector<std::string>> found;
    const auto length = static_cast<int64_t>(pair_.ids.size());
    const auto all = static_cast<int64_t>(masked.size());
    const int64_t step = std::max<int64_t>(1, most_tokens / std::max<int64_t>(1, length));
    for (int64_t begin = 0; begin < all; begin += step)
      fill_some({masked.begin() + begin, masked.begin() + std::min(all, begin + step)}, found);
    return found;
  }

  void fill_some(const std::vector<int64_t>& masked, std::vector<std::vector<std::string>>& found) {
    const data::Batch batch = with_masks(masked).to(asked_.model().device());
    const Tensor logits =
        asked_.model().forward(batch, {}, {false, 0, asked_.precision()}).token_logits.cpu();
    const int64_t words = std::min(logits.size(1), fillers_.size());
    const Tensor best = std::get<1>(
        logits.narrow(1, 0, words).topk(std::min(options_.candidates, words), 1, true, true));
    const auto* id = best.const_data_ptr<int64_t>();
    for (int64_t row = 0; row < best.size(0); ++row) {
      std::vector<std::string>& list = found.emplace_back();
      for (int64_t k = 0; k < best.size(1); ++k) {
        const std::string& text = fillers_.text(id[row * best.size(1) + k]);
        if (!text.empty() && std::find(list.begin(), list.end(), text) == list.end())
          list.push_back(text);
      }
    }
  }

  data::Batch with_masks(const std::vector<int64_t>& masked) const {
    const auto length = static_cast<int64_t>(pair_.ids.size());
    data::Split split;
    split.task = data::Task::unlabelled;
    split.offsets = {0};
    std::vector<int64_t> rows, labels(masked.size() * pair_.ids.size(), -100);
    data::Targets targets;
    for (size_t i = 0; i < masked.size(); ++i) {
      const auto row = static_cast<int64_t>(i);
      rows.push_back(row);
      split.ids.append(pair_.ids);
      split.offsets.push_back(length * (row + 1));
      split.first_lengths.push_back(static_cast<int32_t>(pair_.first_length));
      split.lines.push_back(row + 1);
      targets.labelled.push_back(row * length + masked[i]);
      int32_t& token = split.ids.edit()[static_cast<size_t>(targets.labelled.back())];
      labels[static_cast<size_t>(targets.labelled.back())] = token;
      token = mask_;
    }
    data::Batch batch = data::pack(split, rows);
    targets.token_labels = torch::tensor(labels);
    targets.token_index = torch::tensor(targets.labelled);
    batch.targets = std::move(targets);
    return batch;
  }

  // The neighbours of a word of several tokens: by its own vector in the file, or by the mean of
  // its tokens' input embeddings, among the words that are one token.
  std::vector<std::string> near(const std::string& word, const std::vector<int64_t>& tokens) {
    if (!options_.vectors.empty()) {
      const Tensor vector = near_.find(word);
      return vector.defined() ? near_.nearest(vector, word, options_.candidates)
                              : std::vector<std::string>();
    }
    if (near_.size() == 0) near_ = own_words();
    std::vector<int64_t> ids;
    for (int64_t token : tokens) ids.push_back(pair_.ids[static_cast<size_t>(token)]);
    return near_.nearest(table_.index_select(0, torch::tensor(ids)).mean(0), word,
                         options_.candidates);
  }

  NearWords own_words() {
    std::vector<std::string> words;
    std::vector<int64_t> ids;
    std::set<std::string> seen;
    for (int64_t id = 0; id < std::min(fillers_.size(), table_.size(0)); ++id) {
      const std::string& text = fillers_.text(id);
      if (!only_letters(text) || !seen.insert(text).second) continue;
      words.push_back(text);
      ids.push_back(id);
    }
    return {words, table_.index_select(0, torch::tensor(ids, torch::kInt64))};
  }

  Asked& asked_;
  const AugmentRowsOptions& options_;
  Fillers fillers_;
  int32_t mask_;
  std::set<std::string> stop_words_;
  text::EncodeOptions how_;
  Tensor table_;  // of input embeddings
  NearWords near_;
  text::Encoding pair_;  // the text that is worked at, twice
  Counts counts_;
};

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
    result.census = nn::census(asked.model());
    const data::Split& split = bench.work.split(options_.data, options_.part, asked.folder());
    const data::DatasetOptions& data = bench.recipe.dataset(options_.data);
    Candidates candidates(asked, options_, data.max_length);
    const std::string lines =
        gather_text(write_rows(bench, asked, split, data, candidates), bench.processes);
    const int64_t rows = std::count(lines.begin(), lines.end(), '\n');
    parallel::first_only(bench.processes, [&] { write_file(bench.folder / rows_name, lines); });
    result.made = {rows_name};
    const Counts& counts = candidates.counts();
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
