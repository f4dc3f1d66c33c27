// Tokenizers out of GGUF files.

#include "compress/text/ggml.h"

#include <nlohmann/json.hpp>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "convert.h"
#include "unicode.h"

namespace compress::text {
namespace {

using nlohmann::json;

enum Type : int32_t { kUnknown = 2, kControl = 3, kUserDefined = 4 };

class Converter {
 public:
  Converter(const GgmlTokenizer& parts, const std::string& where)
      : parts_(parts), where_(where), added_(parts.tokens) {
    check();
    for (size_t id = 0; id < parts.types.size(); ++id) {
      const int32_t type = parts.types[id];
      if (type == kControl || type == kUserDefined || type == kUnknown)
        added_.add(parts.tokens[id], type != kUserDefined);
    }
    for (size_t id = 0; id < parts.tokens.size(); ++id) vocab_[parts.tokens[id]] = id;
    if (vocab_.size() != parts.tokens.size()) fail("a token is listed twice");
  }

  json file() const {
    if (parts_.model == "gpt2") return byte_level();
    if (parts_.model == "llama") return sentencepiece();
    fail(str("tokenizer model '", parts_.model, "' is not supported"),
         "supported here: gpt2, llama");
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
    for (int64_t id : {parts_.bos, parts_.eos, parts_.unk, parts_.pad})
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

  const GgmlTokenizer& parts_;
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
