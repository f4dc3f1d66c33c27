// tokenizer.json.

#include "load.h"

#include <nlohmann/json.hpp>

#include <limits>

#include "compress/base/error.h"
#include "compress/base/strings.h"

namespace compress::text {
namespace {

using nlohmann::json;
using Ids = std::unordered_map<std::string, int32_t>;

constexpr int64_t kMaxId = std::numeric_limits<int32_t>::max();

// The component's type; "none" when it is absent or null.
std::string type_of(const JsonView& file, const std::string& component) {
  return file.has(component) ? file.at(component).string("type") : "none";
}

[[noreturn]] void unsupported(const JsonView& file, const std::string& component,
                              const std::string& type, const std::string& supported) {
  file.fail(str(component, " '", type, "' is not supported"), component,
            str("supported here: ", supported));
}

NormalizerOptions read_normalizer(const JsonView& file) {
  std::string type = type_of(file, "normalizer");
  if (type == "none") return {false, false, false, false};
  if (type != "BertNormalizer") unsupported(file, "normalizer", type, "BertNormalizer or none");
  JsonView view = file.at("normalizer");
  NormalizerOptions options;
  options.clean_text = view.boolean("clean_text", true);
  options.handle_chinese_chars = view.boolean("handle_chinese_chars", true);
  options.lowercase = view.boolean("lowercase", true);
  options.strip_accents = view.boolean("strip_accents", options.lowercase);
  return options;
}

Ids read_vocabulary(const JsonView& model, WordPieceParts& parts) {
  JsonView view = model.at("vocab");
  const json& vocab = view.value();
  if (!vocab.is_object()) view.fail("an object of token to id is expected here");
  if (vocab.empty()) view.fail("the vocabulary is empty");
  int64_t size = static_cast<int64_t>(vocab.size());
  if (size > kMaxId) view.fail("the vocabulary is too large");
  parts.vocabulary.resize(vocab.size());
  std::vector<bool> taken(vocab.size());
  Ids ids;
  for (const auto& [token, value] : vocab.items()) {
    bool good = value.is_number_unsigned() && value.get<uint64_t>() < vocab.size();
    if (!good)
      view.fail(str("token '", token, "' has id ", value.dump(), "; ids must be 0 to ", size - 1,
                    ", each once"));
    size_t id = value.get<size_t>();
    if (taken[id])
      view.fail(
          str("id ", id, " belongs to two tokens, '", parts.vocabulary[id], "' and '", token, "'"));
    taken[id] = true;
    parts.vocabulary[id] = token;
    ids.emplace(token, static_cast<int32_t>(id));
  }
  return ids;
}

Ids read_model(const JsonView& file, WordPieceParts& parts) {
  JsonView model = file.at("model");
  std::string type = model.has("type") ? model.string("type") : "without a type";
  if (type != "WordPiece") unsupported(file, "model", type, "WordPiece");
  Ids ids = read_vocabulary(model, parts);
  std::string unk = model.string("unk_token");
  auto found = ids.find(unk);
  if (found == ids.end()) model.fail(str("'", unk, "' is not in the vocabulary"), "unk_token");
  parts.special.unk = found->second;
  parts.prefix = model.string("continuing_subword_prefix");
  parts.max_input_chars = model.integer("max_input_chars_per_word", 0, kMaxId);
  return ids;
}

void read_added_tokens(const JsonView& file, Ids& ids, WordPieceParts& parts) {
  if (!file.has("added_tokens")) return;
  for (const JsonView& view : file.at("added_tokens").items()) {
    AddedToken token;
    token.content = view.string("content");
    token.special = view.boolean("special", false);
    token.single_word = view.boolean("single_word", false);
    token.lstrip = view.boolean("lstrip", false);
    token.rstrip = view.boolean("rstrip", false);
    token.normalized = view.boolean("normalized", !token.special);
    add_token(parts, ids, token, view.integer("id", 0, kMaxId), view);
  }
}

int32_t checked_id(const JsonView& place, const json& value, size_t size) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() >= size)
    place.fail(str("id ", value.dump(), " is not in the vocabulary of ", size, " tokens"));
  return value.get<int32_t>();
}

// Special token pieces may stand for several ids: one piece each.
void append_special(const JsonView& processor, const std::string& name, int32_t segment,
                    size_t size, std::vector<TemplatePiece>& out) {
  JsonView tokens = processor.at("special_tokens");
  if (!tokens.has(name)) tokens.fail(str("the template's '", name, "' is not defined"));
  JsonView ids = tokens.at(name).at("ids");
  for (const json& id : ids.value())
    out.push_back({TemplatePiece::special, checked_id(ids, id, size), segment});
}

