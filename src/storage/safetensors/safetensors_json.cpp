#include "safetensors/safetensors_json.h"

#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "compress/base/error.h"
#include "compress/base/strings.h"

namespace compress::storage {

namespace {

using json = nlohmann::json;

constexpr size_t most_dimensions = 64;
constexpr int deepest_index = 16;

// Refuses every event; the parsers below allow what their document may hold.
class StrictSax : public nlohmann::json_sax<json> {
 public:
  explicit StrictSax(const std::string& file) : file_(file) {}

  bool null() override { refuse("holds null where the format has no place for it"); }
  bool boolean(bool) override {
    refuse("holds true or false where the format has no place for it");
  }
  bool number_integer(number_integer_t) override { refuse("holds a negative number"); }
  bool number_unsigned(number_unsigned_t) override { refuse("holds a number in a wrong place"); }
  bool number_float(number_float_t, const string_t&) override {
    refuse("holds a number that is not a whole 64-bit one");
  }
  bool string(string_t&) override { refuse("holds a text in a wrong place"); }
  bool binary(binary_t&) override { refuse("holds binary data"); }
  bool start_object(size_t) override { refuse("holds an object in a wrong place"); }
  bool start_array(size_t) override { refuse("holds a list in a wrong place"); }
  bool end_array() override { return true; }
  bool parse_error(size_t position, const std::string&, const json::exception&) override {
    refuse(str("is not valid JSON (byte ", position, ")"));
  }

 protected:
  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(ErrorKind::model, subject() + " " + what, place(),
                "the file is damaged or of another format; fetch it again");
  }
  virtual std::string subject() const = 0;
  virtual std::string place() const { return file_; }

  const std::string& file_;
};

// Types that safetensors has besides.
bool is_other_dtype(std::string_view name) {
  for (const char* other : {"U64", "U32", "U16", "C64", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ",
                            "F6_E2M3", "F6_E3M2", "F4"})
    if (name == other) return true;
  return false;
}

class HeaderSax : public StrictSax {
 public:
  using StrictSax::StrictSax;
  Header result;

  bool start_object(size_t) override {
    if (where_ == Where::outside) {
      where_ = Where::top;
    } else if (where_ == Where::top && name_ == "__metadata__") {
      if (std::exchange(metadata_seen_, true)) refuse("has __metadata__ twice");
      where_ = Where::metadata;
    } else if (where_ == Where::top) {
      where_ = Where::tensor;
      dtype_.reset();
      shape_.reset();
      offsets_.reset();
    } else {
      refuse("holds an object in a wrong place");
    }
    return true;
  }

  bool null() override {
    if (where_ != Where::top || name_ != "__metadata__") return StrictSax::null();
    if (std::exchange(metadata_seen_, true)) refuse("has __metadata__ twice");
    return true;
  }

  bool key(string_t& text) override {
    (where_ == Where::top ? name_ : field_) = std::move(text);
    return true;
  }

  bool string(string_t& text) override {
    if (where_ == Where::metadata) {
      if (!result.metadata.emplace(field_, std::move(text)).second)
        refuse("has the metadata key " + shown_name(field_) + " twice");
    } else if (where_ == Where::tensor && field_ == "dtype") {
      if (dtype_) refuse("has dtype twice");
      dtype_ = dtype_from_name(text);
      if (!dtype_ && is_other_dtype(text))
        throw Error(ErrorKind::model, "the tensor has the dtype " + text + ", which is not read",
                    place(),
                    "F64, F32, F16, BF16, F8_E4M3, F8_E5M2, I64, I32, I16, I8, U8 and BOOL are");
      if (!dtype_) refuse("has the unknown dtype " + shown_name(text));
    } else {
      refuse("holds a text in a wrong place");
    }
    return true;
  }

  bool start_array(size_t) override {
    bool shape = where_ == Where::tensor && field_ == "shape";
    if (!shape && !(where_ == Where::tensor && field_ == "data_offsets"))
      refuse("holds a list in a wrong place");
    auto& list = shape ? shape_ : offsets_;
    if (list) refuse("has " + field_ + " twice");
    list.emplace();
    where_ = shape ? Where::shape : Where::offsets;
    return true;
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (where_ != Where::shape && where_ != Where::offsets)
      refuse("holds a number in a wrong place");
    auto& list = where_ == Where::shape ? *shape_ : *offsets_;
    if (list.size() == (where_ == Where::shape ? most_dimensions : 2))
      refuse("has too many numbers in " + field_);
    if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
      refuse("has too large a number in " + field_);
    list.push_back(static_cast<int64_t>(value));
    return true;
  }

