// Tokenizers out of GGUF files.

#include "compress/text/ggml.h"

#include <nlohmann/json.hpp>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "files/convert.h"
#include "unicode/unicode.h"

namespace compress::text {
namespace {

using nlohmann::json;

enum Type : int32_t { unknown = 2, control = 3, user_defined = 4 };

// A token of WordPiece as BERT's vocabulary spells it: converters to GGUF put U+2581 before what
// begins a word and take "##" from what does not.
std::string as_wordpiece(const std::string& token, int32_t type) {
  static const std::string mark = "\u2581";
  const bool bracketed = token.size() > 2 && token.front() == '[' && token.back() == ']';
  if (type == control || bracketed) return token;
  if (token.size() > mark.size() && starts_with(token, mark)) return token.substr(mark.size());
  return "##" + token;
}

GgmlTokenizer respelt(GgmlTokenizer parts) {
  if (parts.model != "bert") return parts;
  for (size_t id = 0; id < parts.tokens.size(); ++id)
    parts.tokens[id] =
        as_wordpiece(parts.tokens[id], id < parts.types.size() ? parts.types[id] : 1);
  return parts;
}

class Converter {
 public:
  Converter(const GgmlTokenizer& parts, const std::string& where)
      : parts_(respelt(parts)), where_(where), added_(parts_.tokens) {
    check();
    for (size_t id = 0; id < parts_.types.size(); ++id) {
      const int32_t type = parts_.types[id];
      if (type == control || type == user_defined || type == unknown)
        added_.add(parts_.tokens[id], type != user_defined);
    }
    for (size_t id = 0; id < parts_.tokens.size(); ++id) vocab_[parts_.tokens[id]] = id;
    if (vocab_.size() != parts_.tokens.size()) fail("a token is listed twice");
    if (parts_.model == "bert") find_roles();
  }

  json file() const {
    if (parts_.model == "gpt2") return byte_level();
    if (parts_.model == "llama") return sentencepiece();
    if (parts_.model == "bert") return wordpiece();
    fail(str("tokenizer model '", parts_.model, "' is not supported"),
         "supported here: gpt2, llama, bert");
  }

  json config() const {
    json out = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                {"clean_up_tokenization_spaces", false}};
    auto role = [&](const char* key, int64_t id) {
      if (id >= 0) out[key] = parts_.tokens[static_cast<size_t>(id)];
    };
    role("bos_token", parts_.bos);
    role("eos_token", parts_.eos);
    role("unk_token", parts_.unk);
    role("pad_token", parts_.pad);
    role("cls_token", parts_.cls);
    role("sep_token", parts_.sep);
    role("mask_token", parts_.mask);
    return out;
  }

 private:
  [[noreturn]] void fail(const std::string& what, const std::string& hint = {}) const {
    throw Error(ErrorKind::model, what, where_, hint);
  }

  void check() const {
    const size_t size = parts_.tokens.size();
    if (size == 0) fail("the vocabulary is empty");
    if (!parts_.types.empty() && parts_.types.size() != size)
      fail(str(parts_.types.size(), " token types for ", size, " tokens"));
    if (!parts_.scores.empty() && parts_.scores.size() != size)
      fail(str(parts_.scores.size(), " scores for ", size, " tokens"));
    for (int64_t id :
         {parts_.bos, parts_.eos, parts_.unk, parts_.pad, parts_.cls, parts_.sep, parts_.mask})
      if (id < -1 || id >= static_cast<int64_t>(size))
        fail(str("special token id ", id, " is not in the vocabulary of ", size, " tokens"));
    for (const auto* list : {&parts_.tokens, &parts_.merges})
      for (const std::string& text : *list)
        if (!valid_utf8(text)) fail("a token or merge is not UTF-8");
    for (const std::string& token : parts_.tokens)
      if (token.empty()) fail("a token is empty");
  }

  json around(bool add_bos) const {
    auto name = [&](bool wanted, int64_t id) {
      if (wanted && id < 0) fail("a special token is to be added that the file does not name");
      return wanted ? parts_.tokens[static_cast<size_t>(id)] : std::string();
    };
    return bos_eos_template(name(parts_.add_bos.value_or(add_bos), parts_.bos),
                            name(parts_.add_eos, parts_.eos), added_);
  }

