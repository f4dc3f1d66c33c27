// Encodes lines for test_tokenizer*.py. Usage: encode_lines MODEL [--plain | --packed] < in > out
// MODEL is a folder, or a file *.ggml.json with what a GGUF file says of its tokenizer.
//        encode_lines --train wordpiece|bpe|unigram|sentencepiece-bpe SIZE FOLDER < lines
//        encode_lines FOLDER --trim TIMES OUT < lines > ids
// With --trim: writes the tokenizer with the tokens that the lines have so often, and the old id of
// each.
// With --plain: lines of text in, lines of ids out. With --packed arrays of int32, for many texts:
// In:  the number of texts, their lengths, the texts' bytes
// Out: tokens of each text, ids, offsets (begin and end of each token), lengths of the decoded
//      texts, their bytes
// Else JSON:
// In:  {"a": text, "b": text?, "max_length": n?, "truncation": name?, "special": bool?,
//       "brief": bool?}, or
//      {"decode": [ids], "skip": bool}
// Out: {"ids", "types", "offsets", "special"}, {"ids"} when brief, {"text"} or {"error"}

#include <iostream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/text/batch.h"
#include "compress/text/ggml.h"
#include "compress/text/tokenizer.h"
#include "compress/text/train.h"
#include "compress/text/trim.h"

using namespace compress;
using nlohmann::json;

