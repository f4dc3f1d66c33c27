// `compress tokenize`: reads and tokenises the rows of a data set as a stage would, before one
// does.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>

#include "compress/base/clock.h"
#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"
#include "compress/cli/commands.h"
#include "shared/data_flags.h"

namespace compress::cli {

namespace {

struct TokenizeFlags {
  std::string model, cache;
  DataFlags data;
  bool json = false;
};

// A number of /proc/self/status in MB; 0 where there is none.
double megabytes(const std::string& name) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(name + ":"))
      return static_cast<double>(std::atoll(line.c_str() + name.size() + 1)) / 1024;
  return 0;
}

// From here on the highest resident memory counts anew, where the system allows it.
void forget_peak() {
  std::ofstream("/proc/self/clear_refs") << "5";
}

struct Told {
  std::string part, file, cache;
  int64_t rows = 0, tokens = 0;
  double seconds = 0, growth = 0;  // of resident memory, in MB
  double rows_per_second() const { return static_cast<double>(rows) / std::max(seconds, 1e-6); }
};

Told tokenise(const data::DatasetOptions& set, const std::string& part,
              const text::Tokenizer& tokenizer) {
  forget_peak();
  const double before = megabytes("VmRSS");
  const auto begin = std::chrono::steady_clock::now();
  const data::Split split = data::load_split(set, part, tokenizer);
  Told told{part, split.file.string(), split.cache.string()};
  told.rows = split.rows();
  told.tokens = split.offsets.back();
  told.seconds = seconds_since(begin);
  told.growth = std::max(0.0, megabytes("VmHWM") - before);
  return told;
}

int tokenize(const TokenizeFlags& flags) {
  if (!flags.data.given())
    throw Error(ErrorKind::recipe, "no data was named", {},
                "give --data FILE, or --recipe RECIPE --dataset NAME");
  const nn::ModelConfig config = checkpoint::load_config(flags.model);
  const std::unique_ptr<text::Tokenizer> tokenizer = checkpoint::load_tokenizer(flags.model);
  data::DatasetOptions set = flags.data.chosen(config);
  // Classes of one file are its own.
  if (!flags.data.file.empty()) std::swap(set.train, set.test);
  if (!flags.cache.empty()) set.cache = flags.cache;
  std::vector<Told> parts;
  for (const auto& [part, origin] : data::parts_of(set))
    if (!origin->file.empty()) parts.push_back(tokenise(set, part, *tokenizer));
  nn::Json json = nn::Json::array();
  Table table({"part", "rows", "tokens", "seconds", "rows/s", "memory grew by", "kept in"});
  for (const Told& told : parts) {
    table.row({told.part, with_commas(told.rows), with_commas(told.tokens), fixed(told.seconds, 2),
               with_commas(static_cast<int64_t>(told.rows_per_second())),
               fixed(told.growth, 0) + " MB", told.cache.empty() ? "memory alone" : told.cache});
    json.push_back({{"part", told.part},
                    {"file", told.file},
                    {"rows", told.rows},
                    {"tokens", told.tokens},
                    {"seconds", told.seconds},
                    {"rows_per_second", told.rows_per_second()},
                    {"growth_mb", told.growth},
                    {"cache", told.cache}});
  }
  print(flags.json ? json.dump(2, ' ', false, nn::Json::error_handler_t::replace) + "\n"
                   : table.text());
  return 0;
}

}  // namespace

void add_tokenize(CLI::App& app, Action& action) {
  auto flags = std::make_shared<TokenizeFlags>();
  CLI::App* sub = app.add_subcommand(
      "tokenize", "Reads and tokenises a data set, into the cache in which a run finds it");
  sub->add_option("MODEL", flags->model,
                  "Folder with the tokenizer, and the head that says the task")
      ->required();
  flags->data.add_to(*sub);
  sub->add_option("--cache", flags->cache,
                  "Folder for the tokenised rows, `off`, or `auto`; default: the data set's")
      ->type_name("DIR");
  sub->add_flag("--json", flags->json, "As JSON");
  sub->footer(
      "Example: compress tokenize models/all-MiniLM-L6-v2 --recipe recipe.yaml --cache cache");
  sub->callback([flags, &action] { action = [flags] { return tokenize(*flags); }; });
}

}  // namespace compress::cli
