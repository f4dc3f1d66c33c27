// `compress generate`: lets a model write.

#include "compress/generate/generate.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>

#include "compress/base/clock.h"
#include "compress/base/error.h"
#include "compress/base/log.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"
#include "compress/checkpoint/vocabulary.h"
#include "compress/cli/commands.h"
#include "compress/export/export.h"
#include "compress/generate/texts.h"
#include "compress/nn/packed.h"
#include "compress/train/train.h"
#include "shared/lines.h"

namespace compress::cli {

namespace {

struct GenerateFlags {
  std::string model, file;
  std::vector<std::string> prompts, stop;
  std::optional<int64_t> max_new_tokens, min_new_tokens, num_beams, no_repeat_ngram, top_k,
      sequences;
  std::optional<double> length_penalty, repetition_penalty, temperature, top_p, min_p;
  std::optional<std::string> early_stopping;
  std::optional<bool> sample;
  uint64_t seed = 0;
  int64_t batch = 8;
  std::string precision = "float32", device = "auto";
  bool json = false, quiet = false;
};

struct Prompt {
  std::string text, where;
  generate::Tokens ids;
};

// Texts of the command line, or lines.
class Prompts {
 public:
  explicit Prompts(const GenerateFlags& flags) : given_(flags.prompts) {
    if (given_.empty())
      lines_.emplace(flags.file.empty() ? std::vector<std::string>{}
                                        : std::vector<std::string>{flags.file});
  }
  bool next(Prompt& prompt) {
    if (lines_ ? !lines_->next(prompt.text) : at_ == given_.size()) return false;
    if (!lines_) prompt.text = given_[at_++];
    prompt.where = lines_ ? lines_->place() : "--prompt";
    if (trim(prompt.text).empty())
      throw Error(kind(), "the prompt is empty", prompt.where,
                  "write what the model is to continue");
    return true;
  }
  // The kind of an error in a prompt.
  ErrorKind kind() const { return lines_ ? ErrorKind::data : ErrorKind::recipe; }

 private:
  std::vector<std::string> given_;
  size_t at_ = 0;
  std::optional<LineReader> lines_;
};

// What is given goes before what the folder states.
class Given {
 public:
  explicit Given(generate::FolderOptions& folder) : folder_(folder) {}
  template <class T, class O>
  void take(const std::optional<T>& flag, O& option, const char* key) {
    if (!flag) return;
    option = *flag;
    folder_.stated.erase(key);
  }

 private:
  generate::FolderOptions& folder_;
};

// Also leaves in `flags` the texts that stop, which the folder may state.
generate::Options options_of(GenerateFlags& flags, const nn::ModelConfig& config) {
  generate::FolderOptions folder = generate::folder_options(flags.model, config);
  generate::Options& options = folder.options;
  Given given(folder);
  given.take(flags.max_new_tokens, options.max_new_tokens, "max_new_tokens");
  if (flags.max_new_tokens) options.fit_positions = false;
  given.take(flags.min_new_tokens, options.min_new_tokens, "min_new_tokens");
  given.take(flags.num_beams, options.num_beams, "num_beams");
  given.take(flags.length_penalty, options.length_penalty, "length_penalty");
  std::optional<generate::EarlyStopping> early;
  if (flags.early_stopping) early = generate::parse_early_stopping(*flags.early_stopping);
  given.take(early, options.early_stopping, "early_stopping");
  given.take(flags.no_repeat_ngram, options.no_repeat_ngram, "no_repeat_ngram_size");
  given.take(flags.repetition_penalty, options.repetition_penalty, "repetition_penalty");
  given.take(flags.sample, options.sample, "do_sample");
  given.take(flags.temperature, options.temperature, "temperature");
  given.take(flags.top_k, options.top_k, "top_k");
  given.take(flags.top_p, options.top_p, "top_p");
  given.take(flags.min_p, options.min_p, "min_p");
  given.take(flags.sequences, options.sequences, "num_return_sequences");
  if (!flags.stop.empty()) folder.stated.erase("stop_strings");
  if (flags.stop.empty()) flags.stop = folder.stop;
  options.seed = flags.seed;
  const std::vector<std::string> ignored = generate::ignored_keys(folder);
  if (!ignored.empty())
    log::warn(str(folder.file, ": generation options that are not supported and are ignored: ",
                  join(ignored, ", ")));
  return generate::resolve(folder);
}

class Writer {
 public:
  Writer(const GenerateFlags& flags, const exports::LoadedModel& loaded, generate::Options options,
         const text::Tokenizer& tokenizer)
      : flags_(flags), model_(*loaded.model), options_(std::move(options)), tokenizer_(tokenizer) {}

