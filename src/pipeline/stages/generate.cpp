// The kind of stage that lets a language model write rows.

#include "compress/generate/generate.h"

#include <chrono>

#include "compress/base/clock.h"
#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/log.h"
#include "compress/base/strings.h"
#include "compress/base/work_line.h"
#include "compress/data/texts.h"
#include "compress/generate/texts.h"
#include "materials/asking.h"
#include "materials/workbench.h"
#include "recipe/configs.h"
#include "recipe/planning.h"
#include "stages/kinds.h"

namespace compress::pipeline {

namespace {

constexpr const char *prompt_column = "prompt", *text_column_written = "text";

struct GenerateOptions : AskOptions {
  recipe::DataReference data;
  std::string part = "train";
  recipe::Reference prompt;
  std::optional<int64_t> count, seed;
  bool with_prompt = false;
  std::vector<std::string> stop;
  std::optional<int64_t> max_new_tokens, min_new_tokens, num_beams, no_repeat_ngram, top_k,
      sequences;
  std::optional<double> length_penalty, repetition_penalty, temperature, top_p, min_p;
  std::string early_stopping;
  std::optional<bool> sample;
  recipe::Mark mark;

  static const recipe::Options<GenerateOptions>& options();
};

void one_prompt(const GenerateOptions& o, const recipe::Mark& mark, recipe::Problems& problems) {
  if (o.data.empty() == o.prompt.empty())
    problems.add(mark, "rows are written behind the texts of a data set, or behind one prompt",
                 "give exactly one of `data` and `prompt`");
}

void add_decoding(recipe::Options<GenerateOptions>& o) {
  using O = GenerateOptions;
  o.field("max_new_tokens", &O::max_new_tokens, "tokens to write at most").at_least(1);
  o.field("min_new_tokens", &O::min_new_tokens, "no end before that many").at_least(0);
  o.field("stop", &O::stop, "a row ends where one of these texts was written");
  o.field("sample", &O::sample, "draws tokens instead of taking the best");
  o.field("temperature", &O::temperature, "scores are divided by it").above(0);
  o.field("top_k", &O::top_k, "draws from the k best; 0: from all").at_least(0);
  o.field("top_p", &O::top_p, "draws from the fewest that have this probability").range(0, 1);
  o.field("min_p", &O::min_p, "draws from those with this part of the best one's probability")
      .range(0, 1);
  o.field("num_beams", &O::num_beams, "above 1: beam search").at_least(1);
  o.field("length_penalty", &O::length_penalty, "beams score log-probability / tokens^x");
  o.field("early_stopping", &O::early_stopping,
          "beams end when enough are finished (true), when others look worse (false), when others "
          "must be worse (never)")
      .one_of({"true", "false", "never"});
  o.field("no_repeat_ngram_size", &O::no_repeat_ngram, "no n tokens in a row come twice; 0: may")
      .at_least(0);
  o.field("repetition_penalty", &O::repetition_penalty,
          "scores of tokens that are there are divided by it")
      .above(0);
  o.field("num_return_sequences", &O::sequences, "rows for each prompt").at_least(1);
}

const recipe::Options<GenerateOptions>& GenerateOptions::options() {
  static const auto description = [] {
    using O = GenerateOptions;
    recipe::Options<O> o("generate");
    add_model(o);
    o.field("data", &O::data, "data set whose texts are the prompts");
    o.field("part", &O::part, "of the data set").one_of({"train", "validation", "test"});
    o.field("prompt", &O::prompt, "instead of a data set: the one prompt");
    o.field("count", &O::count,
            "prompts in all, taken from the first one again where there are fewer; default: each "
            "once")
        .at_least(1);
    o.field("with_prompt", &O::with_prompt, "rows begin with their prompts");
    o.field("seed", &O::seed, "of the draws; default: the recipe's");
    add_decoding(o);
    add_asking(o);
    o.mark(&O::mark).check(one_prompt);
    return o;
  }();
  return description;
}

// What is given goes before what the model's folder states.
generate::Options decoding(const GenerateOptions& given, const std::filesystem::path& folder,
                           const nn::ModelConfig& config, std::vector<std::string>* stop) {
  generate::FolderOptions stated = generate::folder_options(folder, config);
  generate::Options& options = stated.options;
  auto take = [&](const auto& value, auto& option, const char* key) {
    if (!value) return;
    option = *value;
    stated.stated.erase(key);
  };
  take(given.max_new_tokens, options.max_new_tokens, "max_new_tokens");
  if (given.max_new_tokens) options.fit_positions = false;
  take(given.min_new_tokens, options.min_new_tokens, "min_new_tokens");
  take(given.num_beams, options.num_beams, "num_beams");
  take(given.length_penalty, options.length_penalty, "length_penalty");
  std::optional<generate::EarlyStopping> early;
  if (!given.early_stopping.empty()) early = generate::parse_early_stopping(given.early_stopping);
  take(early, options.early_stopping, "early_stopping");
  take(given.no_repeat_ngram, options.no_repeat_ngram, "no_repeat_ngram_size");
  take(given.repetition_penalty, options.repetition_penalty, "repetition_penalty");
  take(given.sample, options.sample, "do_sample");
  take(given.temperature, options.temperature, "temperature");
  take(given.top_k, options.top_k, "top_k");
  take(given.top_p, options.top_p, "top_p");
  take(given.min_p, options.min_p, "min_p");
  take(given.sequences, options.sequences, "num_return_sequences");
  if (!given.stop.empty()) stated.stated.erase("stop_strings");
  if (stop != nullptr) *stop = given.stop.empty() ? stated.stop : given.stop;
  try {
    return generate::resolve(stated);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::recipe) throw;
    throw Error(error.kind(), error.message(), given.mark.text(), "see its options of decoding");
  }
}

struct Prompt {
  std::string text;
  generate::Tokens ids;
};

class GenerateStage : public StageKind {
 public:
  explicit GenerateStage(const StageOptions& stage)
      : StageKind(stage), options_(stage.kind.as<GenerateOptions>()) {}

