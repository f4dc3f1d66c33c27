#include <sys/mman.h>

#include <algorithm>
#include <cmath>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/strings.h"
#include "tokens/token_layout.h"

namespace compress::data {

namespace fs = std::filesystem;

namespace {

constexpr size_t piece = size_t{1} << 22;  // entries that are read before their memory is released

// A mapped file of tokens whose header has been believed.
class TokenReader {
 public:
  TokenReader(const fs::path& path, const TokenFileKey& key) : path_(path), key_(key) {
    open();
    read_header();
  }

  void check_rows() const {
    auto offsets = section<int64_t>(Section::offsets);
    auto first_lengths = section<int32_t>(Section::first_lengths);
    if (offsets[0] != 0) refuse("its first row does not begin with the first token");
    const auto tokens = static_cast<int64_t>(header_.tokens);
    in_pieces(first_lengths, [&](size_t begin, size_t end) {
      for (size_t row = begin; row < end; ++row) {
        int64_t from = offsets[row], to = offsets[row + 1];
        if (to <= from || to > tokens) refuse(str("row ", row, " lies outside the tokens"));
        if (first_lengths[row] < 0 || first_lengths[row] > to - from)
          refuse(str("the first text of row ", row, " is longer than the row"));
      }
      release(offsets, begin, end);
    });
    if (offsets[header_.rows] != tokens) refuse("its last row does not end with the last token");
  }

  void check_targets() const {
    check_weights();
    if (key_.targets == RowTargets::spans) check_spans();
    if (key_.targets == RowTargets::classes || key_.targets == RowTargets::token_classes)
      check_classes();
    for (Section name : {Section::values, Section::soft}) {
      auto numbers = section<float>(name);
      in_pieces(numbers, [&](size_t begin, size_t end) {
        for (size_t i = begin; i < end; ++i)
          if (!std::isfinite(numbers[i])) refuse(str("target ", i, " is not a finite number"));
      });
    }
  }

  void check_weights() const {
    auto weights = section<float>(Section::weights);
    in_pieces(weights, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i)
        if (!std::isfinite(weights[i]) || weights[i] < 0)
          refuse(str("the weight of row ", i, " is not a number from 0"));
    });
  }

