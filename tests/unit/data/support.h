#pragma once
// A folder of small data files and a tokenizer that splits on spaces.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "compress/base/error.h"
#include "compress/base/hash.h"
#include "compress/base/strings.h"
#include "compress/data/dataset.h"

namespace compress::data {

// [1] words [2] (words [2]); a word's id depends on all its bytes. Without `special`, words only.
class SpaceTokenizer final : public text::Tokenizer {
 public:
  explicit SpaceTokenizer(bool special = true)
      : special_(special), hash_(special ? "spaces" : "plain") {}

  void encode(std::string_view text, std::optional<std::string_view> pair,
              const text::EncodeOptions& options, text::Encoding& out) const override {
    out = {};
    auto mark = [&](int32_t id) {
      if (special_ && options.add_special_tokens) add(id, {}, true, out);
    };
    mark(1);
    words(text, out);
    mark(2);
    out.first_length = static_cast<int64_t>(out.ids.size());
    if (pair) {
      words(*pair, out);
      mark(2);
    }
    if (options.max_length > 0 && static_cast<int64_t>(out.ids.size()) > options.max_length) {
      const auto most = static_cast<size_t>(options.max_length);
      out.ids.resize(most);
      out.offsets.resize(most);
      out.special.resize(most);
      out.first_length = std::min(out.first_length, options.max_length);
    }
  }
  int64_t vocabulary_size() const override { return 1 << 30; }
  std::optional<int32_t> token_to_id(std::string_view token) const override { return word(token); }
  std::optional<std::string_view> id_to_token(int32_t) const override { return std::nullopt; }
  const text::SpecialIds& special_ids() const override { return ids_; }
  int64_t special_tokens_added(bool pair) const override { return special_ ? 2 + pair : 0; }
  std::string decode(std::span<const int32_t>, bool) const override { return {}; }
  const std::string& hash() const override { return hash_; }

  static int32_t word(std::string_view text) {
    uint64_t h = 0;
    for (char c : text) h = mix64(h ^ static_cast<unsigned char>(c));
    return static_cast<int32_t>(10 + h % 1000000000);
  }

 private:
  static void add(int32_t id, text::ByteRange range, bool special, text::Encoding& out) {
    out.ids.push_back(id);
    out.offsets.push_back(range);
    out.special.push_back(special);
  }
  static void words(std::string_view text, text::Encoding& out) {
    for (size_t begin = 0; begin < text.size();) {
      const size_t end = std::min(text.find(' ', begin), text.size());
      if (end > begin)
        add(word(text.substr(begin, end - begin)),
            {static_cast<uint32_t>(begin), static_cast<uint32_t>(end)}, false, out);
      begin = end + 1;
    }
  }
  bool special_;
  std::string hash_;
  text::SpecialIds ids_;
};

// The ids of row `row`, and those that `text` should have.
inline std::vector<int32_t> ids_of(const Split& split, int64_t row) {
  return {split.ids.begin() + split.offsets[row], split.ids.begin() + split.offsets[row + 1]};
}
inline std::vector<int32_t> ids_of(std::string_view text) {
  text::Encoding out;
  SpaceTokenizer().encode(text, std::nullopt, {}, out);
  return out.ids;
}

class DataTest : public ::testing::Test {
 protected:
  DataTest() {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::temp_directory_path() /
              str("compress-data-", ::getpid(), "-", test->test_suite_name(), "-", test->name());
    std::filesystem::create_directories(folder_);
  }
  ~DataTest() override { std::filesystem::remove_all(folder_); }

  std::string write(const std::string& name, std::string_view bytes) const {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
    return (folder_ / name).string();
  }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  // A data set whose training file holds `bytes`.
  DatasetOptions dataset(const std::string& name, std::string_view bytes) const {
    DatasetOptions options;
    options.train = write(name, bytes);
    options.text = "text";
    options.label = "label";
    return options;
  }
  // The same without labels, for tests of the readers alone.
  DatasetOptions texts(const std::string& name, std::string_view bytes) const {
    DatasetOptions options = dataset(name, bytes);
    options.label.clear();
    options.task = "unlabelled";
    return options;
  }
  Split load(const DatasetOptions& options, const std::string& name = "train") const {
    return load_split(options, name, SpaceTokenizer(), {}, 2);
  }

  std::filesystem::path folder_;
};

// Runs `body`, which must throw an Error of `kind`; its whole text, for matching.
template <class Body>
std::string error_of(ErrorKind kind, Body body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(kind_name(error.kind()), std::string(kind_name(kind))) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

}  // namespace compress::data