namespace {

text::EncodeOptions options_of(const json& line) {
  static const std::map<std::string, text::Truncation> names = {
      {"longest_first", text::Truncation::longest_first},
      {"only_first", text::Truncation::only_first},
      {"only_second", text::Truncation::only_second},
      {"none", text::Truncation::none}};
  text::EncodeOptions options;
  options.offsets = !line.value("brief", false);
  options.max_length = line.value("max_length", int64_t{0});
  options.add_special_tokens = line.value("special", true);
  options.truncation = names.at(line.value("truncation", "longest_first"));
  return options;
}

json answer(const text::Tokenizer& tokenizer, const json& line) {
  if (line.contains("decode")) {
    auto ids = line["decode"].get<std::vector<int32_t>>();
    return {{"text", tokenizer.decode(ids, line.value("skip", true))}};
  }
  std::string a = line.at("a");
  text::EncodeOptions options = options_of(line);
  text::Encoding e = line.contains("b") ? tokenizer.encode(a, line["b"].get<std::string>(), options)
                                        : tokenizer.encode(a, options);
  if (!options.offsets) return {{"ids", e.ids}};
  json types = json::array(), offsets = json::array();
  for (size_t i = 0; i < e.ids.size(); ++i) {
    types.push_back(e.segment(static_cast<int64_t>(i)));
    offsets.push_back({e.offsets[i].begin, e.offsets[i].end});
  }
  return {{"ids", e.ids}, {"types", types}, {"offsets", offsets}, {"special", e.special}};
}

void encode_plain(const text::Tokenizer& tokenizer) {
  std::vector<std::string> lines;
  for (std::string line; std::getline(std::cin, line);) lines.push_back(line);
  const std::vector<std::string_view> texts(lines.begin(), lines.end());
  const text::PackedIds packed = text::encode_all(tokenizer, texts, {}, {});
  std::string out;
  for (int64_t i = 0; i < packed.count(); ++i) {
    for (int32_t id : packed.text(i)) out += std::to_string(id) + " ";
    out += '\n';
  }
  std::cout << out;
}

std::vector<std::string> read_packed() {
  const std::string in{std::istreambuf_iterator<char>(std::cin), {}};
  auto number = [&](size_t index) {
    int32_t value = 0;
    in.copy(reinterpret_cast<char*>(&value), sizeof value, index * sizeof value);
    return value;
  };
  std::vector<std::string> texts(number(0));
  size_t place = (texts.size() + 1) * sizeof(int32_t);
  for (size_t i = 0; i < texts.size(); ++i) {
    texts[i] = in.substr(place, number(i + 1));
    place += texts[i].size();
  }
  return texts;
}

void encode_packed(const text::Tokenizer& tokenizer) {
  std::vector<int32_t> counts, ids, offsets, lengths;
  std::string decoded;
  text::Encoding encoding;
  text::EncodeOptions options;
  options.offsets = true;
  for (const std::string& line : read_packed()) {
    tokenizer.encode(line, std::nullopt, options, encoding);
    counts.push_back(static_cast<int32_t>(encoding.ids.size()));
    ids.insert(ids.end(), encoding.ids.begin(), encoding.ids.end());
    for (const auto [begin, end] : encoding.offsets) {
      offsets.push_back(static_cast<int32_t>(begin));
      offsets.push_back(static_cast<int32_t>(end));
    }
    const std::string back = tokenizer.decode(encoding.ids);
    lengths.push_back(static_cast<int32_t>(back.size()));
    decoded += back;
  }
  for (const auto* numbers : {&counts, &ids, &offsets, &lengths}) {
    std::cout.write(reinterpret_cast<const char*>(numbers->data()),
                    static_cast<std::streamsize>(numbers->size() * sizeof(int32_t)));
  }
  std::cout << decoded;
}

int train(const std::string& model, const std::string& size, const std::string& folder) {
  static const std::map<std::string, text::TrainedModel> models = {
      {"wordpiece", text::TrainedModel::wordpiece},
      {"bpe", text::TrainedModel::bpe},
      {"unigram", text::TrainedModel::unigram},
      {"sentencepiece-bpe", text::TrainedModel::sentencepiece_bpe}};
  text::TrainOptions options;
  options.model = models.at(model);
  options.vocabulary_size = std::stoll(size);
  options.special = {"<extra>"};
  auto next = [](std::string& line) { return static_cast<bool>(std::getline(std::cin, line)); };
  text::write_tokenizer(text::train_tokenizer(next, options), folder);
  return 0;
}

int trim(const std::string& folder, const std::string& times, const std::string& out) {
  const auto tokenizer = text::load_tokenizer(folder);
  std::vector<int64_t> counts(static_cast<size_t>(tokenizer->vocabulary_size()));
  text::EncodeOptions options;
  options.add_special_tokens = false;
  for (std::string line; std::getline(std::cin, line);)
    for (int32_t id : tokenizer->encode(line, options).ids) ++counts[static_cast<size_t>(id)];
  std::vector<bool> wanted;
  for (int64_t count : counts) wanted.push_back(count >= std::stoll(times));
  const text::TrimmedTokenizer trimmed = text::trim_tokenizer(folder, *tokenizer, wanted);
  make_folder(out);
  for (const auto& [name, content] : trimmed.files)
    write_file(std::filesystem::path(out) / name, content);
  for (int32_t id : trimmed.kept) std::cout << id << '\n';
  return 0;
}

// A tokenizer as the metadata of a GGUF file, in JSON.
std::unique_ptr<text::Tokenizer> load_ggml(const std::string& path) {
  const json file = json::parse(read_file(path));
  text::GgmlTokenizer parts;
  parts.model = file.at("model");
  parts.pre = file.value("pre", "");
  parts.tokens = file.at("tokens").get<std::vector<std::string>>();
  parts.types = file.at("types").get<std::vector<int32_t>>();
  parts.scores = file.value("scores", std::vector<float>());
  parts.merges = file.value("merges", std::vector<std::string>());
  parts.bos = file.value("bos", int64_t{-1});
  parts.eos = file.value("eos", int64_t{-1});
  parts.unk = file.value("unk", int64_t{-1});
  if (file.contains("add_bos")) parts.add_bos = file["add_bos"].get<bool>();
  return text::load_ggml_tokenizer(parts, path);
}

void encode_json(const text::Tokenizer& tokenizer) {
  for (std::string line; std::getline(std::cin, line);) {
    try {
      std::cout << answer(tokenizer, json::parse(line)).dump() << '\n';
    } catch (const Error& e) {
      std::cout << json{{"error", e.what()}}.dump() << '\n';
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  const bool plain = arguments.size() == 2 && arguments[1] == "--plain";
  const bool packed = arguments.size() == 2 && arguments[1] == "--packed";
  const bool train_one = arguments.size() == 4 && arguments[0] == "--train";
  const bool trim_one = arguments.size() == 4 && arguments[1] == "--trim";
  if (arguments.size() != 1 && !plain && !packed && !train_one && !trim_one) {
    std::cerr << "usage: encode_lines MODEL [--plain | --packed] < lines\n";
    return 2;
  }
  std::ios::sync_with_stdio(false);
  try {
    if (train_one) return train(arguments[1], arguments[2], arguments[3]);
    if (trim_one) return trim(arguments[0], arguments[2], arguments[3]);
    const auto tokenizer = arguments[0].ends_with(".ggml.json")
                               ? load_ggml(arguments[0])
                               : text::load_tokenizer(arguments[0]);
    if (packed)
      encode_packed(*tokenizer);
    else if (plain)
      encode_plain(*tokenizer);
    else
      encode_json(*tokenizer);
  } catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 1;
  }
  return 0;
}
