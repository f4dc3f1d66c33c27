#pragma once
// The GGUF container (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md), versions 2 and 3:
// typed metadata, then tensors, most of them in blocks of quantised values.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "compress/base/files.h"

namespace compress::storage {

// Numbered as in the format; those that are missing here are not read.
enum class GgufType : uint32_t {
  f32 = 0,
  f16 = 1,
  q4_0 = 2,
  q4_1 = 3,
  q5_0 = 6,
  q5_1 = 7,
  q8_0 = 8,
  q2_k = 10,
  q3_k = 11,
  q4_k = 12,
  q5_k = 13,
  q6_k = 14,
  bf16 = 30,
};
// "F32", "Q4_K" ...
const char* gguf_type_name(GgufType type);

// A tensor inside the memory map. Valid while its reader lives.
struct GgufTensor {
  std::string name;
  GgufType type = GgufType::f32;
  std::vector<int64_t> shape;  // row-major: the file's dimensions in reverse
  const void* data = nullptr;
  uint64_t bytes = 0;

  uint64_t elements() const;
  // A row is the last dimension. A tensor without elements has no rows, and they are empty.
  uint64_t row_elements() const;
  uint64_t rows() const { return row_elements() == 0 ? 0 : elements() / row_elements(); }
};

// Writes rows as float32, starting with `first_row`: as many as fill `out`, whose size is a
// multiple of a row's and stays inside the tensor (Error{internal} otherwise). Each value is
// computed in float32 in the order that the format's definition gives, so the result is the same to
// the bit everywhere.
void dequantize(const GgufTensor& tensor, std::span<float> out, uint64_t first_row = 0);

// A list of numbers or booleans, left in the file until it is asked for.
class GgufNumbers {
 public:
  GgufNumbers(uint32_t type, uint64_t size, const char* data)
      : type_(type), size_(size), data_(data) {}
  uint64_t size() const { return size_; }
  bool is_whole() const;  // integers or booleans
  // As int64 (a uint64 above its range throws Error{model}); Error{internal} unless is_whole().
  std::vector<int64_t> integers() const;
  std::vector<double> reals() const;

 private:
  uint32_t type_;
  uint64_t size_;
  const char* data_;
};

// Integers of all widths become int64 or uint64, by their sign in the file; float32 becomes double.
// Texts point into the map and may be any bytes.
using GgufValue = std::variant<bool, int64_t, uint64_t, double, std::string_view,
                               std::vector<std::string_view>, GgufNumbers>;

// Memory-maps a file and checks all of it before anything is handed out: every count, length and
// offset against the file's end; names (unique, UTF-8); whole blocks in each row; alignment;
// tensors that do not overlap. Version 1, big-endian files, lists of lists, and types of tensors
// that GgufType lacks are refused. What does not hold throws Error{model} with the file (and key or
// tensor) as its place.
//
// The tensors are given as they lie in the file. Converters to GGUF rename tensors and permute some
// (the query and key weights of Llama): that is not undone here.
class GgufReader {
 public:
  explicit GgufReader(const std::filesystem::path& file);

  uint32_t version() const { return version_; }
  const std::map<std::string, GgufValue, std::less<>>& metadata() const { return metadata_; }
  // The value of a key, or null.
  const GgufValue* find_value(std::string_view key) const;
  // The value of a key that must be there with this type: Error{model} naming the key if not.
  std::string_view text(std::string_view key) const;
  int64_t integer(std::string_view key) const;
  double real(std::string_view key) const;
  const std::vector<std::string_view>& texts(std::string_view key) const;
  const GgufNumbers& numbers(std::string_view key) const;

  // In the order of the file's table.
  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  const GgufTensor* find(std::string_view name) const;
  // The tensor; throws Error{model} with the nearest name as the hint when there is none.
  const GgufTensor& at(std::string_view name) const;

 private:
  [[noreturn]] void wrong_type(std::string_view key, const char* wanted) const;

  MappedFile map_;
  std::string file_;
  uint32_t version_ = 0;
  std::map<std::string, GgufValue, std::less<>> metadata_;
  std::vector<GgufTensor> tensors_;
  std::map<std::string_view, size_t> by_name_;  // the texts of tensors_
};

}  // namespace compress::storage