  Leaves leaves() const override { return {.rows = true}; }
  std::optional<int64_t> seed() const override { return options_.seed; }
  std::vector<std::vector<std::string>> indifferent() const override {
    return {{"batch"}, {"device"}, {"seed"}};
  }
  std::vector<std::string> columns(Configs&) const override {
    return {prompt_column, text_column_written};
  }

  void check(const RecipeOptions& recipe, recipe::Problems& problems) const override {
    check_asking(options_, problems);
    if (!options_.data.empty()) check_part(recipe, options_.data, options_.part, problems);
  }

  void check_models(Configs& configs) const override {
    try {
      generate::check(configs.model(options_.model).config);
    } catch (const Error& error) {
      throw Error(error.kind(), error.message(), options_.model.mark.text(), error.hint());
    }
  }

  void plan(Planning& planning) const override {
    const generate::Options how = decoding(options_, planning.tokenizer_folder(options_.model),
                                           planning.model(options_.model).config, nullptr);
    const int64_t prompts = options_.data.empty() ? 1 : planning.rows(options_.data, options_.part);
    check_count(how, prompts);
    warn_of_unused(how, planning);
    const int64_t rows = options_.count.value_or(prompts) * how.sequences;
    planning.line(str("generate with ", options_.model, " behind ",
                      options_.data.empty() ? "a prompt" : options_.data.name));
    planning.line(str("leaves        ", rows_name, ": at most ", with_commas(rows), " rows of ",
                      prompt_column, ", ", text_column_written));
    planning.leave_rows(stage_.name, rows);
  }

  StageResult run(Bench& bench) const override {
    const auto begin = std::chrono::steady_clock::now();
    Asked asked(bench, options_);
    StageResult result;
    result.count(asked.model());
    std::vector<std::string> stop;
    generate::Options how = decoding(options_, asked.folder(), asked.config(), &stop);
    how.stop = generate::stops_at(stop, asked.tokenizer());
    how.precision = asked.precision();
    how.seed = stage_seed(bench.recipe, stage_);
    const std::vector<Prompt> prompts = read_prompts(bench, asked, how);
    const int64_t count = options_.count.value_or(static_cast<int64_t>(prompts.size()));
    check_count(how, static_cast<int64_t>(prompts.size()));
    const RowRange mine = share_of(count, bench.processes);
    const std::string lines =
        gather_text(write_rows(bench, asked, how, prompts, mine), bench.processes);
    const int64_t rows = std::count(lines.begin(), lines.end(), '\n');
    parallel::first_only(bench.processes, [&] { write_file(bench.folder / rows_name, lines); });
    result.made = {rows_name};
    result.notes.push_back(str(with_commas(rows), " rows written, ",
                               with_commas(count * how.sequences - rows),
                               " without text left out"));
    log::info(bench.name() + ": " + result.notes.back());
    result.seconds = seconds_since(begin);
    return result;
  }

 private:
  // The same prompt has the same answer unless it is drawn.
  void check_count(const generate::Options& how, int64_t prompts) const {
    if (how.sample || options_.count.value_or(1) <= prompts) return;
    throw Error(
        ErrorKind::recipe,
        str("count is ", *options_.count, " for ", prompts, prompts == 1 ? " prompt" : " prompts",
            ", which have the same answer each time"),
        options_.mark.text(), "set `sample: true`, or leave `count` out");
  }

