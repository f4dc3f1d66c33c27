#pragma once
// A tokenizer that knows ids alone, for tests of masking.

#include <string>

#include "compress/text/tokenizer.h"

namespace compress::augment {

// Ids 0 .. 49; 1, 2 and 3 are special, 3 is the mask.
class Words final : public text::Tokenizer {
 public:
  explicit Words(bool mask = true) {
    ids_.cls = 1;
    ids_.sep = 2;
    if (mask) ids_.mask = 3;
  }
  void encode(std::string_view, std::optional<std::string_view>, const text::EncodeOptions&,
              text::Encoding&) const override {}
  int64_t vocabulary_size() const override { return 50; }
  std::optional<int32_t> token_to_id(std::string_view) const override { return std::nullopt; }
  std::optional<std::string_view> id_to_token(int32_t) const override { return std::nullopt; }
  const text::SpecialIds& special_ids() const override { return ids_; }
  int64_t special_tokens_added(bool) const override { return 0; }
  std::string decode(std::span<const int32_t>, bool) const override { return {}; }
  const std::string& hash() const override { return hash_; }

 private:
  text::SpecialIds ids_;
  std::string hash_ = "words";
};

}  // namespace compress::augment
