#include "files/convert.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "compress/base/strings.h"
#include "unicode/unicode.h"

namespace compress::text {

using nlohmann::json;

const UsualNames& usual_names_of_roberta() {
  static const UsualNames names = {{"bos", "<s>"},    {"eos", "</s>"},  {"unk", "<unk>"},
                                   {"sep", "</s>"},   {"pad", "<pad>"}, {"cls", "<s>"},
                                   {"mask", "<mask>"}};
  return names;
}

AddedTokenList::AddedTokenList(const std::vector<std::string>& vocabulary)
    : next_(static_cast<int32_t>(vocabulary.size())) {
  for (size_t id = 0; id < vocabulary.size(); ++id) ids_[vocabulary[id]] = static_cast<int32_t>(id);
}

AddedTokenList::AddedTokenList(std::unordered_map<std::string, int32_t> ids)
    : ids_(std::move(ids)), next_(static_cast<int32_t>(ids_.size())) {}

void AddedTokenList::add(AddedToken token) {
  if (token.content.empty() || !contents_.insert(token.content).second) return;
  auto [entry, fresh] = ids_.emplace(token.content, next_);
  next_ += fresh;
  token.id = entry->second;
  tokens_.push_back(std::move(token));
}

void AddedTokenList::add(const std::string& content, bool special) {
  AddedToken token;
  token.content = content;
  token.special = special;
  token.normalized = false;
  add(std::move(token));
}

void AddedTokenList::add(const JsonView& config, const std::string& key,
                         const std::string& absent) {
  add(read_special_token(config, key, absent));
}

void AddedTokenList::add_decoder(const JsonView& config) {
  for (const auto& [id, item] : added_tokens_decoder(config)) {
    const AddedToken token = read_added_token(item);
    add(token);
    if (const int32_t given = find(token.content); given != id)
      item.fail(str("token '", token.content, "' says id ", id, " but has id ", given));
  }
}

void AddedTokenList::add_roles(const JsonView& config, const UsualNames& usual) {
  for (const char* role : {"bos", "eos", "unk", "sep", "pad", "cls", "mask"}) {
    const char* name = "";
    for (const auto& [key, value] : usual)
      if (std::string_view(key) == role) name = value;
    add(config, std::string(role) + "_token", name);
  }
}

void AddedTokenList::add_additional(const JsonView& config) {
  for (AddedToken& token : listed_special_tokens(config)) add(std::move(token));
}

int32_t AddedTokenList::find(const std::string& token) const {
  auto found = ids_.find(token);
  return found == ids_.end() ? -1 : found->second;
}

json AddedTokenList::list() const {
  std::vector<AddedToken> sorted = tokens_;
  std::sort(sorted.begin(), sorted.end(),
            [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  json out = json::array();
  for (const AddedToken& t : sorted)
    out.push_back({{"id", t.id},
                   {"content", t.content},
                   {"single_word", t.single_word},
                   {"lstrip", t.lstrip},
                   {"rstrip", t.rstrip},
                   {"normalized", t.normalized},
                   {"special", t.special}});
  return out;
}

json template_json(const std::vector<std::string>& single, const std::vector<std::string>& pair,
                   bool segments, const AddedTokenList& tokens) {
  json special = json::object();
  auto pieces = [&](const std::vector<std::string>& list) {
    json out = json::array();
    int segment = 0;
    const auto second = std::find(list.begin(), list.end(), "$B");
    for (auto item = list.begin(); item != list.end(); ++item) {
      // The second text's segment starts with the token before it, if that opens a text.
      if (segments && (item == second || (item + 1 == second && item + 1 != list.end() &&
                                          item != list.begin() && *item == list.front())))
        segment = 1;
      const bool text = *item == "$A" || *item == "$B";
      out.push_back({{text ? "Sequence" : "SpecialToken",
                      {{"id", text ? item->substr(1) : *item}, {"type_id", segment}}}});
      if (!text)
        special[*item] = {
            {"id", *item}, {"ids", {tokens.find(*item)}}, {"tokens", json::array({*item})}};
    }
    return out;
  };
  json out = {{"type", "TemplateProcessing"}, {"single", pieces(single)}, {"pair", pieces(pair)}};
  out["special_tokens"] = special;
  return out;
}

json bos_eos_template(const std::string& bos, const std::string& eos,
                      const AddedTokenList& tokens) {
  std::vector<std::string> single, pair;
  for (const char* text : {"$A", "$B"}) {
    if (!bos.empty()) pair.push_back(bos);
    pair.push_back(text);
    if (!eos.empty()) pair.push_back(eos);
    if (single.empty()) single = pair;
  }
  return template_json(single, pair, true, tokens);
}

json byte_level_json(bool add_prefix_space, bool trim_offsets, bool use_regex) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", add_prefix_space},
          {"trim_offsets", trim_offsets},
          {"use_regex", use_regex}};
}

json metaspace_json(const std::string& scheme, bool split) {
  return {{"type", "Metaspace"},
          {"replacement", "\u2581"},
          {"prepend_scheme", scheme},
          {"split", split}};
}

json split_json(std::string_view expression) {
  return {{"type", "Split"},
          {"pattern", {{"Regex", expression}}},
          {"behavior", "Isolated"},
          {"invert", false}};
}

json byte_fallback_decoder_json(bool strip) {
  json decoders = {{{"type", "Replace"}, {"pattern", {{"String", "\u2581"}}}, {"content", " "}},
                   {{"type", "ByteFallback"}},
                   {{"type", "Fuse"}}};
  if (strip) decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  return {{"type", "Sequence"}, {"decoders", decoders}};
}

json file_json(json normalizer, json pre_tokenizer, json post_processor, json decoder, json model,
               json added_tokens) {
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", std::move(added_tokens)},
          {"normalizer", std::move(normalizer)},
          {"pre_tokenizer", std::move(pre_tokenizer)},
          {"post_processor", std::move(post_processor)},
          {"decoder", std::move(decoder)},
          {"model", std::move(model)}};
}

std::vector<std::pair<std::string, std::string>> merges_of_pieces(
    const std::vector<std::string>& pieces, const std::vector<float>& scores) {
  struct Merge {
    size_t joined, left_size, right_size, cut;  // sizes in characters
  };
  std::unordered_set<std::string_view> known(pieces.begin(), pieces.end());
  std::vector<Merge> merges;
  std::vector<size_t> starts;
  for (size_t id = 0; id < pieces.size(); ++id) {
    const std::string_view piece = pieces[id];
    starts.clear();
    for (size_t at = 0; at < piece.size(); at += decode_utf8(piece.substr(at)).length)
      starts.push_back(at);
    for (size_t i = 1; i < starts.size(); ++i)
      if (known.contains(piece.substr(0, starts[i])) && known.contains(piece.substr(starts[i])))
        merges.push_back({id, i, starts.size() - i, starts[i]});
  }
  auto before = [&](const Merge& a, const Merge& b) {
    if (scores.empty())
      return std::tie(a.joined, a.left_size, a.right_size) <
             std::tie(b.joined, b.left_size, b.right_size);
    return std::tie(scores[b.joined], b.left_size, b.right_size) <
           std::tie(scores[a.joined], a.left_size, a.right_size);
  };
  std::stable_sort(merges.begin(), merges.end(), before);
  std::vector<std::pair<std::string, std::string>> out;
  for (const Merge& m : merges)
    out.emplace_back(pieces[m.joined].substr(0, m.cut), pieces[m.joined].substr(m.cut));
  return out;
}

}  // namespace compress::text