  // Options of a way of decoding that is not taken.
  void warn_of_unused(const generate::Options& how, Planning& planning) const {
    const auto& o = options_;
    using Given = std::pair<const char*, bool>;
    auto warn = [&](std::initializer_list<Given> given, const char* what, const char* hint) {
      std::vector<std::string> names;
      for (const auto& [name, is_given] : given)
        if (is_given) names.emplace_back(name);
      if (!names.empty()) planning.warn(o.mark, join(names, ", ") + what, hint);
    };
    if (!how.sample)
      warn({{"temperature", o.temperature.has_value()},
            {"top_k", o.top_k.has_value()},
            {"top_p", o.top_p.has_value()},
            {"min_p", o.min_p.has_value()}},
           " without effect: no token is drawn", "set `sample: true`");
    if (how.num_beams == 1)
      warn({{"length_penalty", o.length_penalty.has_value()},
            {"early_stopping", !o.early_stopping.empty()}},
           " without effect: there is one beam", "set `num_beams`");
  }

  Prompt encoded(Asked& asked, const generate::Options& how, const std::string& text,
                 const std::string& place) const {
    const text::Encoding encoding = asked.tokenizer().encode(text);
    Prompt prompt{text, {encoding.ids.begin(), encoding.ids.end()}};
    for (int64_t id : prompt.ids)
      if (id >= asked.config().vocab_size)
        throw Error(ErrorKind::data,
                    str("the prompt has the token ", id, ", but the model's embedding has ",
                        asked.config().vocab_size, " rows"),
                    place, "give the embedding a row for each token: resize_vocabulary");
    const std::string what = generate::problem(asked.config(), how, prompt.ids);
    if (!what.empty())
      throw Error(options_.data.empty() ? ErrorKind::recipe : ErrorKind::data, "the prompt " + what,
                  place, "shorten the prompt, or set max_new_tokens");
    return prompt;
  }

  std::vector<Prompt> read_prompts(Bench& bench, Asked& asked, const generate::Options& how) const {
    if (options_.data.empty())
      return {encoded(asked, how, options_.prompt, options_.prompt.mark.text())};
    const data::DatasetOptions& data = bench.recipe.dataset(options_.data);
    data::TextReader reader(data, options_.part);
    std::vector<Prompt> prompts;
    const auto most =
        static_cast<size_t>(data::part_options(data, options_.part).limit.value_or(INT64_MAX));
    for (data::TextRow row; prompts.size() < most && reader.next(row);)
      if (!trim(row.text).empty())
        prompts.push_back(encoded(asked, how, row.text, reader.place(row.line)));
    if (prompts.empty())
      throw Error(ErrorKind::data, "there is no prompt", options_.data.mark.text());
    return prompts;
  }

  // JSON lines behind the prompts of the range.
  std::string write_rows(Bench& bench, Asked& asked, generate::Options how,
                         const std::vector<Prompt>& prompts, RowRange range) const {
    torch::NoGradGuard no_grad;
    WorkLine line(bench.name() + "  rows", range.size());
    std::string lines;
    for (int64_t begin = range.begin; begin < range.end; begin += options_.batch) {
      asked.check_stop();
      const int64_t end = std::min(begin + options_.batch, range.end);
      std::vector<const Prompt*> batch;
      std::vector<generate::Tokens> ids;
      for (int64_t i = begin; i < end; ++i) {
        batch.push_back(&prompts[static_cast<size_t>(i) % prompts.size()]);
        ids.push_back(batch.back()->ids);
      }
      how.first_row = begin;
      const std::vector<generate::Sequence> found = generate::generate(asked.model(), ids, how);
      for (size_t i = 0; i < found.size(); ++i)
        lines += row_of(asked, *batch[i / static_cast<size_t>(how.sequences)], found[i]);
      line.update(end - range.begin);
    }
    return lines;
  }

  // "" where nothing was written.
  std::string row_of(Asked& asked, const Prompt& prompt, const generate::Sequence& written) const {
    const bool reads = asked.config().encoder_decoder();
    std::string text =
        generate::text_of(asked.tokenizer(), reads ? generate::Tokens{} : prompt.ids, written.ids);
    if (trim(text).empty()) return {};
    if (options_.with_prompt) text = prompt.text + text;
    const nn::Json json = {{prompt_column, prompt.text}, {text_column_written, text}};
    return json.dump(-1, ' ', false, nn::Json::error_handler_t::replace) + "\n";
  }

  const GenerateOptions& options_;
};

}  // namespace

void add_generate(StageRegistry& registry) {
  add_kind<GenerateStage, GenerateOptions>(
      registry, "generate", "lets a language model write rows", "",
      "He et al. 2022, arXiv 2106.06168 (generation)",
      "It leaves `rows.jsonl`, which `train: {stage: NAME}` of a data set reads: \"prompt\", and "
      "in "
      "\"text\" what was written behind it. Options of decoding that are left out are those of the "
      "model's generation_config.json, as in `compress generate`. A row is a function of its "
      "prompt, its number and the seed, whatever `batch` is and however many processes write. "
      "Rows in which nothing was written are left out.");
}

}  // namespace compress::pipeline
