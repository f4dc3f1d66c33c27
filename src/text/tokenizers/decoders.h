#pragma once
// The decoders of tokenizer.json: tokens into text.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "regex/regex.h"

namespace compress::text {

class DecoderStage {
 public:
  virtual ~DecoderStage() = default;
  // Rewrites the list of token texts; the result is what is left, joined.
  virtual void apply(std::vector<std::string>& tokens) const = 0;
};
using DecoderStages = std::vector<std::unique_ptr<const DecoderStage>>;

std::unique_ptr<DecoderStage> decode_wordpiece(std::string prefix, bool cleanup);
std::unique_ptr<DecoderStage> decode_bytes();  // ByteLevel
std::unique_ptr<DecoderStage> decode_metaspace(std::string mark, bool drop_first);
std::unique_ptr<DecoderStage> decode_suffix(std::string suffix);  // BPEDecoder
std::unique_ptr<DecoderStage> decode_replace(Regex pattern, std::string content);
std::unique_ptr<DecoderStage> decode_byte_fallback();
std::unique_ptr<DecoderStage> decode_fuse();
std::unique_ptr<DecoderStage> decode_strip(std::string character, size_t start, size_t stop);

// Spaces that English does without, in the library's order.
void clean_up(std::string& token);
void replace_all(std::string& text, std::string_view from, std::string_view to);
// Ill-formed sequences become U+FFFD each.
std::string well_formed(std::string_view bytes);

}  // namespace compress::text
