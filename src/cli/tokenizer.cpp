// `compress tokenizer`: train one, and see what one does.

#include <CLI/CLI.hpp>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"
#include "compress/cli/commands.h"
#include "compress/text/tokenizer.h"
#include "compress/text/train.h"
#include "shared/lines.h"

namespace compress::cli {

namespace {

using nlohmann::json;

struct TrainFlags {
  std::string model = "wordpiece", out;
  text::TrainOptions options;
  std::vector<std::string> files;
  std::string ngrams;
  bool min_frequency_given = false;
};

const std::map<std::string, text::TrainedModel> models = {
    {"wordpiece", text::TrainedModel::wordpiece},
    {"bpe", text::TrainedModel::bpe},
    {"unigram", text::TrainedModel::unigram},
    {"sentencepiece-bpe", text::TrainedModel::sentencepiece_bpe},
    {"ngram", text::TrainedModel::ngram}};

// "1-4" or "2".
void read_ngrams(const std::string& given, text::TrainOptions& options) {
  const std::vector<std::string> ends = split(given, '-');
  auto number = [&](const std::string& digits) {
    if (digits.size() != 1 || digits[0] < '1' || digits[0] > '8')
      throw Error(ErrorKind::recipe, "--ngrams '" + given + "' is no range of words", {},
                  "for instance 1-4, at most 8");
    return static_cast<int64_t>(digits[0] - '0');
  };
  options.shortest_ngram = number(ends.front());
  options.longest_ngram = number(ends.back());
  if (ends.size() > 2 || options.longest_ngram < options.shortest_ngram) number("");
}

// A model whose tokens would mean something else from now on. A config.json alone is no model yet:
// `from:` and `initialise` begin with one and a tokenizer.
void refuse_models(const std::filesystem::path& folder) {
  std::error_code failed;
  if (!std::filesystem::exists(folder / "config.json", failed) || !checkpoint::has_weights(folder))
    return;
  throw Error(ErrorKind::disk, "the folder holds a model, whose tokenizer would be replaced",
              folder.string(), "name a new folder with --out");
}

int train(TrainFlags flags) {
  flags.options.model = models.at(flags.model);
  const bool ngrams = flags.model == "ngram";
  const bool counts = ngrams || flags.model == "wordpiece" || flags.model == "bpe";
  if (!flags.ngrams.empty() && !ngrams)
    throw Error(ErrorKind::recipe, "--ngrams does not apply to --model " + flags.model, {},
                "it applies to ngram");
  if (!flags.ngrams.empty()) read_ngrams(flags.ngrams, flags.options);
  if (flags.min_frequency_given && !counts)
    throw Error(ErrorKind::recipe, "--min-frequency does not apply to --model " + flags.model, {},
                "it applies to wordpiece, bpe and ngram");
  refuse_models(flags.out);
  LineReader reader(flags.files);
  int64_t lines = 0;
  const text::TokenizerFiles files = text::train_tokenizer(
      [&](std::string& line) {
        const bool there = reader.next(line);
        lines += there;
        return there;
      },
      flags.options);
  text::write_tokenizer(files, flags.out);
  const auto tokenizer = checkpoint::load_tokenizer(flags.out);
  print(str(flags.out, ": ", flags.model, ", ", with_commas(tokenizer->vocabulary_size()),
            " tokens from ", with_commas(lines), " lines\n"));
  return 0;
}

struct EncodeFlags {
  std::string model;
  std::vector<std::string> files;
  text::EncodeOptions options;
  bool no_special = false, skip_special = false, chat = false;
};

json as_json(const text::Tokenizer& tokenizer, const text::Encoding& encoding) {
  json out = {{"ids", encoding.ids}, {"tokens", json::array()}};
  for (int32_t id : encoding.ids) out["tokens"].push_back(tokenizer.id_to_token(id).value_or(""));
  for (const text::ByteRange& range : encoding.offsets)
    out["offsets"].push_back({range.begin, range.end});
  return out;
}

int encode(EncodeFlags flags) {
  if (flags.chat)
    throw Error(ErrorKind::recipe, "chat templates are not supported", {},
                "write the conversation as the model's template would, and encode that");
  flags.options.add_special_tokens = !flags.no_special;
  const auto tokenizer = checkpoint::load_tokenizer(flags.model);
  LineReader reader(flags.files);
  for (std::string line; reader.next(line);) {
    const text::Encoding encoding = tokenizer->encode(line, flags.options);
    print(as_json(*tokenizer, encoding).dump(-1, ' ', false, json::error_handler_t::replace) +
          "\n");
  }
  return 0;
}

// [ids], or an object with them under "ids".
std::vector<int32_t> parse_ids(const std::string& line, const LineReader& reader) {
  json value = json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (value.is_object() && value.contains("ids")) value = json(value["ids"]);
  std::vector<int32_t> ids;
  if (!value.is_array()) throw Error(ErrorKind::data, "a list of ids is due", reader.place());
  for (const json& id : value) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() > INT32_MAX)
      throw Error(ErrorKind::data, "'" + id.dump() + "' is not an id", reader.place());
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

int decode(const EncodeFlags& flags) {
  const auto tokenizer = checkpoint::load_tokenizer(flags.model);
  LineReader reader(flags.files);
  for (std::string line; reader.next(line);) {
    const json out = {{"text", tokenizer->decode(parse_ids(line, reader), flags.skip_special)}};
    print(out.dump(-1, ' ', false, json::error_handler_t::replace) + "\n");
  }
  return 0;
}

void add_train(CLI::App& parent, Action& action) {
  auto flags = std::make_shared<TrainFlags>();
  CLI::App* sub = parent.add_subcommand("train", "Makes a vocabulary from text, one line a time");
  sub->add_option("FILE", flags->files, "Texts; standard input without any");
  std::vector<std::string> names;
  for (const auto& [name, model] : models) names.push_back(name);
  sub->add_option("--model", flags->model, "wordpiece, bpe, unigram, sentencepiece-bpe or ngram")
      ->check(CLI::IsMember(names));
  sub->add_option("--vocab-size", flags->options.vocabulary_size, "Tokens at most; default 30000");
  sub->add_flag("--lowercase", flags->options.lowercase, "Case does not count");
  CLI::Option* frequency =
      sub->add_option("--min-frequency", flags->options.min_frequency,
                      "Rarer pairs are not joined (wordpiece, bpe), rarer n-grams are left out "
                      "(ngram); default 2");
  sub->add_option("--ngrams", flags->ngrams, "Words of an n-gram (ngram); default 1-4");
  sub->add_option("--special", flags->options.special, "A further special token; repeated")
      ->take_all()
      ->expected(1);
  sub->add_option("--out", flags->out, "Folder for tokenizer.json")->required();
  sub->footer("Example: compress tokenizer train data/hutto/movie.txt --vocab-size 8000 --out tok");
  sub->callback([flags, frequency, &action] {
    flags->min_frequency_given = frequency->count() > 0;
    action = [flags] { return train(*flags); };
  });
}

void add_encode(CLI::App& parent, Action& action) {
  auto flags = std::make_shared<EncodeFlags>();
  CLI::App* sub = parent.add_subcommand("encode", "Lines of text into JSON lines of ids");
  sub->add_option("MODEL", flags->model, "Folder with the tokenizer's files")->required();
  sub->add_option("FILE", flags->files, "Texts; standard input without any");
  sub->add_option("--max-length", flags->options.max_length, "Cut to this many tokens");
  sub->add_flag("--no-special", flags->no_special, "Without special tokens");
  sub->add_flag("--offsets", flags->options.offsets, "Bytes of the line that each token came from");
  sub->add_flag("--chat-template", flags->chat, "Not supported");
  sub->footer("Example: echo hello | compress tokenizer encode models/all-MiniLM-L6-v2");
  sub->callback([flags, &action] { action = [flags] { return encode(*flags); }; });
}

void add_decode(CLI::App& parent, Action& action) {
  auto flags = std::make_shared<EncodeFlags>();
  CLI::App* sub = parent.add_subcommand("decode", "JSON lines of ids into text");
  sub->add_option("MODEL", flags->model, "Folder with the tokenizer's files")->required();
  sub->add_option("FILE", flags->files, "Lines of ids; standard input without any");
  sub->add_flag("--skip-special", flags->skip_special, "Without special tokens");
  sub->footer("Example: echo '[101, 7592, 102]' | compress tokenizer decode models/my-bert");
  sub->callback([flags, &action] { action = [flags] { return decode(*flags); }; });
}

}  // namespace

void add_tokenizer(CLI::App& app, Action& action) {
  CLI::App* sub = app.add_subcommand("tokenizer", "Trains a tokenizer, encodes and decodes text");
  sub->require_subcommand(1);
  sub->footer("Example: compress tokenizer encode models/all-MiniLM-L6-v2 notes.txt");
  add_train(*sub, action);
  add_encode(*sub, action);
  add_decode(*sub, action);
}

}  // namespace compress::cli