  void write_all() {
    Prompts prompts(flags_);
    std::vector<Prompt> batch;
    bool any = false;
    for (Prompt prompt; prompts.next(prompt); any = true) {
      prompt.ids = encoded(prompt, prompts.kind());
      batch.push_back(std::move(prompt));
      if (static_cast<int64_t>(batch.size()) == flags_.batch) write(batch);
    }
    if (!any)
      throw Error(prompts.kind(), "there is no prompt",
                  flags_.file.empty() ? "standard input" : flags_.file,
                  "write one prompt a line, or give --prompt");
    write(batch);
    if (!flags_.quiet)
      log::info(str(with_commas(tokens_), " tokens in ", fixed(seconds_, 2), " s, ",
                    fixed(static_cast<double>(tokens_) / seconds_, 1), " tokens/s"));
  }

 private:
  generate::Tokens encoded(const Prompt& prompt, ErrorKind kind) {
    const text::Encoding encoding = tokenizer_.encode(prompt.text);
    generate::Tokens ids(encoding.ids.begin(), encoding.ids.end());
    const int64_t rows = model_.config().vocab_size;
    for (int32_t id : encoding.ids)
      if (id >= rows)
        throw Error(
            ErrorKind::data,
            str("the prompt has the token ", id, " ('", tokenizer_.id_to_token(id).value_or(""),
                "'), but the model's embedding has ", rows, " rows, and the tokenizer has ",
                tokenizer_.vocabulary_size(), " tokens"),
            prompt.where, "give the embedding a row for each token: resize_vocabulary");
    const std::string what = generate::problem(model_.config(), options_, ids);
    if (!what.empty())
      throw Error(kind, "the prompt " + what, prompt.where,
                  "shorten the prompt, or set --max-new-tokens");
    const std::string cut =
        generate::limits(options_, model_.config(), static_cast<int64_t>(ids.size())).cut;
    if (!cut.empty() && !told_cut_) log::warn(prompt.where + ": " + cut);
    told_cut_ |= !cut.empty();
    return ids;
  }

  void write(std::vector<Prompt>& batch) {
    if (batch.empty()) return;
    std::vector<generate::Tokens> ids;
    for (const Prompt& prompt : batch) ids.push_back(prompt.ids);
    const auto begin = std::chrono::steady_clock::now();
    const std::vector<generate::Sequence> found = generate::generate(model_, ids, options_);
    const double seconds = seconds_since(begin);
    seconds_ += seconds;
    for (size_t i = 0; i < found.size(); ++i) {
      tokens_ += static_cast<int64_t>(found[i].ids.size());
      print(shown(batch[i / static_cast<size_t>(options_.sequences)], found[i], seconds));
    }
    options_.first_row += static_cast<int64_t>(batch.size());
    batch.clear();
  }

  std::string shown(const Prompt& prompt, const generate::Sequence& sequence,
                    double seconds) const {
    const bool reads = model_.config().encoder_decoder();
    const std::string text =
        generate::text_of(tokenizer_, reads ? generate::Tokens{} : prompt.ids, sequence.ids);
    if (!flags_.json) return text + "\n";
    const nn::Json json = {
        {"prompt", prompt.text},
        {"text", text},
        {"ids", sequence.ids},
        {"score", std::isfinite(sequence.score) ? nn::Json(sequence.score) : nn::Json(nullptr)},
        {"seconds", seconds}};
    return json.dump(-1, ' ', false, nn::Json::error_handler_t::replace) + "\n";
  }

