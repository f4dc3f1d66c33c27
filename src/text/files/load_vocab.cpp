// vocab.txt with tokenizer_config.json, as BertTokenizer of `transformers` reads them.

#include <nlohmann/json.hpp>

#include <algorithm>
#include <limits>
#include <set>

#include "compress/base/error.h"
#include "compress/base/lines.h"
#include "compress/base/log.h"
#include "compress/base/strings.h"
#include "files/load.h"
#include "unicode/unicode.h"

namespace compress::text {
namespace {

// Other classes read the file by other rules: BertJapaneseTokenizer splits words by a dictionary.
void check_class(const JsonView& config) {
  static const std::set<std::string> bert_like = {"",
                                                  "Bert",
                                                  "DistilBert",
                                                  "Electra",
                                                  "MobileBert",
                                                  "SqueezeBert",
                                                  "ConvBert",
                                                  "MPNet",
                                                  "LayoutLM",
                                                  "Funnel",
                                                  "Lxmert",
                                                  "Splinter",
                                                  "RetriBert",
                                                  "Realm",
                                                  "Ernie",
                                                  "Nezha",
                                                  "DPRReader",
                                                  "DPRContextEncoder",
                                                  "PreTrained",
                                                  "TokenizersBackend",
                                                  "DPRQuestionEncoder"};
  const std::string hint = "supported here: BertTokenizer and its kind; others with tokenizer.json";
  if (!bert_like.contains(tokenizer_class(config)))
    config.fail(str("vocab.txt of tokenizer class '", config.string("tokenizer_class"),
                    "' is not supported"),
                "tokenizer_class", hint);
  for (const char* key : {"word_tokenizer_type", "subword_tokenizer_type"})
    if (config.has(key)) config.fail(str("vocab.txt with a ", key, " is not supported"), key, hint);
}

struct TokenLines {
  std::vector<std::string> tokens;  // by id
  int64_t count = 0;                // of different tokens, which is the next free id
};

// One token a line, the line's number (from 0) its id. The last of equal tokens has the id, as in
// transformers, and nobody has those of the others.
TokenLines read_tokens(const std::filesystem::path& path) {
  const std::string bytes = read_text(path);
  TokenLines out;
  std::unordered_map<std::string_view, size_t> seen;
  Lines lines(bytes);
  for (std::string_view line; lines.next(line);) {
    const std::string place = str(path.string(), ":", out.tokens.size() + 1);
    if (!valid_utf8(line)) throw Error(ErrorKind::model, "the token is not UTF-8", place);
    auto [entry, fresh] = seen.emplace(line, out.tokens.size());
    if (!fresh) {
      if (!line.empty())
        log::warn(str(place, ": token '", line, "' is also in line ", entry->second + 1,
                      ", whose id nobody has now"));
      out.tokens[entry->second].clear();
      entry->second = out.tokens.size();
    }
    out.tokens.emplace_back(line);
  }
  if (out.tokens.empty()) throw Error(ErrorKind::model, "the vocabulary is empty", path.string());
  out.count = static_cast<int64_t>(seen.size());
  return out;
}

// Tokens that a later version of the model's makers added, {"id": {"content": ...}}, by id.
void read_added_decoder(const JsonView& config, KnownTokens& known) {
  for (const auto& [id, item] : added_tokens_decoder(config))
    known.add(read_added_token(item), id, item);
}

// The id of a special token; one that is not in the vocabulary gets the next id.
int32_t add_special(const JsonView& config, AddedToken token, KnownTokens& known) {
  const std::string name = token.content;
  if (std::none_of(known.added.begin(), known.added.end(),
                   [&](const AddedToken& other) { return other.content == name; }))
    known.add(std::move(token), -1, config);
  return known.find(name);
}

SpecialIds read_special(const JsonView& config, const std::filesystem::path& path, size_t words,
                        KnownTokens& known) {
  SpecialIds special;
  auto role = [&](const char* key, const char* usual, bool required) {
    AddedToken token = read_special_token(config, key, usual);
    const std::string name = token.content;
    const bool there = known.find(name) >= 0;
    const int32_t id = add_special(config, std::move(token), known);
    if (required && (!there || id >= static_cast<int32_t>(words)))
      throw Error(ErrorKind::model, str("the ", key, " '", name, "' is not in the vocabulary"),
                  path.string());
    return id;
  };
  special.unk = role("unk_token", "[UNK]", true);
  special.sep = role("sep_token", "[SEP]", true);
  special.pad = role("pad_token", "[PAD]", false);
  special.cls = role("cls_token", "[CLS]", true);
  special.mask = role("mask_token", "[MASK]", false);
  for (AddedToken& token : listed_special_tokens(config))
    add_special(config, std::move(token), known);
  return special;
}

}  // namespace

std::unique_ptr<Tokenizer> read_vocab_txt(const std::filesystem::path& path,
                                          const JsonView& config) {
  check_class(config);
  WordPieceParts parts;
  TokenLines lines = read_tokens(path);
  parts.vocabulary = std::move(lines.tokens);
  KnownTokens known(parts.vocabulary, lines.count);

  parts.normalizer.lowercase = config.boolean("do_lower_case", true);
  parts.normalizer.strip_accents = config.boolean("strip_accents", parts.normalizer.lowercase);
  parts.normalizer.handle_chinese_chars = config.boolean("tokenize_chinese_chars", true);
  parts.decoder = WordPieceParts::Decoder{};
  read_added_decoder(config, known);
  parts.special = read_special(config, path, parts.vocabulary.size(), known);
  parts.added = std::move(known.added);
  TemplatePiece cls{TemplatePiece::special, parts.special.cls, 0};
  TemplatePiece sep{TemplatePiece::special, parts.special.sep, 0};
  TemplatePiece end{TemplatePiece::special, parts.special.sep, 1};
  TemplatePiece a{TemplatePiece::first}, b{TemplatePiece::second, -1, 1};
  parts.pattern.single = {cls, a, sep};
  parts.pattern.pair = {cls, a, sep, b, end};
  settle_segments(config, parts.pattern);
  return std::make_unique<WordPiece>(std::move(parts), path.string());
}

}  // namespace compress::text
