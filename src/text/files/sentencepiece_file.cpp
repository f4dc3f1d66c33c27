#include "files/sentencepiece_file.h"

#include <cstring>
#include <stdexcept>

#include "unicode/unicode.h"

namespace compress::text {
namespace {

// The fields of one message, from front to back.
class Fields {
 public:
  explicit Fields(std::string_view bytes) : rest_(bytes) {}

  // The next field; false at the end.
  bool next() {
    if (rest_.empty()) return false;
    const char* begin = rest_.data();
    const uint64_t key = varint();
    number_ = key >> 3;
    switch (key & 7) {
      case 0:
        value_ = varint();
        bytes_ = {};
        break;
      case 1:
        bytes_ = take(8);
        break;
      case 2:
        bytes_ = take(varint());
        break;
      case 5:
        bytes_ = take(4);
        break;
      default:
        throw std::invalid_argument("a field of an unknown kind");
    }
    kind_ = static_cast<int>(key & 7);
    raw_ = {begin, static_cast<size_t>(rest_.data() - begin)};
    return true;
  }
  std::string_view raw() const { return raw_; }  // the field with its key
  uint64_t number() const { return number_; }
  std::string_view bytes() const {
    expect(2);
    return bytes_;
  }
  int32_t integer() const {
    expect(0);
    return static_cast<int32_t>(value_);
  }
  float real() const {
    expect(5);
    float value;
    std::memcpy(&value, bytes_.data(), sizeof(value));
    return value;
  }

 private:
  void expect(int kind) const {
    if (kind_ != kind) throw std::invalid_argument("a field has the wrong kind");
  }
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const uint8_t byte = static_cast<uint8_t>(take(1)[0]);
      value |= uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return value;
    }
    throw std::invalid_argument("a number is too long");
  }
  std::string_view take(uint64_t size) {
    if (size > rest_.size()) throw std::invalid_argument("it ends too early");
    std::string_view out = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return out;
  }

  std::string_view rest_, bytes_, raw_;
  uint64_t number_ = 0, value_ = 0;
  int kind_ = 0;
};

SentencePieceModel::Piece parse_piece(std::string_view bytes) {
  SentencePieceModel::Piece piece;
  for (Fields fields(bytes); fields.next();) {
    if (fields.number() == 1) piece.text = fields.bytes();
    if (fields.number() == 2) piece.score = fields.real();
    if (fields.number() == 3) piece.type = fields.integer();
  }
  if (piece.text.empty() || !valid_utf8(piece.text))
    throw std::invalid_argument("a piece is empty or not UTF-8");
  return piece;
}

}  // namespace

SentencePieceModel parse_sentencepiece(std::string_view bytes) {
  SentencePieceModel model;
  for (Fields fields(bytes); fields.next();) {
    if (fields.number() == 1) model.pieces.push_back(parse_piece(fields.bytes()));
    if (fields.number() == 2)
      for (Fields trainer(fields.bytes()); trainer.next();) {
        if (trainer.number() == 3) model.model_type = trainer.integer();
        if (trainer.number() == 35) model.byte_fallback = trainer.integer() != 0;
      }
    if (fields.number() == 3)
      for (Fields normalizer(fields.bytes()); normalizer.next();)
        if (normalizer.number() == 2) model.charsmap = normalizer.bytes();
  }
  if (model.pieces.empty()) throw std::invalid_argument("it has no pieces");
  return model;
}

std::string filter_sentencepiece(
    std::string_view bytes, const std::function<bool(const SentencePieceModel::Piece&)>& keep) {
  std::string out;
  for (Fields fields(bytes); fields.next();)
    if (fields.number() != 1 || keep(parse_piece(fields.bytes()))) out += fields.raw();
  return out;
}

}  // namespace compress::text
