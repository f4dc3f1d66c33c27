// The files of a tokenizer with fewer tokens.

#include <algorithm>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/strings.h"
#include "files/load.h"
#include "files/sentencepiece_file.h"
#include "trim.h"

namespace compress::text {
namespace {

using nlohmann::json;
using Ordered = nlohmann::ordered_json;
namespace fs = std::filesystem;

std::string pretty(const Ordered& value) {
  return value.dump(2) + "\n";
}

void rewrite_vocabulary(json& model, const TrimModel& old, const Renumbering& numbers) {
  if (old.type == "Unigram") {
    json list = json::array();
    for (size_t id = 0; id < old.tokens.size(); ++id)
      if (numbers.of(static_cast<int64_t>(id)) >= 0 && !old.tokens[id].empty())
        list.push_back(std::move(model["vocab"][id]));
    model["vocab"] = std::move(list);
    if (model.contains("unk_id") && model["unk_id"].is_number_integer())
      model["unk_id"] = numbers.of(model["unk_id"].get<int64_t>());
    return;
  }
  json vocab = json::object();
  for (size_t id = 0; id < old.tokens.size(); ++id)
    if (const int32_t now = numbers.of(static_cast<int64_t>(id));
        now >= 0 && !old.tokens[id].empty())
      vocab[old.tokens[id]] = now;
  model["vocab"] = std::move(vocab);
}

// The entries of "merges" whose parts and result are there.
json kept_merges(const json& model, const TrimModel& old, const Renumbering& numbers) {
  json list = json::array();
  std::string left, right;
  for (const json& item : model.value("merges", json::array())) {
    if (!merge_parts(item, left, right)) continue;
    const std::string joined = left + right.substr(std::min(old.prefix.size(), right.size()));
    if (numbers.of(left) >= 0 && numbers.of(right) >= 0 && numbers.of(joined) >= 0)
      list.push_back(item);
  }
  return list;
}

std::string tokenizer_json(json content, const TrimModel& old, const Renumbering& numbers) {
  json& model = content["model"];
  if (model.contains("merges")) model["merges"] = kept_merges(model, old, numbers);
  rewrite_vocabulary(model, old, numbers);
  if (content.contains("added_tokens") && content["added_tokens"].is_array()) {
    json& added = content["added_tokens"];
    for (json& token : added) token["id"] = numbers.of(token.at("content").get<std::string>());
    std::stable_sort(added.begin(), added.end(), [](const json& a, const json& b) {
      return a["id"].get<int64_t>() < b["id"].get<int64_t>();
    });
  }
  visit_processor_ids(content, [&](int64_t& id) { id = numbers.of(id); });
  return content.dump(2) + "\n";
}

std::string vocab_txt(const TrimModel& old, const Renumbering& numbers) {
  std::string out;
  for (int64_t id = 0; id < numbers.words; ++id)
    out += old.tokens[static_cast<size_t>(numbers.kept[static_cast<size_t>(id)])] + "\n";
  return out;
}

// By id, one token a line, which nlohmann's sorted objects cannot do.
std::string vocab_json(const TrimModel& old, const Renumbering& numbers) {
  std::string out = "{";
  for (int64_t id = 0; id < numbers.words; ++id)
    out += str(id > 0 ? "," : "", "\n  ",
               json(old.tokens[static_cast<size_t>(numbers.kept[static_cast<size_t>(id)])]).dump(),
               ": ", id);
  return out + "\n}\n";
}

std::string merges_txt(const json& merges) {
  std::string out = "#version: 0.2\n", left, right;
  for (const json& item : merges)
    if (merge_parts(item, left, right)) out += left + " " + right + "\n";
  return out;
}

// Pieces that are no words stay, whatever the tokenizer calls them.
std::string sentencepiece(std::string_view bytes, const Renumbering& numbers) {
  return filter_sentencepiece(bytes, [&](const SentencePieceModel::Piece& piece) {
    return piece.type != SentencePieceModel::normal || numbers.of(piece.text) >= 0;
  });
}

std::string tokenizer_config(const std::string& text, const Renumbering& numbers) {
  Ordered config = Ordered::parse(text);
  visit_token_ids(config, [&](int64_t& id) { id = numbers.of(id); });
  const auto found = config.find("added_tokens_decoder");
  if (found == config.end() || !found->is_object()) return pretty(config);
  std::vector<std::pair<int32_t, Ordered>> entries;
  for (const auto& [unused, token] : found->items())
    if (const int32_t id = numbers.of(token.value("content", std::string())); id >= 0)
      entries.emplace_back(id, token);
  std::stable_sort(entries.begin(), entries.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  Ordered decoder = Ordered::object();
  for (auto& [id, token] : entries) decoder[std::to_string(id)] = std::move(token);
  *found = std::move(decoder);
  return pretty(config);
}

std::string added_tokens(const std::string& text, const Renumbering& numbers) {
  Ordered list = Ordered::parse(text), out = Ordered::object();
  for (const auto& [token, unused] : list.items())
    if (const int32_t id = numbers.of(token); id >= 0) out[token] = id;
  return pretty(out);
}

std::string settings(const std::string& text, const std::string& where,
                     const Renumbering& numbers) {
  Ordered values = Ordered::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!values.is_object()) throw Error(ErrorKind::model, "the file is not a JSON object", where);
  visit_token_ids(values, [&](int64_t& id) { id = numbers.of(id); });
  return pretty(values);
}

// Numbers in lists inside lists.
template <class Json, class Visit>
void visit_numbers(Json& value, const Visit& visit) {
  if (value.is_array())
    for (Json& item : value) visit_numbers(item, visit);
  if (!value.is_number_integer()) return;
  int64_t id = value.template get<int64_t>();
  if (id < 0) return;
  const int64_t before = id;
  visit(id);
  if (id != before) value = id;
}

void visit_processor(json& part, const std::function<void(int64_t&)>& visit) {
  if (!part.is_object()) return;
  for (const char* key : {"sep", "cls"})
    if (part.contains(key) && part[key].is_array()) visit_numbers(part[key], visit);
  if (part.contains("special_tokens") && part["special_tokens"].is_object())
    for (json& token : part["special_tokens"])
      if (token.is_object() && token.contains("ids")) visit_numbers(token["ids"], visit);
  if (part.contains("processors") && part["processors"].is_array())
    for (json& inner : part["processors"]) visit_processor(inner, visit);
}

}  // namespace

void visit_processor_ids(json& content, const std::function<void(int64_t&)>& visit) {
  if (content.contains("post_processor")) visit_processor(content["post_processor"], visit);
  if (content.contains("padding") && content["padding"].is_object() &&
      content["padding"].contains("pad_id"))
    visit_numbers(content["padding"]["pad_id"], visit);
}

void visit_token_ids(Ordered& values, const std::function<void(int64_t&)>& visit) {
  if (!values.is_object()) return;
  for (auto& [key, value] : values.items()) {
    const bool ids = key.ends_with("_token_id") || key.ends_with("_token_ids") ||
                     key == "suppress_tokens" || key == "begin_suppress_tokens" ||
                     key == "bad_words_ids";
    if (ids) visit_numbers(value, visit);
    if (value.is_object()) visit_token_ids(value, visit);
  }
}

FolderFiles trimmed_files(const fs::path& folder, const json& content, const TrimModel& model,
                          const Renumbering& numbers) {
  FolderFiles files;
  auto rewrite = [&](const char* name, auto&& work) {
    std::error_code ignored;
    if (fs::is_regular_file(folder / name, ignored)) files[name] = work(read_file(folder / name));
  };
  rewrite("tokenizer.json",
          [&](const std::string&) { return tokenizer_json(content, model, numbers); });
  rewrite("vocab.txt", [&](const std::string&) { return vocab_txt(model, numbers); });
  rewrite("vocab.json", [&](const std::string&) { return vocab_json(model, numbers); });
  rewrite("merges.txt", [&](const std::string&) {
    return merges_txt(kept_merges(content.at("model"), model, numbers));
  });
  for (const char* name : {"spiece.model", "sentencepiece.bpe.model", "tokenizer.model"})
    rewrite(name, [&](const std::string& bytes) { return sentencepiece(bytes, numbers); });
  rewrite("tokenizer_config.json",
          [&](const std::string& text) { return tokenizer_config(text, numbers); });
  rewrite("added_tokens.json",
          [&](const std::string& text) { return added_tokens(text, numbers); });
  rewrite("generation_config.json", [&](const std::string& text) {
    return settings(text, (folder / "generation_config.json").string(), numbers);
  });
  for (const char* name : {"special_tokens_map.json", "chat_template.jinja"})
    rewrite(name, [](const std::string& text) { return text; });
  return files;
}

}  // namespace compress::text
