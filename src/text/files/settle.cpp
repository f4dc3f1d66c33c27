// tokenizer.json against tokenizer_config.json.

#include <algorithm>
#include <map>
#include <tuple>

#include "compress/base/log.h"
#include "compress/base/strings.h"
#include "files/folder_config.h"

namespace compress::text {
namespace {

using nlohmann::json;

std::string shown(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

// The string under `key`; "" for anything else.
std::string text_at(const json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() || !found->is_string() ? "" : found->get<std::string>();
}

// The boolean under `key`; `absent` for anything else, which its reader refuses.
bool flag_at(const json& object, const char* key, bool absent) {
  const auto found = object.find(key);
  return found == object.end() || !found->is_boolean() ? absent : found->get<bool>();
}

bool one_of(const std::string& name, std::initializer_list<const char*> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

class Settler {
 public:
  Settler(json& content, std::string where, const FolderConfig& config)
      : content_(content),
        where_(std::move(where)),
        config_(config),
        view_(config_.view()),
        class_(tokenizer_class(view_)) {}

  void normalizer() {
    json* part = member("normalizer");
    if (part == nullptr || text_at(*part, "type") != "BertNormalizer") return lowercase(part);
    const NormalizerOptions file = read_bert_normalizer({*part, where_, "normalizer"});
    // These classes build the normalizer anew; another class keeps the file's.
    const bool anew = bert_like();
    const bool counts = anew || class_.empty();
    auto change = [&](const char* key, const char* name, bool before, bool usual) {
      const bool due = view_.boolean(key, anew ? usual : before);
      if (due == before) return;
      tell(saying(key), due, str("normalizer.", name), before, counts);
      if (counts) (*part)[name] = due;
    };
    change("do_lower_case", "lowercase", file.lowercase, true);
    change("tokenize_chinese_chars", "handle_chinese_chars", file.handle_chinese_chars, true);
    // Accents go with the case where neither file says more.
    const bool lowers = flag_at(*part, "lowercase", true);
    const bool stated = part->contains("strip_accents") && (*part)["strip_accents"].is_boolean();
    if (anew || view_.has("strip_accents"))
      change("strip_accents", "strip_accents", stated ? file.strip_accents : lowers, lowers);
  }

  void prefix_space() {
    json* part = member("pre_tokenizer");
    json* bytes = byte_level(part);
    if (bytes == nullptr) return;
    const bool alone = bytes == part;
    const bool anew = alone ? byte_like() : class_ == "Qwen2";
    const bool before = flag_at(*bytes, "add_prefix_space", true);
    const bool due = view_.boolean("add_prefix_space", anew ? false : before);
    if (due == before) return;
    tell(saying("add_prefix_space"), due, "pre_tokenizer.add_prefix_space", before, anew);
    if (!anew) return;
    (*bytes)["add_prefix_space"] = due;
    json* processor = member("post_processor");
    if (processor != nullptr && text_at(*processor, "type") == "RobertaProcessing")
      (*processor)["add_prefix_space"] = due;
  }

  void model() {
    json* part = member("model");
    constexpr int usual = 100;
    constexpr const char* key = "max_input_chars_per_word";
    if (!bert_like() || part == nullptr || !part->contains(key) || (*part)[key] == usual) return;
    tell(str("by its tokenizer_class ", key), usual, str("model.", key), (*part)[key], true);
    (*part)[key] = usual;
  }

  void surroundings() {
    if (bert_like() && class_ != "MPNet" && member("post_processor") == nullptr) add_surroundings();
    const auto [first, last] = around();
    around_flag("add_bos_token", "bos_token", first);
    around_flag("add_eos_token", "eos_token", last);
    differ("cls_token", "post_processor", first);
    differ("sep_token", "post_processor", last);
    const json* model = member("model");
    if (model != nullptr) differ("unk_token", "model.unk_token", model->value("unk_token", json()));
  }

  std::vector<AddedToken> tokens() {
    std::map<std::string, AddedToken> there;
    if (const JsonView file(content_, where_, ""); file.has("added_tokens"))
      for (const JsonView& item : file.at("added_tokens").items()) {
        AddedToken token = read_added_token(item);
        there.emplace(token.content, std::move(token));
      }
    std::vector<AddedToken> more;
    auto add = [&](AddedToken token) {
      if (there.emplace(token.content, token).second) more.push_back(std::move(token));
    };
    for (const auto& [id, item] : added_tokens_decoder(view_)) {
      AddedToken token = read_added_token(item);
      token.id = id;
      const auto found = there.find(token.content);
      if (found == there.end())
        add(std::move(token));
      else
        flags(token, found->second);
    }
    for (const char* role : {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token",
                             "cls_token", "mask_token"})
      if (view_.has(role) && !there.contains(special_token_name(view_, role, "")))
        add_role(role, add);
    for (AddedToken& token : listed_special_tokens(view_)) add(std::move(token));
    return more;
  }

 private:
  // Classes that take the vocabulary from tokenizer.json and build the rest anew.
  bool bert_like() const {
    return one_of(class_, {"Bert", "DistilBert", "Electra", "MobileBert", "SqueezeBert", "MPNet",
                           "LayoutLM", "Funnel", "Lxmert", "Splinter"});
  }
  bool byte_like() const {
    return one_of(class_, {"GPT2", "Roberta", "Bart", "Longformer", "LED"});
  }

  json* member(const char* name) {
    const auto found = content_.find(name);
    return found == content_.end() || !found->is_object() ? nullptr : &*found;
  }

  // `key`, and that it is not there.
  std::string saying(const char* key) const {
    return view_.has(key) ? key : str("by its tokenizer_class, without a ", key, ",");
  }

  void tell(const std::string& key, const json& theirs, const std::string& part, const json& ours,
            bool counts, bool alike = true) {
    log::warn(str(config_.where, " says ", key, " ", shown(theirs), " and ", where_, " says ", part,
                  " ", shown(ours), ": ", counts ? "the former" : "the latter", " counts",
                  alike ? ", as in transformers" : ""));
  }

  // For normalizers other than BERT's the file counts.
  void lowercase(const json* part) {
    if (!view_.has("do_lower_case")) return;
    const bool stated = view_.boolean("do_lower_case", false);
    const bool lowers =
        part != nullptr &&
        part->dump(-1, ' ', false, json::error_handler_t::replace).find("\"Lowercase\"") !=
            std::string::npos;
    if (stated != lowers && (part == nullptr || text_at(*part, "type") != "Precompiled"))
      tell("do_lower_case", stated, "normalizer with lower case", lowers, false);
  }

  // The ByteLevel at `part` or in the sequence there.
  static json* byte_level(json* part) {
    if (part == nullptr) return nullptr;
    if (text_at(*part, "type") == "ByteLevel") return part;
    const auto list = part->find("pretokenizers");
    if (list == part->end() || !list->is_array()) return nullptr;
    for (json& item : *list)
      if (item.is_object() && text_at(item, "type") == "ByteLevel") return &item;
    return nullptr;
  }

  // The special tokens at the beginning and at the end of one text; null for none.
  std::pair<json, json> around() {
    json* part = member("post_processor");
    if (part == nullptr) return {};
    if (part->contains("processors") && (*part)["processors"].is_array())
      for (json& item : (*part)["processors"])
        if (item.is_object() && text_at(item, "type") != "ByteLevel") part = &item;
    if (part->contains("cls") && part->contains("sep"))
      return {name_in((*part)["cls"]), name_in((*part)["sep"])};
    const auto single = part->find("single");
    if (single == part->end() || !single->is_array() || single->empty()) return {};
    return {special_in(single->front()), special_in(single->back())};
  }
  static json name_in(const json& pair) {
    return pair.is_array() && !pair.empty() ? pair[0] : json();
  }
  static json special_in(const json& piece) {
    if (!piece.is_object() || !piece.contains("SpecialToken")) return {};
    const json& token = piece["SpecialToken"];
    return token.is_object() ? token.value("id", json()) : json();
  }

  void around_flag(const char* key, const char* role, const json& token) {
    if (!view_.has(key)) return;
    const std::string name = special_token_name(view_, role, "");
    const bool stated = view_.boolean(key, false);
    if (!name.empty() && stated != (token == name))
      tell(key, stated, str("post_processor with '", name, "'"), token == name, false);
  }

  // These classes put their tokens around texts, whether the file says so or not.
  void add_surroundings() {
    json part = {{"type", "BertProcessing"}};
    for (const auto& [key, role, usual] :
         {std::tuple{"cls", "cls_token", "[CLS]"}, {"sep", "sep_token", "[SEP]"}}) {
      const std::string name = special_token_name(view_, role, usual);
      const json id = id_of(name);
      if (!id.is_number_integer()) return;
      part[key] = {name, id};
    }
    tell("by its tokenizer_class",
         str(part["cls"][0].get<std::string>(), " text ", part["sep"][0].get<std::string>()),
         "post_processor", json(), true);
    content_["post_processor"] = std::move(part);
  }

  // Null for none.
  json id_of(const std::string& token) {
    if (json id = id_in_vocabulary(token); !id.is_null()) return id;
    if (const auto list = content_.find("added_tokens"); list != content_.end() && list->is_array())
      for (const json& item : *list)
        if (item.is_object() && item.value("content", json()) == token)
          return item.value("id", json());
    return {};
  }

  // A token of the configuration against the one that the file puts in its place.
  void differ(const char* role, const std::string& part, const json& token) {
    if (!view_.has(role) || !token.is_string() || token == "") return;
    const std::string name = special_token_name(view_, role, "");
    if (token != name) tell(role, name, part, token, false, one_of(class_, {"PreTrained", ""}));
  }

  void flags(const AddedToken& stated, const AddedToken& there) {
    const auto of = [](const AddedToken& t) {
      return json{{"lstrip", t.lstrip},
                  {"normalized", t.normalized},
                  {"rstrip", t.rstrip},
                  {"single_word", t.single_word},
                  {"special", t.special}};
    };
    if (of(stated) == of(there)) return;
    tell(str("of '", stated.content, "'"), of(stated), "of it", of(there), true);
    for (json& item : content_["added_tokens"])
      if (item["content"] == stated.content) item.update(of(stated));
  }

  // A role's token that the file has without saying that it is special.
  template <class Add>
  void add_role(const char* role, const Add& add) {
    AddedToken token = read_special_token(view_, role, "");
    if (token.content.empty()) return;
    if (!id_in_vocabulary(token.content).is_null())
      add(std::move(token));
    else
      log::warn(str(config_.where, " names the ", role, " '", token.content, "', which ", where_,
                    " does not have: it is not added, as transformers would"));
  }

  // Null for none: {"token": id} says it, of [["token", score]] it is the place.
  json id_in_vocabulary(const std::string& token) {
    const json* model = member("model");
    if (model == nullptr || !model->contains("vocab")) return {};
    const json& vocab = (*model)["vocab"];
    if (vocab.is_object()) return vocab.value(token, json());
    if (!vocab.is_array()) return {};
    const auto found = std::find_if(vocab.begin(), vocab.end(), [&](const json& item) {
      return item.is_array() && !item.empty() && item[0] == token;
    });
    return found == vocab.end() ? json() : json(found - vocab.begin());
  }

  json& content_;
  std::string where_;
  const FolderConfig& config_;
  JsonView view_;
  std::string class_;
};

}  // namespace

std::vector<AddedToken> settle(json& content, const std::string& where,
                               const FolderConfig& config) {
  Settler settler(content, where, config);
  settler.normalizer();
  settler.prefix_space();
  settler.model();
  settler.surroundings();
  return settler.tokens();
}

}  // namespace compress::text