  const GenerateFlags& flags_;
  nn::Model& model_;
  generate::Options options_;
  const text::Tokenizer& tokenizer_;
  int64_t tokens_ = 0;
  double seconds_ = 0;
  bool told_cut_ = false;  // so that a file of prompts has one warning
};

int generate_text(GenerateFlags flags) {
  if (std::find(flags.stop.begin(), flags.stop.end(), "") != flags.stop.end())
    throw Error(ErrorKind::recipe, "the text that is to stop is empty", "--stop",
                "leave --stop out, or give it a text");
  const torch::Device device = train::resolve_device(flags.device, nullptr, "--device");
  // What can be wrong without the weights is told before they are read.
  const nn::ModelConfig config = checkpoint::load_config(flags.model);
  try {
    generate::check(config);
  } catch (const Error& error) {
    throw Error(error.kind(), error.message(), flags.model, error.hint());
  }
  generate::Options options = options_of(flags, config);
  const auto tokenizer = checkpoint::load_tokenizer(flags.model);
  if (const std::string gap = checkpoint::missing_rows(*tokenizer, config); !gap.empty())
    log::warn(flags.model + ": " + gap);
  options.stop = generate::stops_at(flags.stop, *tokenizer);
  options.precision = train::resolve_precision(flags.precision, device);
  exports::LoadedModel loaded = exports::load(flags.model);
  loaded.model->to(device);
  torch::NoGradGuard no_grad;
  loaded.model->params().refresh(options.precision);
  const nn::PackedWeights packed(loaded.model->params());
  Writer(flags, loaded, std::move(options), *tokenizer).write_all();
  return 0;
}

void add_lengths_and_beams(CLI::App& sub, GenerateFlags& flags) {
  sub.add_option("--max-new-tokens", flags.max_new_tokens,
                 "Tokens to write at most; default 20, or what the folder states");
  sub.add_option("--min-new-tokens", flags.min_new_tokens, "No end before that many; default 0");
  sub.add_option("--stop", flags.stop, "Ends where this text was written; repeated")
      ->take_all()
      ->expected(1);
  sub.add_option("--num-beams", flags.num_beams, "Above 1: beam search; default 1");
  sub.add_option("--length-penalty", flags.length_penalty,
                 "Beams score log-probability / tokens^X; default 1");
  sub.add_option("--early-stopping", flags.early_stopping,
                 "Beams end when enough are finished (true), when others look worse (false), when "
                 "others must be worse (never); default false")
      ->check(CLI::IsMember({"true", "false", "never"}));
  sub.add_option("--no-repeat-ngram-size", flags.no_repeat_ngram,
                 "No N tokens in a row come twice; default 0: they may");
  sub.add_option("--repetition-penalty", flags.repetition_penalty,
                 "Scores of tokens that are there are divided by it; default 1");
  sub.add_option("--num-return-sequences", flags.sequences, "Sequences a prompt; default 1");
}

void add_sampling(CLI::App& sub, GenerateFlags& flags) {
  // A flag that is bound to an optional counts, and says false where it is not given.
  sub.add_flag_function(
      "--sample,!--no-sample", [&flags](int64_t count) { flags.sample = count > 0; },
      "Draws tokens instead of taking the best");
  sub.add_option("--temperature", flags.temperature, "Scores are divided by it; default 1");
  sub.add_option("--top-k", flags.top_k, "Draws from the K best; 0: from all; default 50");
  sub.add_option("--top-p", flags.top_p,
                 "Draws from the fewest that have this probability; default 1");
  sub.add_option("--min-p", flags.min_p,
                 "Draws from those with this part of the best one's probability; default 0");
  sub.add_option("--seed", flags.seed, "Of the draws; the same seed writes the same")
      ->capture_default_str();
}

}  // namespace

void add_generate(CLI::App& app, Action& action) {
  auto flags = std::make_shared<GenerateFlags>();
  CLI::App* sub = app.add_subcommand("generate", "Continues prompts with a language model");
  sub->add_option("MODEL", flags->model,
                  "Folder in Hugging Face's layout or of a stage, or a GGUF file")
      ->required();
  CLI::Option* prompt =
      sub->add_option("--prompt", flags->prompts, "Text to continue or to rewrite; repeated")
          ->take_all()
          ->expected(1);
  sub->add_option("--file", flags->file, "One prompt a line; without either: standard input")
      ->excludes(prompt);
  add_lengths_and_beams(*sub, *flags);
  add_sampling(*sub, *flags);
  sub->add_option("--batch", flags->batch, "Prompts at a time")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  sub->add_option("--precision", flags->precision, "auto, float32, bf16 or fp16")
      ->check(CLI::IsMember({"auto", "float32", "bf16", "fp16"}))
      ->capture_default_str();
  sub->add_option("--device", flags->device, "auto, cpu, cuda or cuda:<n>")->capture_default_str();
  sub->add_flag("--json", flags->json, "A JSON line a sequence: prompt, text, ids, score, seconds");
  sub->add_flag("--quiet", flags->quiet, "Does not tell the speed at the end");
  sub->footer(
      "Defaults are those of MODEL/generation_config.json, or where there is none of config.json.\n"
      "Example: compress generate models/SmolLM2-135M-Instruct --prompt \"Once upon a time\" "
      "--sample "
      "--top-p 0.9");
  sub->callback([flags, &action] { action = [flags] { return generate_text(*flags); }; });
}

}  // namespace compress::cli
