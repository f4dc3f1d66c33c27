#include "tokens/token_cache.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <system_error>

#include "compress/base/clock.h"
#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/hash.h"
#include "compress/base/log.h"
#include "compress/base/strings.h"
#include "layouts/layout.h"
#include "rows/row_stream.h"
#include "tasks/task.h"
#include "tokens/token_layout.h"

namespace compress::data {

namespace fs = std::filesystem;

namespace {

constexpr const char* checked_head = "compress tokens 1\n";

TokenFileKey key_of(const DatasetOptions& options, const text::Tokenizer& tokenizer,
                    const Split& split) {
  TokenFileKey key{split.content_hash, tokenizer.vocabulary_size(), RowTargets::none, 0};
  key.weights = !options.weight.empty();
  key.groups = !options.group.empty();
  const TaskKind& kind = kind_of(split.task);
  key.targets = kind.targets(options);
  if (split.task == Task::cloze) key.classes = key.vocabulary;
  if (kind.facts().class_names) key.classes = static_cast<int64_t>(split.labels.size());
  return key;
}

// Maps the file and reads all of it once; a note says that its present state has been read.
void map_checked(const fs::path& file, const TokenFileKey& key, Split& split) {
  fs::path note = file;
  note.replace_extension(".checked");
  const std::optional<Stamp> stamp = stamp_of(file);
  const std::string text = stamp ? checked_head + stamp->text() + "\n" : "";
  const bool known = stamp && read_note(note) == text;
  map_tokens(file, key, known ? TokenCheck::rows : TokenCheck::all, split);
  if (!known && stamp && stamp->settled() && stamp_of(file) == stamp) write_note(note, text);
}

void build(const fs::path& file, const DatasetOptions& options, const text::Tokenizer& tokenizer,
           const TokenFileKey& key, const Fingerprint& found, int threads, const Split& head) {
  const auto begin = std::chrono::steady_clock::now();
  remove_leftovers(file);
  Source source(head.file, Examine::done_before);
  RowStream rows(source, options, tokenizer, head, threads);
  TokenWriter writer(file, key);
  log::info(str("tokenising ", head.file.string(), ", ",
                human_bytes(static_cast<double>(source.bytes().size())), ", into ", file.string()));
  while (const Split* part = rows.next()) {
    writer.append(*part);
    if (log::on_terminal())
      log::progress(str("tokenising ", head.file.string(), "  ", fixed(100 * rows.fraction(), 0),
                        "%  ", with_commas(writer.rows()), " rows"));
  }
  log::progress("");
  if (stamp_behind(head.file) != found.stamp)
    throw Error(ErrorKind::data, "the data file was changed while it was read", head.file.string(),
                "run again when nothing writes to it");
  writer.commit(rows.blank_lines(), rows.empty_rows(), rows.skipped());
  const double seconds = seconds_since(begin);
  log::info(str("tokenised ", with_commas(writer.rows()), " rows, ", with_commas(writer.tokens()),
                " tokens, ", human_bytes(static_cast<double>(fs::file_size(file))), " in ",
                human_seconds(seconds), ", ",
                with_commas(static_cast<int64_t>(static_cast<double>(writer.rows()) /
                                                 std::max(seconds, 1e-6))),
                " rows/s"));
}

// A note of class names: their hash, then a JSON list. None where it is not to be believed.
std::vector<std::string> parse_names(const std::string& note) {
  const size_t line = note.find('\n');
  if (line == std::string::npos || sha256(note.substr(line + 1)) != note.substr(0, line)) return {};
  const auto json = nlohmann::json::parse(note.substr(line + 1), nullptr, false);
  std::vector<std::string> names;
  if (!json.is_array() || json.size() < 2 || json.size() > most_classes) return {};
  for (const auto& name : json) {
    if (!name.is_string()) return {};
    names.push_back(name.get<std::string>());
  }
  return names;
}

std::string dumped(const nlohmann::json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// Whether the file was there and could be mapped; one that somebody is writing is read once more
// under its lock.
bool maps_at_once(const fs::path& file, const TokenFileKey& key, Split& split) {
  std::error_code failed;
  if (!fs::exists(file, failed)) return false;
  try {
    map_checked(file, key, split);
    return true;
  } catch (const Error& error) {
    log::debug(error.what());
    return false;
  }
}

// The same when nobody is writing it; a damaged one is told.
bool maps_whole(const fs::path& file, const TokenFileKey& key, Split& split) {
  std::error_code failed;
  if (!fs::exists(file, failed)) return false;
  try {
    map_checked(file, key, split);
    return true;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::data) throw;
    log::warn(str(error.where(), " is made again: ", error.message()));
    return false;
  }
}

}  // namespace

void load_cached(const fs::path& folder, const DatasetOptions& options,
                 const text::Tokenizer& tokenizer, const Fingerprint& source, int threads,
                 Split& split) {
  const TokenFileKey key = key_of(options, tokenizer, split);
  const fs::path file = folder / str(split.content_hash, ".v", token_file_version, ".tokens");
  if (maps_at_once(file, key, split)) return;
  FileLock lock(folder / (split.content_hash + ".lock"));
  if (maps_whole(file, key, split)) {
    if (lock.waited()) log::info("another process tokenised " + split.file.string());
    return;
  }
  build(file, options, tokenizer, key, source, threads, split);
  map_tokens(file, key, TokenCheck::rows, split);
}

std::vector<std::string> cached_names(const fs::path& folder, const DatasetOptions& options,
                                      const std::string& sha256,
                                      const std::function<std::vector<std::string>()>& find) {
  Format format = format_of(options, options.train.file);
  nlohmann::json key = {token_file_version, sha256,
                        options.label,      static_cast<int>(format),
                        options.header,     options.quoting.value_or(format == Format::csv)};
  if (kind_of(options).text_kind() == CellKind::words) key.push_back("words");
  if (facts_of(options).several) key.push_back({"several", options.label_separator});
  if (!options.skip_labels.empty()) key.push_back({{"skip", options.skip_labels}});
  if (options.held_out)
    key.push_back({{"held out", {options.held_out->column, options.held_out->values}}});
  if (const PublishedLayout* layout = find_layout(options.layout); layout && layout->rows)
    key.push_back({{"layout", options.layout}});
  const fs::path note = folder / (compress::sha256(dumped(key)).substr(0, 32) + ".classes");
  std::vector<std::string> names = parse_names(read_note(note));
  if (!names.empty()) return names;
  names = find();
  const std::string text = dumped(names);
  write_note(note, compress::sha256(text) + "\n" + text);
  return names;
}

}  // namespace compress::data
