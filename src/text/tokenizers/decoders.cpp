#include "tokenizers/decoders.h"

#include <algorithm>
#include <charconv>

#include "split/splitter.h"
#include "unicode/unicode.h"

namespace compress::text {
namespace {

class WordPieceDecoder final : public DecoderStage {
 public:
  WordPieceDecoder(std::string prefix, bool cleanup)
      : prefix_(std::move(prefix)), cleanup_(cleanup) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i) {
      std::string& token = tokens[i];
      if (i > 0 && token.starts_with(prefix_))
        token.erase(0, prefix_.size());
      else if (i > 0)
        token.insert(token.begin(), ' ');
      if (cleanup_) clean_up(token);
    }
  }

 private:
  std::string prefix_;
  bool cleanup_;
};

class BytesDecoder final : public DecoderStage {
 public:
  void apply(std::vector<std::string>& tokens) const override {
    std::string bytes, mapped;
    for (const std::string& token : tokens) {
      mapped.clear();
      bool good = true;
      for (std::string_view rest = token; good && !rest.empty();) {
        const Decoded d = decode_utf8(rest);
        const int byte = char_to_byte(d.code_point);
        good = byte >= 0;
        mapped.push_back(static_cast<char>(byte));
        rest.remove_prefix(d.length);
      }
      bytes += good ? mapped : token;  // an added token, written as it is
    }
    tokens = {well_formed(bytes)};
  }
};

class MetaspaceDecoder final : public DecoderStage {
 public:
  MetaspaceDecoder(std::string mark, bool drop_first)
      : mark_(std::move(mark)), drop_first_(drop_first) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i)
      replace_all(tokens[i], mark_, i == 0 && drop_first_ ? "" : " ");
  }

 private:
  std::string mark_;
  bool drop_first_;
};

class SuffixDecoder final : public DecoderStage {
 public:
  explicit SuffixDecoder(std::string suffix) : suffix_(std::move(suffix)) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i)
      replace_all(tokens[i], suffix_, i + 1 == tokens.size() ? "" : " ");
  }

 private:
  std::string suffix_;
};

class ReplaceDecoder final : public DecoderStage {
 public:
  ReplaceDecoder(Regex pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  void apply(std::vector<std::string>& tokens) const override {
    std::vector<Match> matches;
    for (std::string& token : tokens) {
      matches.clear();
      pattern_.find_all(token, matches);
      std::string out;
      for (const Match& m : matches)
        out += m.matched ? std::string_view(content_)
                         : std::string_view(token).substr(m.begin, m.end - m.begin);
      token = std::move(out);
    }
  }

 private:
  Regex pattern_;
  std::string content_;
};

class ByteFallbackDecoder final : public DecoderStage {
 public:
  void apply(std::vector<std::string>& tokens) const override {
    std::vector<std::string> out;
    std::string bytes;
    auto flush = [&] {
      if (bytes.empty()) return;
      if (valid_utf8(bytes))
        out.push_back(bytes);
      else
        out.insert(out.end(), bytes.size(), "\uFFFD");
      bytes.clear();
    };
    for (std::string& token : tokens) {
      if (int byte = byte_of(token); byte >= 0) {
        bytes.push_back(static_cast<char>(byte));
        continue;
      }
      flush();
      out.push_back(std::move(token));
    }
    flush();
    tokens = std::move(out);
  }

 private:
  static int byte_of(std::string_view token) {
    if (token.size() != 6 || !token.starts_with("<0x") || !token.ends_with('>')) return -1;
    // Rust's from_str_radix takes a sign.
    std::string_view digits = token.substr(3, 2);
    if (digits.starts_with('+')) digits.remove_prefix(1);
    unsigned value = 0;
    auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    return error == std::errc() && end == digits.data() + digits.size() ? static_cast<int>(value)
                                                                        : -1;
  }
};

class FuseDecoder final : public DecoderStage {
 public:
  void apply(std::vector<std::string>& tokens) const override {
    std::string all;
    for (const std::string& token : tokens) all += token;
    tokens = {std::move(all)};
  }
};

class StripDecoder final : public DecoderStage {
 public:
  StripDecoder(std::string character, size_t start, size_t stop)
      : character_(std::move(character)), start_(start), stop_(stop) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (std::string& token : tokens) {
      const size_t size = character_.size();
      size_t begin = 0, end = token.size();
      for (size_t i = 0; i < start_ && token.compare(begin, size, character_) == 0; ++i)
        begin += size;
      for (size_t i = 0;
           i < stop_ && end >= begin + size && token.compare(end - size, size, character_) == 0;
           ++i)
        end -= size;
      token = token.substr(begin, end - begin);
    }
  }

 private:
  std::string character_;
  size_t start_, stop_;
};

}  // namespace

std::unique_ptr<DecoderStage> decode_wordpiece(std::string prefix, bool cleanup) {
  return std::make_unique<WordPieceDecoder>(std::move(prefix), cleanup);
}
std::unique_ptr<DecoderStage> decode_bytes() {
  return std::make_unique<BytesDecoder>();
}
std::unique_ptr<DecoderStage> decode_metaspace(std::string mark, bool drop_first) {
  return std::make_unique<MetaspaceDecoder>(std::move(mark), drop_first);
}
std::unique_ptr<DecoderStage> decode_suffix(std::string suffix) {
  return std::make_unique<SuffixDecoder>(std::move(suffix));
}
std::unique_ptr<DecoderStage> decode_replace(Regex pattern, std::string content) {
  return std::make_unique<ReplaceDecoder>(std::move(pattern), std::move(content));
}
std::unique_ptr<DecoderStage> decode_byte_fallback() {
  return std::make_unique<ByteFallbackDecoder>();
}
std::unique_ptr<DecoderStage> decode_fuse() {
  return std::make_unique<FuseDecoder>();
}
std::unique_ptr<DecoderStage> decode_strip(std::string character, size_t start, size_t stop) {
  return std::make_unique<StripDecoder>(std::move(character), start, stop);
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  if (from.empty()) return;
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
}

void clean_up(std::string& token) {
  static constexpr std::pair<std::string_view, std::string_view> rules[] = {
      {" .", "."},   {" ?", "?"},     {" !", "!"},    {" ,", ","},
      {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},  {" do not", " don't"},
      {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (auto [from, to] : rules) replace_all(token, from, to);
}

std::string well_formed(std::string_view bytes) {
  std::string out;
  while (!bytes.empty()) {
    const Decoded d = decode_utf8(bytes);
    append_utf8(out, d.code_point);
    bytes.remove_prefix(d.length);
  }
  return out;
}

}  // namespace compress::text