std::vector<TemplatePiece> read_pieces(const JsonView& processor, const std::string& key, bool pair,
                                       size_t size) {
  std::vector<TemplatePiece> out;
  int firsts = 0, seconds = 0;
  int64_t segment = 0;
  for (const JsonView& piece : processor.at(key).items()) {
    bool special = piece.has("SpecialToken");
    JsonView inner = piece.at(special ? "SpecialToken" : "Sequence");
    std::string id = inner.string("id");
    segment = inner.integer("type_id", segment, 1);  // so that segments are 0s, then 1s
    if (special) {
      append_special(processor, id, static_cast<int32_t>(segment), size, out);
    } else if (id == "A") {
      out.push_back({TemplatePiece::first, -1, static_cast<int32_t>(segment)});
      ++firsts;
    } else if (id == "B") {
      out.push_back({TemplatePiece::second, -1, static_cast<int32_t>(segment)});
      ++seconds;
    } else {
      inner.fail("sequence A or B is expected here", "id");
    }
  }
  if (firsts != 1 || seconds != (pair ? 1 : 0))
    processor.fail(
        pair ? "the template must use A and B once each" : "the template must use A once and not B",
        key);
  return out;
}

Template read_processor(const JsonView& file, size_t size) {
  Template out;
  std::string type = type_of(file, "post_processor");
  if (type == "none") return out;
  if (type == "TemplateProcessing") {
    JsonView view = file.at("post_processor");
    out.single = read_pieces(view, "single", false, size);
    out.pair = read_pieces(view, "pair", true, size);
    return out;
  }
  if (type != "BertProcessing")
    unsupported(file, "post_processor", type, "TemplateProcessing, BertProcessing or none");
  JsonView view = file.at("post_processor");
  auto special = [&](const std::string& key, int32_t segment) {
    JsonView token = view.at(key);
    if (!token.value().is_array() || token.value().size() != 2)
      token.fail("[token, id] is expected");
    return TemplatePiece{TemplatePiece::special, checked_id(token, token.value()[1], size),
                         segment};
  };
  TemplatePiece a{TemplatePiece::first}, b{TemplatePiece::second, -1, 1};
  out.single = {special("cls", 0), a, special("sep", 0)};
  out.pair = {special("cls", 0), a, special("sep", 0), b, special("sep", 1)};
  return out;
}

std::optional<WordPieceParts::Decoder> read_decoder(const JsonView& file) {
  std::string type = type_of(file, "decoder");
  if (type == "none") return std::nullopt;
  if (type != "WordPiece") unsupported(file, "decoder", type, "WordPiece or none");
  JsonView view = file.at("decoder");
  return WordPieceParts::Decoder{view.string("prefix"), view.boolean("cleanup", true)};
}

// Roles are named by tokenizer_config.json, by BERT's usual names without it.
void read_roles(const std::filesystem::path& path, const Ids& ids, WordPieceParts& parts) {
  json config = json::object();
  if (std::filesystem::exists(path)) config = parse_json_file(path);
  JsonView view(config, path.string(), "");
  auto role = [&](const char* key, const char* usual) {
    auto found = ids.find(special_token_name(view, key, usual));
    return found == ids.end() ? -1 : found->second;
  };
  parts.special.pad = role("pad_token", "[PAD]");
  parts.special.cls = role("cls_token", "[CLS]");
  parts.special.sep = role("sep_token", "[SEP]");
  parts.special.mask = role("mask_token", "[MASK]");
}

}  // namespace

WordPieceParts read_tokenizer_json(const std::filesystem::path& path) {
  const json content = parse_json_file(path);
  JsonView file(content, path.string(), "");
  if (file.has("version") && file.string("version") != "1.0")
    unsupported(file, "version", file.string("version"), "1.0");
  WordPieceParts parts;
  Ids ids = read_model(file, parts);
  parts.normalizer = read_normalizer(file);
  std::string splitter = type_of(file, "pre_tokenizer");
  if (splitter != "BertPreTokenizer")
    unsupported(file, "pre_tokenizer", splitter, "BertPreTokenizer");
  read_added_tokens(file, ids, parts);
  parts.pattern = read_processor(file, ids.size());
  parts.decoder = read_decoder(file);
  read_roles(path.parent_path() / "tokenizer_config.json", ids, parts);
  return parts;
}

}  // namespace compress::text
