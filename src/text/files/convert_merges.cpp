// vocab.json with merges.txt: GPT-2, RoBERTa and Qwen2.

#include <nlohmann/json.hpp>

#include "compress/base/error.h"
#include "compress/base/lines.h"
#include "compress/base/strings.h"
#include "files/convert.h"
#include "unicode/unicode.h"

namespace compress::text {
namespace {

using nlohmann::json;

std::unordered_map<std::string, int32_t> ids_of(const JsonView& vocab) {
  std::unordered_map<std::string, int32_t> ids;
  for (const auto& [token, unused] : vocab.value().items())
    ids.emplace(token, static_cast<int32_t>(vocab.integer(token, 0, INT32_MAX)));
  return ids;
}

json merge_lines(const std::filesystem::path& path) {
  const std::string bytes = read_text(path);
  json out = json::array();
  Lines lines(bytes);
  for (std::string_view line; lines.next(line);) {
    if (line.empty() || line.starts_with("#version")) continue;
    const size_t space = line.find(' ');
    if (!valid_utf8(line) || space == line.npos || line.find(' ', space + 1) != line.npos)
      throw Error(ErrorKind::model, "a merge is two tokens with a space between them",
                  str(path.string(), ":", lines.number()));
    out.push_back({line.substr(0, space), line.substr(space + 1)});
  }
  return out;
}

std::string tokenizer_class(const JsonView& config, const json& vocab) {
  const std::string name = tokenizer_class(config);
  return !name.empty() ? name : vocab.contains("<s>") ? "Roberta" : "GPT2";
}

struct MergesFamily {
  json normalizer, pre_tokenizer, post_processor;
};

void add_roles(AddedTokenList& tokens, const JsonView& config, const UsualNames& usual) {
  tokens.add_decoder(config);
  tokens.add_roles(config, usual);
  tokens.add_additional(config);
}

MergesFamily roberta(const JsonView& config, AddedTokenList& tokens) {
  add_roles(tokens, config, usual_names_of_roberta());
  const bool prefix = config.boolean("add_prefix_space", false);
  const std::string sep = special_token_name(config, "sep_token", "</s>");
  const std::string cls = special_token_name(config, "cls_token", "<s>");
  return {nullptr,
          byte_level_json(prefix, true, true),
          {{"type", "RobertaProcessing"},
           {"sep", {sep, tokens.find(sep)}},
           {"cls", {cls, tokens.find(cls)}},
           {"trim_offsets", config.boolean("trim_offsets", true)},
           {"add_prefix_space", prefix}}};
}

MergesFamily gpt2(const JsonView& config, AddedTokenList& tokens, bool qwen2) {
  const char* end = "<|endoftext|>";
  if (qwen2)
    add_roles(tokens, config, {{"eos", end}, {"unk", end}, {"pad", end}});
  else
    add_roles(tokens, config, {{"bos", end}, {"eos", end}, {"unk", end}});
  auto around = [&](const char* flag, const char* key) {
    return config.boolean(flag, false) ? special_token_name(config, key, qwen2 ? "" : end)
                                       : std::string();
  };
  json processor = bos_eos_template(around("add_bos_token", "bos_token"),
                                    around("add_eos_token", "eos_token"), tokens);
  const bool prefix = config.boolean("add_prefix_space", false);
  if (!qwen2) return {nullptr, byte_level_json(prefix, true, true), processor};
  return {{{"type", "NFC"}},
          {{"type", "Sequence"},
           {"pretokenizers",
            {split_json(expression_of(WordPattern::qwen2)), byte_level_json(prefix, true, false)}}},
          processor};
}

}  // namespace

json convert_vocab_and_merges(const std::filesystem::path& folder, const JsonView& config) {
  const std::filesystem::path vocab_path = folder / "vocab.json";
  json vocab = parse_json_file(vocab_path);
  if (vocab.empty()) throw Error(ErrorKind::model, "the vocabulary is empty", vocab_path.string());
  AddedTokenList tokens(ids_of({vocab, vocab_path.string(), ""}));
  const std::string name = tokenizer_class(config, vocab);
  MergesFamily family;
  if (name == "Roberta" || name == "Bart" || name == "Longformer" || name == "LED")
    family = roberta(config, tokens);
  else if (name == "GPT2" || name == "Qwen2")
    family = gpt2(config, tokens, name == "Qwen2");
  else
    config.fail(str("vocab.json with merges.txt of tokenizer class '", name, "' is not supported"),
                "tokenizer_class",
                "supported here: GPT2Tokenizer, RobertaTokenizer, Qwen2Tokenizer; others with "
                "tokenizer.json");
  json model = {{"type", "BPE"}, {"merges", merge_lines(folder / "merges.txt")}};
  model["vocab"] = std::move(vocab);
  return file_json(family.normalizer, family.pre_tokenizer, family.post_processor,
                   byte_level_json(true, true, true), std::move(model), tokens.list());
}

}  // namespace compress::text
