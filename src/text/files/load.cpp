// tokenizer.json.

#include "files/load.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "compress/base/error.h"
#include "compress/base/log.h"
#include "compress/base/strings.h"

namespace compress::text {
namespace {

using nlohmann::json;

// The component's type; "none" when it is absent or null.
std::string type_of(const JsonView& file, const std::string& component) {
  return file.has(component) ? file.at(component).string("type") : "none";
}

// Whether the parts are BERT's, which have a faster implementation.
bool is_bert(const JsonView& file) {
  auto is = [&](const char* component, std::initializer_list<const char*> types) {
    const std::string type = type_of(file, component);
    return std::any_of(types.begin(), types.end(), [&](const char* t) { return type == t; });
  };
  return model_type(file) == "WordPiece" && is("normalizer", {"BertNormalizer", "none"}) &&
         is("pre_tokenizer", {"BertPreTokenizer"}) && is("decoder", {"WordPiece", "none"}) &&
         is("post_processor", {"TemplateProcessing", "BertProcessing", "none"});
}

// Roles are named by tokenizer_config.json, by the usual names without it.
SpecialIds read_roles(const JsonView& config, const KnownTokens& known, int32_t unk) {
  auto role = [&](const char* key, std::initializer_list<const char*> usual) {
    if (config.has(key)) return known.find(special_token_name(config, key, ""));
    for (const char* name : usual)
      if (int32_t id = known.find(name); id >= 0) return id;
    return -1;
  };
  SpecialIds ids;
  ids.unk = unk >= 0 ? unk : role("unk_token", {"[UNK]", "<unk>"});
  ids.pad = role("pad_token", {"[PAD]", "<pad>"});
  ids.cls = role("cls_token", {"[CLS]"});
  ids.sep = role("sep_token", {"[SEP]"});
  ids.mask = role("mask_token", {"[MASK]", "<mask>"});
  ids.bos = role("bos_token", {"<s>"});
  ids.eos = role("eos_token", {"</s>", "<|endoftext|>"});
  return ids;
}

std::unique_ptr<Tokenizer> build_bert(const JsonView& file, ModelParts model, KnownTokens known,
                                      Template pattern, SpecialIds special) {
  WordPieceParts parts;
  parts.vocabulary = std::move(model.vocabulary);
  parts.added = std::move(known.added);
  parts.normalizer = type_of(file, "normalizer") == "none"
                         ? NormalizerOptions{false, false, false, false}
                         : read_bert_normalizer(file.at("normalizer"));
  parts.pattern = std::move(pattern);
  parts.special = special;
  parts.prefix = model.wordpiece.prefix;
  parts.max_input_chars = model.wordpiece.max_input_chars;
  if (file.has("decoder")) {
    const JsonView view = file.at("decoder");
    parts.decoder = WordPieceParts::Decoder{view.string("prefix"), view.boolean("cleanup", true)};
  }
  return std::make_unique<WordPiece>(std::move(parts), file.where());
}

// The normalizer and the pre-tokenizer as the file states them.
std::string describe(const JsonView& file) {
  json parts = json::array();
  for (const char* component : {"normalizer", "pre_tokenizer"})
    parts.push_back(file.has(component) ? file.value()[component] : json());
  return parts.dump();
}

}  // namespace

std::unique_ptr<Tokenizer> build_tokenizer(const json& content, const json& config,
                                           const std::string& where,
                                           const std::string& config_where,
                                           std::vector<AddedToken> more) {
  const JsonView file(content, where, ""), roles(config, config_where, "");
  if (file.has("version") && file.string("version") != "1.0")
    file.fail(str("version '", file.string("version"), "' is not supported"), "version",
              "supported here: 1.0");
  SplitterParts splitter = read_splitter(file);
  ModelParts model = read_model(file, splitter.bytes_last);
  KnownTokens known(model.vocabulary, model.count);
  if (file.has("added_tokens"))
    for (const JsonView& view : file.at("added_tokens").items())
      known.add(read_added_token(view), view.integer("id", 0, max_id), view);
  for (AddedToken& token : more) {
    const int32_t stated = token.id;
    const std::string name = token.content;
    known.add(std::move(token), -1, roles);
    if (stated >= 0 && stated != known.find(name))
      log::warn(str(config_where, " says that '", name, "' has id ", stated, " and ", where,
                    " gives it id ", known.find(name), ": the latter counts"));
  }
  ProcessorParts processor = read_processor(file, std::max(known.size(), model.vocabulary.size()));
  settle_segments(roles, processor.pattern);
  const SpecialIds special = read_roles(roles, known, model.unk);
  if (is_bert(file))
    return build_bert(file, std::move(model), std::move(known), std::move(processor.pattern),
                      special);
  GeneralParts parts;
  parts.vocabulary = std::move(model.vocabulary);
  parts.added = std::move(known.added);
  parts.normalizer = read_normalizer(file);
  parts.splitter = std::move(splitter.stages);
  if (splitter.bytes_last && !model.bytes) parts.splitter.push_back(map_bytes());
  parts.model = std::move(model.model);
  parts.decoder = read_decoder(file);
  parts.pattern = std::move(processor.pattern);
  parts.trims = std::move(processor.trims);
  parts.special = special;
  parts.word_mark = std::move(model.word_mark);
  parts.description = describe(file);
  return std::make_unique<GeneralTokenizer>(std::move(parts), where);
}

}  // namespace compress::text