  json byte_level() const {
    const json bytes = byte_level_json(false, true, false);
    json normalizer, splitter,
        model = {{"type", "BPE"},
                 {"unk_token", nullptr},
                 {"ignore_merges", false},
                 {"merges", parts_.merges}};
    bool add_bos = false;
    if (parts_.pre == "gpt-2" || parts_.pre == "gpt2") {
      splitter = byte_level_json(false, true, true);
    } else if (parts_.pre == "smollm") {
      splitter = {{"type", "Sequence"},
                  {"pretokenizers",
                   {{{"type", "Digits"}, {"individual_digits", true}},
                    byte_level_json(false, true, true)}}};
    } else if (parts_.pre == "llama-bpe" || parts_.pre == "llama3" || parts_.pre == "llama-v3") {
      splitter = {{"type", "Sequence"},
                  {"pretokenizers", {split_json(expression_of(WordPattern::llama3)), bytes}}};
      model["ignore_merges"] = true;
      add_bos = parts_.bos >= 0;
    } else if (parts_.pre == "qwen2") {
      normalizer = {{"type", "NFC"}};
      splitter = {{"type", "Sequence"},
                  {"pretokenizers", {split_json(expression_of(WordPattern::qwen2)), bytes}}};
    } else {
      fail(str("pre-tokenizer '", parts_.pre, "' is not supported"),
           "supported here: gpt-2, smollm, llama-bpe, qwen2");
    }
    model["vocab"] = vocab_;
    return file_json(normalizer, splitter, around(add_bos), byte_level_json(true, true, true),
                     std::move(model), added_.list());
  }

  json sentencepiece() const {
    json merges = json::array();
    for (const auto& [left, right] : merges_of_pieces(parts_.tokens, parts_.scores))
      merges.push_back({left, right});
    json unk;
    if (parts_.unk >= 0) unk = parts_.tokens[static_cast<size_t>(parts_.unk)];
    json model = {{"type", "BPE"},         {"unk_token", unk},       {"fuse_unk", true},
                  {"byte_fallback", true}, {"ignore_merges", false}, {"merges", std::move(merges)}};
    model["vocab"] = vocab_;
    const char* scheme = parts_.add_space_prefix ? "first" : "never";
    return file_json(nullptr, metaspace_json(scheme, false), around(parts_.bos >= 0),
                     byte_fallback_decoder_json(parts_.add_space_prefix), std::move(model),
                     added_.list());
  }

  // Roles that a file does not name are those of BERT's usual tokens.
  void find_roles() {
    for (auto [id, name] : {std::pair{&parts_.unk, "[UNK]"}, std::pair{&parts_.cls, "[CLS]"},
                            std::pair{&parts_.sep, "[SEP]"}, std::pair{&parts_.pad, "[PAD]"},
                            std::pair{&parts_.mask, "[MASK]"}}) {
      if (*id < 0 && vocab_.contains(name)) *id = vocab_[name].get<int64_t>();
      if (*id >= 0) added_.add(parts_.tokens[static_cast<size_t>(*id)], true);
    }
    for (auto [id, name] : {std::pair{parts_.unk, "[UNK]"}, std::pair{parts_.cls, "[CLS]"},
                            std::pair{parts_.sep, "[SEP]"}})
      if (id < 0) fail(str("the vocabulary has no token ", name));
  }

  json wordpiece() const {
    auto token = [&](int64_t id) { return parts_.tokens[static_cast<size_t>(id)]; };
    const std::string cls = token(parts_.cls), sep = token(parts_.sep);
    const json normalizer = {{"type", "BertNormalizer"},
                             {"clean_text", true},
                             {"handle_chinese_chars", true},
                             {"strip_accents", nullptr},
                             {"lowercase", parts_.lowercase}};
    json model = {{"type", "WordPiece"},
                  {"unk_token", token(parts_.unk)},
                  {"continuing_subword_prefix", "##"},
                  {"max_input_chars_per_word", 100}};
    model["vocab"] = vocab_;
    return file_json(normalizer, {{"type", "BertPreTokenizer"}},
                     template_json({cls, "$A", sep}, {cls, "$A", sep, "$B", sep}, true, added_),
                     {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}}, std::move(model),
                     added_.list());
  }

  GgmlTokenizer parts_;
  const std::string& where_;
  AddedTokenList added_;
  json vocab_ = json::object();
};

}  // namespace

std::unique_ptr<Tokenizer> load_ggml_tokenizer(const GgmlTokenizer& parts,
                                               const std::string& where) {
  const Converter converter(parts, where);
  return build_tokenizer(converter.file(), converter.config(), where, where);
}

TokenizerFiles ggml_tokenizer_files(const GgmlTokenizer& parts, const std::string& where) {
  const Converter converter(parts, where);
  return {converter.file().dump(), converter.config().dump(2) + "\n"};
}

}  // namespace compress::text
