// SentencePiece models with the ids of T5, XLM-R and Llama.

#include <nlohmann/json.hpp>
#include <stdexcept>

#include "compress/base/base64.h"
#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/strings.h"
#include "files/convert.h"
#include "files/sentencepiece_file.h"

namespace compress::text {
namespace {

using nlohmann::json;
using Model = SentencePieceModel;

enum class Family { t5, xlm_roberta, llama };

Family family_of(const JsonView& config, const std::filesystem::path& file) {
  if (!config.has("tokenizer_class")) {
    const std::string name = file.filename().string();
    return name == "spiece.model"              ? Family::t5
           : name == "sentencepiece.bpe.model" ? Family::xlm_roberta
                                               : Family::llama;
  }
  std::string name = config.string("tokenizer_class");
  if (name.ends_with("Fast")) name.resize(name.size() - 4);
  if (name == "T5Tokenizer" || name == "MT5Tokenizer") return Family::t5;
  if (name == "XLMRobertaTokenizer") return Family::xlm_roberta;
  if (name == "LlamaTokenizer") return Family::llama;
  config.fail(str("a SentencePiece model of tokenizer class '", name, "' is not supported"),
              "tokenizer_class",
              "supported here: T5Tokenizer, XLMRobertaTokenizer, LlamaTokenizer; others with "
              "tokenizer.json");
}

// Special tokens of the configuration by their role, then what the model itself calls control or
// user defined symbols.
void add_special_pieces(const JsonView& config, const Model& model, const UsualNames& usual,
                        AddedTokenList& tokens) {
  tokens.add_decoder(config);
  tokens.add_roles(config, usual);
  for (const Model::Piece& piece : model.pieces)
    if (piece.type == Model::control || piece.type == Model::user_defined)
      if (tokens.find(piece.text) >= 0) tokens.add(piece.text, piece.type == Model::control);
  tokens.add_additional(config);
}

json charsmap_json(const Model& model) {
  if (model.charsmap.empty()) return nullptr;
  return {{"type", "Precompiled"}, {"precompiled_charsmap", encode_base64(model.charsmap)}};
}

json words_then_metaspace(const std::string& scheme) {
  return {{"type", "Sequence"},
          {"pretokenizers", {{{"type", "WhitespaceSplit"}}, metaspace_json(scheme, true)}}};
}

struct PieceList {
  std::vector<std::string> tokens;
  json entries = json::array();  // [piece, score]
  void add(const std::string& token, double score) {
    tokens.push_back(token);
    entries.push_back({token, score});
  }
};

json unigram_json(const PieceList& vocabulary, int64_t unk) {
  return {{"type", "Unigram"},
          {"unk_id", unk},
          {"vocab", vocabulary.entries},
          {"byte_fallback", false}};
}

json convert_t5(const Model& model, const JsonView& config) {
  const int64_t extra =
      config.has("extra_ids") ? config.integer("extra_ids", 0, 100'000) : int64_t{100};
  PieceList vocabulary;
  for (const Model::Piece& piece : model.pieces) vocabulary.add(piece.text, piece.score);
  for (int64_t i = extra - 1; i >= 0; --i) vocabulary.add(str("<extra_id_", i, ">"), 0);
  AddedTokenList tokens(vocabulary.tokens);
  add_special_pieces(config, model, {{"eos", "</s>"}, {"unk", "<unk>"}, {"pad", "<pad>"}}, tokens);
  for (int64_t i = 0; i < extra; ++i) tokens.add(str("<extra_id_", i, ">"), true);
  const std::string eos = special_token_name(config, "eos_token", "</s>");
  return file_json(charsmap_json(model), words_then_metaspace("always"),
                   template_json({"$A", eos}, {"$A", eos, "$B", eos}, false, tokens),
                   metaspace_json("always", true), unigram_json(vocabulary, 2), tokens.list());
}

json convert_xlm_roberta(const Model& model, const JsonView& config) {
  auto name = [&](const char* key, const char* usual) {
    return special_token_name(config, key, usual);
  };
  PieceList vocabulary;
  vocabulary.add(name("bos_token", "<s>"), 0);
  vocabulary.add(name("pad_token", "<pad>"), 0);
  vocabulary.add(name("eos_token", "</s>"), 0);
  vocabulary.add(name("unk_token", "<unk>"), 0);
  for (size_t id = 3; id < model.pieces.size(); ++id)
    vocabulary.add(model.pieces[id].text, model.pieces[id].score);
  vocabulary.add(name("mask_token", "<mask>"), 0);
  AddedTokenList tokens(vocabulary.tokens);
  add_special_pieces(config, model, usual_names_of_roberta(), tokens);
  const std::string bos = vocabulary.tokens[0], eos = vocabulary.tokens[2];
  const char* scheme = config.boolean("add_prefix_space", true) ? "always" : "never";
  return file_json(charsmap_json(model), words_then_metaspace(scheme),
                   template_json({bos, "$A", eos}, {bos, "$A", eos, eos, "$B", eos}, false, tokens),
                   metaspace_json(scheme, true), unigram_json(vocabulary, 3), tokens.list());
}

json convert_llama(const Model& model, const JsonView& config) {
  std::vector<std::string> pieces;
  json vocab = json::object(), merges = json::array();
  for (const Model::Piece& piece : model.pieces) {
    vocab[piece.text] = pieces.size();
    pieces.push_back(piece.text);
  }
  for (const auto& [left, right] : merges_of_pieces(pieces, {})) merges.push_back({left, right});
  AddedTokenList tokens(pieces);
  add_special_pieces(config, model, {{"bos", "<s>"}, {"eos", "</s>"}, {"unk", "<unk>"}}, tokens);
  const bool prefix = config.boolean("add_prefix_space", true);
  const char* scheme = !prefix ? "never" : config.boolean("legacy", false) ? "always" : "first";
  auto around = [&](const char* flag, const char* key, const char* usual) {
    return config.boolean(flag, false) ? special_token_name(config, key, usual) : std::string();
  };
  json bpe = {{"type", "BPE"},         {"fuse_unk", true},
              {"byte_fallback", true}, {"vocab", std::move(vocab)},
              {"unk_token", nullptr},  {"merges", std::move(merges)}};
  return file_json(nullptr, metaspace_json(scheme, false),
                   bos_eos_template(around("add_bos_token", "bos_token", "<s>"),
                                    around("add_eos_token", "eos_token", "</s>"), tokens),
                   byte_fallback_decoder_json(prefix), std::move(bpe), tokens.list());
}

}  // namespace

json convert_sentencepiece(const std::filesystem::path& file, const JsonView& config) {
  return convert_sentencepiece(read_file(file, file_limit), file, config);
}

json convert_sentencepiece(std::string_view bytes, const std::filesystem::path& file,
                           const JsonView& config) {
  Model model;
  try {
    model = parse_sentencepiece(bytes);
  } catch (const std::invalid_argument& e) {
    throw Error(ErrorKind::model, str("the file is not a SentencePiece model: ", e.what()),
                file.string());
  }
  const Family family = family_of(config, file);
  const int32_t expected = family == Family::llama ? 2 : 1;
  if (model.model_type != expected)
    throw Error(ErrorKind::model,
                str("a SentencePiece model of type ", model.model_type,
                    " is not supported for this tokenizer class, only type ", expected,
                    expected == 1 ? " (unigram)" : " (BPE)"),
                file.string());
  if (family == Family::xlm_roberta && model.pieces.size() < 3)
    throw Error(ErrorKind::model, "the SentencePiece model has fewer than three pieces",
                file.string());
  return family == Family::t5            ? convert_t5(model, config)
         : family == Family::xlm_roberta ? convert_xlm_roberta(model, config)
                                         : convert_llama(model, config);
}

}  // namespace compress::text
