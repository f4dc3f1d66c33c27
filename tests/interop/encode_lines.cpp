// Encodes lines for test_tokenizer*.py. Usage: encode_lines MODEL_FOLDER [--plain] < in > out
// With --plain: lines of text in, lines of ids out. Else JSON:
// In:  {"a": text, "b": text?, "max_length": n?, "truncation": name?, "special": bool?,
//       "brief": bool?}, or
//      {"decode": [ids], "skip": bool}
// Out: {"ids", "types", "offsets", "special"}, {"ids"} when brief, {"text"} or {"error"}

#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "compress/base/error.h"
#include "compress/text/batch.h"
#include "compress/text/tokenizer.h"

using namespace compress;
using nlohmann::json;

namespace {

text::EncodeOptions options_of(const json& line) {
  static const std::map<std::string, text::Truncation> kNames = {
      {"longest_first", text::Truncation::longest_first},
      {"only_first", text::Truncation::only_first},
      {"only_second", text::Truncation::only_second},
      {"none", text::Truncation::none}};
  text::EncodeOptions options;
  options.offsets = !line.value("brief", false);
  options.max_length = line.value("max_length", int64_t{0});
  options.add_special_tokens = line.value("special", true);
  options.truncation = kNames.at(line.value("truncation", "longest_first"));
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

}  // namespace

int main(int argc, char** argv) {
  const bool plain = argc == 3 && std::string_view(argv[2]) == "--plain";
  if (argc != 2 && !plain) {
    std::cerr << "usage: encode_lines MODEL_FOLDER [--plain] < lines\n";
    return 2;
  }
  std::ios::sync_with_stdio(false);
  try {
    auto tokenizer = text::load_tokenizer(argv[1]);
    if (plain) {
      encode_plain(*tokenizer);
      return 0;
    }
    for (std::string line; std::getline(std::cin, line);) {
      try {
        std::cout << answer(*tokenizer, json::parse(line)).dump() << '\n';
      } catch (const Error& e) {
        std::cout << json{{"error", e.what()}}.dump() << '\n';
      }
    }
  } catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 1;
  }
  return 0;
}
