// Which tokens stay.

#include "trim.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "compress/base/error.h"
#include "compress/base/lines.h"
#include "compress/base/strings.h"
#include "files/load.h"
#include "unicode/unicode.h"

namespace compress::text {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

// What load_tokenizer() builds from, laid out like tokenizer.json; of vocab.txt the model alone.
json tokenizer_content(const fs::path& folder, const FolderConfig& config,
                       const Tokenizer& tokenizer) {
  auto there = [&](const char* name) {
    std::error_code ignored;
    return fs::exists(folder / name, ignored);
  };
  if (there("tokenizer.json")) return parse_json_file(folder / "tokenizer.json");
  if (there("vocab.txt")) {
    json vocab = json::object();
    std::string text = read_text(folder / "vocab.txt");
    Lines lines(text);
    for (std::string_view line; lines.next(line);) {
      if (line.empty()) continue;
      const auto id = tokenizer.token_to_id(line);
      if (id && *id == static_cast<int32_t>(lines.number() - 1)) vocab[std::string(line)] = *id;
    }
    return {{"model",
             {{"type", "WordPiece"},
              {"continuing_subword_prefix", "##"},
              {"vocab", std::move(vocab)}}}};
  }
  if (there("vocab.json")) return convert_vocab_and_merges(folder, config.view());
  for (const char* name : {"spiece.model", "sentencepiece.bpe.model", "tokenizer.model"})
    if (there(name)) return convert_sentencepiece(folder / name, config.view());
  throw Error(ErrorKind::model, "the folder has no tokenizer", folder.string());
}

std::string text_under(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// One character, where the word begins, goes on or ends, or one byte that is written as <0x41>.
bool is_single(std::string_view token, const TrimModel& model) {
  const bool byte = token.size() == 6 && token.starts_with("<0x") && token.back() == '>' &&
                    std::isxdigit(static_cast<unsigned char>(token[3])) != 0 &&
                    std::isxdigit(static_cast<unsigned char>(token[4])) != 0;
  auto one = [](std::string_view text) {
    return !text.empty() && decode_utf8(text).length == text.size();
  };
  if (byte || one(token)) return true;
  const bool continues = !model.prefix.empty() && token.starts_with(model.prefix);
  const std::string_view rest = continues ? token.substr(model.prefix.size()) : token;
  if (one(rest)) return true;
  return !model.suffix.empty() && rest.ends_with(model.suffix) &&
         one(rest.substr(0, rest.size() - model.suffix.size()));
}

class Keeper {
 public:
  Keeper(const Tokenizer& tokenizer, const TrimModel& model, const std::vector<bool>& wanted)
      : tokenizer_(tokenizer), model_(model), keep_(wanted) {
    keep_.resize(static_cast<size_t>(tokenizer.vocabulary_size()));
  }

  void keep(int64_t id) {
    if (id >= 0 && id < static_cast<int64_t>(keep_.size())) keep_[static_cast<size_t>(id)] = true;
  }
  void keep(const std::string& token) {
    if (token.empty()) return;
    if (const auto id = tokenizer_.token_to_id(token)) keep(*id);
  }

  void named_by(json content) {
    for (const json& token : content.value("added_tokens", json::array())) keep(token_text(token));
    const json& model = content.at("model");
    keep(text_under(model, "unk_token"));
    if (model.contains("unk_id") && model["unk_id"].is_number_integer())
      keep(model["unk_id"].get<int64_t>());
    visit_processor_ids(content, [&](int64_t& id) { keep(id); });
  }

  void named_by_config(const json& config) {
    for (const auto& [key, value] : config.items()) {
      if (key.ends_with("_token")) keep(token_text(value));
      if (key == "additional_special_tokens" || key == "extra_special_tokens" ||
          key == "added_tokens_decoder")
        for (const json& token : value) keep(token_text(token));
    }
    const SpecialIds& roles = tokenizer_.special_ids();
    for (int32_t id :
         {roles.pad, roles.unk, roles.cls, roles.sep, roles.mask, roles.bos, roles.eos})
      keep(int64_t{id});
  }

  void fallbacks() {
    for (size_t id = 0; id < model_.tokens.size(); ++id)
      if (is_single(model_.tokens[id], model_)) keep(static_cast<int64_t>(id));
    int64_t lowest = -1;
    for (size_t id = 0; id < model_.scores.size(); ++id)
      if (is_word(id) &&
          (lowest < 0 || model_.scores[id] < model_.scores[static_cast<size_t>(lowest)]))
        lowest = static_cast<int64_t>(id);
    keep(lowest);
    // Tokens that were added behind the vocabulary.
    for (size_t id = 0; id < keep_.size(); ++id)
      if (!is_word(id)) keep_[id] = true;
  }

  // Whatever a kept token can be joined from.
  void parts_of_merges() {
    std::unordered_map<int32_t, std::vector<std::array<int32_t, 2>>> parts;
    for (const BpeMerge& merge : model_.merges)
      parts[merge.joined].push_back({merge.left, merge.right});
    std::vector<int32_t> open;
    for (size_t id = 0; id < keep_.size(); ++id)
      if (keep_[id]) open.push_back(static_cast<int32_t>(id));
    while (!open.empty()) {
      const auto found = parts.find(open.back());
      open.pop_back();
      if (found == parts.end()) continue;
      for (const auto& pair : found->second)
        for (int32_t part : pair) {
          if (keep_[static_cast<size_t>(part)]) continue;
          keep_[static_cast<size_t>(part)] = true;
          open.push_back(part);
        }
    }
  }

  Renumbering renumber() const {
    Renumbering out;
    out.renamed.assign(keep_.size(), -1);
    auto add = [&](size_t id) {
      const auto name = tokenizer_.id_to_token(static_cast<int32_t>(id));
      if (!keep_[id] || !name || name->empty()) return;
      if (tokenizer_.token_to_id(*name) != static_cast<int32_t>(id)) return;  // listed again
      out.renamed[id] = static_cast<int32_t>(out.kept.size());
      out.ids[std::string(*name)] = out.renamed[id];
      out.kept.push_back(static_cast<int32_t>(id));
    };
    for (size_t id = 0; id < keep_.size(); ++id)
      if (is_word(id)) add(id);
    out.words = static_cast<int64_t>(out.kept.size());
    for (size_t id = 0; id < keep_.size(); ++id)
      if (!is_word(id)) add(id);
    return out;
  }

 private:
  bool is_word(size_t id) const { return id < model_.tokens.size() && !model_.tokens[id].empty(); }

  const Tokenizer& tokenizer_;
  const TrimModel& model_;
  std::vector<bool> keep_;
};

// A piece that is listed twice has the id of its last entry; nobody has the other ids.
void forget_doubles(TrimModel& model, const Tokenizer& tokenizer) {
  for (size_t id = 0; id < model.tokens.size(); ++id)
    if (!model.tokens[id].empty())
      if (const auto known = tokenizer.token_to_id(model.tokens[id]);
          !known || *known != static_cast<int32_t>(id))
        model.tokens[id].clear();
}

}  // namespace

bool merge_parts(const json& item, std::string& left, std::string& right) {
  if (item.is_array() && item.size() == 2 && item[0].is_string() && item[1].is_string()) {
    left = item[0].get<std::string>();
    right = item[1].get<std::string>();
    return true;
  }
  if (!item.is_string()) return false;
  const std::string text = item.get<std::string>();
  const size_t space = text.find(' ');
  if (space == text.npos || text.starts_with("#version")) return false;
  left = text.substr(0, space);
  right = text.substr(space + 1);
  return true;
}

TrimModel read_trim_model(const json& content, const std::string& where) {
  const json& model = content.at("model");
  TrimModel out;
  out.type = model_type(JsonView(content, where, ""));
  out.prefix = text_under(model, "continuing_subword_prefix");
  out.suffix = text_under(model, "end_of_word_suffix");
  const json& vocab = model.at("vocab");
  if (out.type == "Unigram") {
    for (const json& item : vocab) {
      out.tokens.push_back(item.at(0).get<std::string>());
      out.scores.push_back(item.at(1).get<double>());
    }
    return out;
  }
  std::unordered_map<std::string_view, int32_t> ids;
  for (const auto& [token, id] : vocab.items()) {
    const auto place = id.get<size_t>();
    if (place >= out.tokens.size()) out.tokens.resize(place + 1);
    out.tokens[place] = token;
  }
  for (size_t id = 0; id < out.tokens.size(); ++id)
    if (!out.tokens[id].empty()) ids[out.tokens[id]] = static_cast<int32_t>(id);
  std::string left, right;
  for (const json& item : model.value("merges", json::array())) {
    if (!merge_parts(item, left, right)) continue;
    const auto first = ids.find(left), second = ids.find(right);
    const auto joined = ids.find(left + right.substr(std::min(out.prefix.size(), right.size())));
    if (first == ids.end() || second == ids.end() || joined == ids.end())
      throw Error(
          ErrorKind::model,
          str("a merge of '", left, "' and '", right, "' needs tokens that the vocabulary lacks"),
          where);
    out.merges.push_back({first->second, second->second, joined->second});
  }
  return out;
}

TrimmedTokenizer trim_tokenizer(const fs::path& folder, const Tokenizer& tokenizer,
                                const std::vector<bool>& wanted) {
  const FolderConfig config = read_folder_config(folder);
  const json content = tokenizer_content(folder, config, tokenizer);
  TrimModel model = read_trim_model(content, folder.string());
  forget_doubles(model, tokenizer);
  Keeper keeper(tokenizer, model, wanted);
  keeper.named_by(content);
  keeper.named_by_config(config.values);
  keeper.fallbacks();
  keeper.parts_of_merges();
  Renumbering numbers = keeper.renumber();
  TrimmedTokenizer out;
  out.files = trimmed_files(folder, content, model, numbers);
  out.kept = std::move(numbers.kept);
  return out;
}

}  // namespace compress::text