  void check_classes() const {
    auto classes = section<int32_t>(Section::classes);
    const bool of_tokens = key_.targets == RowTargets::token_classes;
    in_pieces(classes, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i)
        if ((classes[i] < 0 || classes[i] >= key_.classes) && !(of_tokens && classes[i] == -100))
          refuse(str(of_tokens ? "token " : "row ", i, " has a class that is none"));
    });
  }

  void check_spans() const {
    auto spans = section<int32_t>(Section::classes);
    auto offsets = section<int64_t>(Section::offsets);
    for (size_t row = 0; row < header_.rows; ++row)
      if (spans[2 * row] < 0 || spans[2 * row] > spans[2 * row + 1] ||
          spans[2 * row + 1] >= offsets[row + 1] - offsets[row])
        refuse(str("the answer of row ", row, " lies outside it"));
  }

  void check_ids() const {
    auto ids = section<int32_t>(Section::ids);
    in_pieces(ids, [&](size_t begin, size_t end) {
      uint32_t highest = 0;
      for (size_t i = begin; i < end; ++i)
        highest = std::max(highest, static_cast<uint32_t>(ids[i]));
      if (highest >= key_.vocabulary) refuse("a token lies outside the vocabulary");
    });
  }

  void check_sums() const {
    for (size_t i = 0; i < section_count; ++i) {
      auto words = section<uint32_t>(static_cast<Section>(i));
      if (i >= first_sums && words.empty()) continue;
      WordSum sum;
      in_pieces(words, [&](size_t begin, size_t end) {
        sum.update(words.data() + begin, (end - begin) * sizeof(uint32_t));
      });
      if (sum.value() != header_.sum_of(i)) refuse(str("the hash of part ", i, " is another"));
    }
  }

  void fill(Split& split) const {
    split.ids = shown<int32_t>(Section::ids);
    split.offsets = shown<int64_t>(Section::offsets);
    split.first_lengths = shown<int32_t>(Section::first_lengths);
    split.lines = shown<int64_t>(Section::lines);
    (key_.targets == RowTargets::token_classes ? split.token_classes
     : key_.targets == RowTargets::spans       ? split.spans
                                               : split.classes) = shown<int32_t>(Section::classes);
    split.values = shown<float>(Section::values);
    split.soft = shown<float>(Section::soft);
    split.weights = shown<float>(Section::weights);
    split.groups = shown<int64_t>(Section::groups);
    split.blank_lines = static_cast<int64_t>(header_.blank_lines);
    split.empty_rows = static_cast<int64_t>(header_.empty_rows);
    split.skipped = static_cast<int64_t>(header_.skipped);
    split.content_hash = key_.content_hash;
    split.cache = path_;
    split.vocabulary = key_.vocabulary;
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(ErrorKind::data, "the file of tokenised rows is damaged: " + what, path_.string(),
                "delete it, and it is made again");
  }

  void open() {
    try {
      map_ = std::make_shared<MappedFile>(path_);
    } catch (const Error& error) {
      throw Error(ErrorKind::data, "the file of tokenised rows: " + error.message(), path_.string(),
                  error.hint());
    }
  }

  void read_header() {
    if (map_->size() < sizeof header_) refuse("it is too short");
    std::memcpy(&header_, map_->data(), sizeof header_);
    if (!std::equal(std::begin(token_magic), std::end(token_magic), header_.magic))
      refuse("it begins with other bytes");
    if (header_.version != token_file_version)
      refuse(str("version ", header_.version, ", this program reads ", token_file_version));
    if (header_.sum != header_sum(header_)) refuse("the hash of the header is another");
    if (std::string_view(header_.content_hash, sizeof header_.content_hash) != key_.content_hash)
      refuse("it holds other rows");
    if (header_.targets != static_cast<uint32_t>(key_.targets) ||
        header_.classes != static_cast<uint64_t>(key_.classes))
      refuse("it holds other targets");
    if (header_.columns != columns_of(key_)) refuse("its rows have other columns");
    if (header_.vocabulary != static_cast<uint64_t>(key_.vocabulary))
      refuse("it holds tokens of another vocabulary");
    // So that no product of counts below overflows.
    uint64_t row_bytes =
        key_.targets == RowTargets::soft ? 4 * std::max(header_.classes, uint64_t{2}) : 8;
    if (header_.rows == 0 || header_.rows > map_->size() / row_bytes ||
        header_.tokens > map_->size() / 4 || header_.blank_lines >= uint64_t{1} << 62 ||
        header_.empty_rows >= uint64_t{1} << 62 || header_.skipped >= uint64_t{1} << 62)
      refuse("its counts are impossible");
    layout_ = token_layout(key_, header_.rows, header_.tokens);
    if (layout_.total != map_->size())
      refuse(str("it has ", map_->size(), " bytes, not ", layout_.total));
  }

  template <class T>
  std::span<const T> section(Section name) const {
    auto i = static_cast<size_t>(name);
    return {reinterpret_cast<const T*>(map_->data() + layout_.begin[i]),
            layout_.bytes[i] / sizeof(T)};
  }
  template <class T>
  Array<T> shown(Section name) const {
    auto items = section<T>(name);
    return items.empty() ? Array<T>() : Array<T>(items, map_);
  }

  // Calls body(begin, end) for pieces of an array, and gives back their memory after each.
  template <class T, class Body>
  void in_pieces(std::span<const T> items, Body&& body) const {
    for (size_t begin = 0; begin < items.size(); begin += piece) {
      size_t end = std::min(begin + piece, items.size());
      body(begin, end);
      release(items, begin, end);
    }
  }
  template <class T>
  void release(std::span<const T> items, size_t begin, size_t end) const {
    const char* base = map_->data();
    auto from = static_cast<uint64_t>(reinterpret_cast<const char*>(&items[begin]) - base);
    from = from / token_page * token_page;
    auto to =
        static_cast<uint64_t>(reinterpret_cast<const char*>(&items[begin] + (end - begin)) - base);
    ::madvise(const_cast<char*>(base) + from, to - from, MADV_DONTNEED);
  }

  fs::path path_;
  const TokenFileKey& key_;
  std::shared_ptr<MappedFile> map_;
  TokenHeader header_{};
  TokenLayout layout_;
};

}  // namespace

void map_tokens(const fs::path& path, const TokenFileKey& key, TokenCheck check, Split& split) {
  TokenReader reader(path, key);
  reader.check_rows();
  reader.check_targets();
  if (check == TokenCheck::all) {
    reader.check_sums();
    reader.check_ids();
  }
  reader.fill(split);
}

}  // namespace compress::data