  bool end_array() override {
    where_ = Where::tensor;
    return true;
  }

  bool end_object() override {
    if (where_ == Where::tensor) {
      if (!dtype_ || !shape_ || !offsets_ || offsets_->size() != 2)
        refuse("lacks dtype, shape or two data_offsets");
      result.entries.push_back({{name_, *dtype_, std::move(*shape_)},
                                static_cast<uint64_t>((*offsets_)[0]),
                                static_cast<uint64_t>((*offsets_)[1])});
    }
    where_ = where_ == Where::top ? Where::outside : Where::top;
    return true;
  }

 private:
  enum class Where { outside, top, metadata, tensor, shape, offsets };

  bool in_tensor() const { return where_ >= Where::tensor; }
  std::string subject() const override { return in_tensor() ? "the tensor" : "the header"; }
  std::string place() const override {
    return in_tensor() ? file_ + " (tensor " + shown_name(name_) + ")" : file_;
  }

  Where where_ = Where::outside;
  bool metadata_seen_ = false;
  std::string name_, field_;
  std::optional<Dtype> dtype_;
  std::optional<std::vector<int64_t>> shape_, offsets_;
};

// A name that stays in the index's own folder.
bool plain_file_name(std::string_view name, std::string_view suffix) {
  return name.ends_with(suffix) && name.find_first_of(std::string_view("/\\\0", 3)) == name.npos &&
         !name.starts_with("..");
}

// Only "weight_map" matters; the rest of the document is walked over.
class IndexSax : public StrictSax {
 public:
  IndexSax(const std::string& file, std::string_view suffix) : StrictSax(file), suffix_(suffix) {}
  std::map<std::string, std::string> result;
  bool seen = false;

  bool null() override { return other_value(); }
  bool boolean(bool) override { return other_value(); }
  bool number_integer(number_integer_t) override { return other_value(); }
  bool number_unsigned(number_unsigned_t) override { return other_value(); }
  bool number_float(number_float_t, const string_t&) override { return other_value(); }
  bool string(string_t& shard) override {
    if (!in_map_) return other_value();
    if (!plain_file_name(shard, suffix_))
      refuse(str("names the shard ", shown_name(shard), ", which is no ", suffix_,
                 " file of its own folder"));
    if (!result.emplace(key_, std::move(shard)).second)
      refuse("names the tensor " + shown_name(key_) + " twice");
    return true;
  }
  bool start_object(size_t) override {
    if (in_map_) refuse("holds an object inside weight_map");
    deeper();
    in_map_ = depth_ == 2 && key_ == "weight_map";
    if (in_map_ && std::exchange(seen, true)) refuse("has weight_map twice");
    return true;
  }
  bool start_array(size_t) override {
    if (in_map_ || depth_ == 0) refuse("holds a list in a wrong place");
    deeper();
    return true;
  }
  bool key(string_t& text) override {
    key_ = std::move(text);
    return true;
  }
  bool end_object() override {
    in_map_ = false;
    --depth_;
    return true;
  }
  bool end_array() override {
    --depth_;
    return true;
  }

 private:
  bool other_value() const {
    if (in_map_ || depth_ == 0) refuse("holds something else than file names in weight_map");
    return true;
  }
  void deeper() {
    if (++depth_ > deepest_index) refuse("is nested too deep");
  }
  std::string subject() const override { return "the index"; }

  std::string_view suffix_;
  int depth_ = 0;
  bool in_map_ = false;
  std::string key_;
};

template <class Sax>
void parse(std::string_view text, Sax& sax, const std::string& file) {
  // The JSON reader takes a zero byte for the end of the text and would leave the rest unread.
  if (text.find('\0') != text.npos)
    throw Error(ErrorKind::model, "the JSON text holds a zero byte", file);
  json::sax_parse(text.begin(), text.end(), &sax);
}

}  // namespace

Header parse_header(std::string_view text, const std::string& file) {
  if (!text.starts_with('{'))
    throw Error(ErrorKind::model, "the header does not start with '{'", file,
                "is this a safetensors file?");
  HeaderSax sax(file);
  parse(text, sax, file);
  return std::move(sax.result);
}

std::map<std::string, std::string> parse_index(std::string_view text, const std::string& file,
                                               std::string_view suffix) {
  IndexSax sax(file, suffix);
  parse(text, sax, file);
  if (!sax.seen) throw Error(ErrorKind::model, "the index has no weight_map", file);
  return std::move(sax.result);
}

}  // namespace compress::storage
