// A shared library of its own, so that Arrow is loaded where a Parquet file is read and nowhere
// else: the rows of a file as JSON lines.

#include "parquet/plugin.h"

#include <arrow/api.h>
#include <arrow/io/file.h>
#include <parquet/arrow/reader.h>
#include <parquet/exception.h>

#include <charconv>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

using arrow::Array;
using Names = std::map<std::string, std::vector<std::string>>;

// What a caller is told; thrown and caught in this file alone.
struct Failed : std::runtime_error {
  using std::runtime_error::runtime_error;
};

void require(const arrow::Status& status) {
  if (!status.ok()) throw Failed(status.message());
}
template <class T>
T require(arrow::Result<T> result) {
  require(result.status());
  return std::move(result).ValueUnsafe();
}

void append_text(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      (out += '\\') += c;
    } else if (byte < 0x20) {
      constexpr char digits[] = "0123456789abcdef";
      ((out += "\\u00") += digits[byte >> 4]) += digits[byte & 15];
    } else {
      out += c;
    }
  }
  out += '"';
}

template <class T>
void append_number(std::string& out, T value) {
  char digits[32];
  out.append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
}

template <class T>
void append_real(std::string& out, T value) {
  if (!std::isfinite(value)) throw Failed("a number that is not finite, which JSON lacks");
  const size_t before = out.size();
  append_number(out, value);
  if (out.find_first_of(".e", before) == std::string::npos) out += ".0";
}

std::string base64(std::string_view bytes) {
  constexpr char table[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t three = 0;
    for (size_t k = 0; k < 3; ++k)
      three = three << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0);
    for (size_t k = 0; k < 4; ++k)
      out += i + k > bytes.size() ? '=' : table[three >> (18 - 6 * k) & 63];
  }
  return out;
}

template <class T>
const T& as(const Array& array) {
  return static_cast<const T&>(array);
}

void append_cell(std::string& out, const Array& array, int64_t row);

void append_list(std::string& out, const Array& items, int64_t begin, int64_t end) {
  out += '[';
  for (int64_t i = begin; i < end; ++i) {
    if (i > begin) out += ", ";
    append_cell(out, items, i);
  }
  out += ']';
}

void append_struct(std::string& out, const arrow::StructArray& array, int64_t row) {
  out += '{';
  for (int i = 0; i < array.num_fields(); ++i) {
    if (i > 0) out += ", ";
    append_text(out, array.struct_type()->field(i)->name());
    out += ": ";
    append_cell(out, *array.field(i), row);
  }
  out += '}';
}

void append_bytes(std::string& out, std::string_view bytes) {
  // nlohmann checks UTF-8 when it writes.
  try {
    out += nlohmann::json(std::string(bytes)).dump(-1, ' ', false);
  } catch (const nlohmann::json::exception&) {
    append_text(out, base64(bytes));
  }
}

void append_cell(std::string& out, const Array& array, int64_t row) {
  if (array.IsNull(row)) {
    out += "null";
    return;
  }
  using Type = arrow::Type;
  switch (array.type_id()) {
    case Type::BOOL:
      out += as<arrow::BooleanArray>(array).Value(row) ? "true" : "false";
      return;
    case Type::INT8:
      return append_number(out, static_cast<int>(as<arrow::Int8Array>(array).Value(row)));
    case Type::INT16:
      return append_number(out, as<arrow::Int16Array>(array).Value(row));
    case Type::INT32:
      return append_number(out, as<arrow::Int32Array>(array).Value(row));
    case Type::INT64:
      return append_number(out, as<arrow::Int64Array>(array).Value(row));
    case Type::UINT8:
      return append_number(out, static_cast<int>(as<arrow::UInt8Array>(array).Value(row)));
    case Type::UINT16:
      return append_number(out, as<arrow::UInt16Array>(array).Value(row));
    case Type::UINT32:
      return append_number(out, as<arrow::UInt32Array>(array).Value(row));
    case Type::UINT64:
      return append_number(out, as<arrow::UInt64Array>(array).Value(row));
    case Type::FLOAT:
      return append_real(out, as<arrow::FloatArray>(array).Value(row));
    case Type::DOUBLE:
      return append_real(out, as<arrow::DoubleArray>(array).Value(row));
    case Type::STRING:
      return append_text(out, as<arrow::StringArray>(array).GetView(row));
    case Type::LARGE_STRING:
      return append_text(out, as<arrow::LargeStringArray>(array).GetView(row));
    case Type::BINARY:
      return append_bytes(out, as<arrow::BinaryArray>(array).GetView(row));
    case Type::LARGE_BINARY:
      return append_bytes(out, as<arrow::LargeBinaryArray>(array).GetView(row));
    case Type::LIST: {
      const auto& list = as<arrow::ListArray>(array);
      return append_list(out, *list.values(), list.value_offset(row), list.value_offset(row + 1));
    }
    case Type::LARGE_LIST: {
      const auto& list = as<arrow::LargeListArray>(array);
      return append_list(out, *list.values(), list.value_offset(row), list.value_offset(row + 1));
    }
    case Type::FIXED_SIZE_LIST: {
      const auto& list = as<arrow::FixedSizeListArray>(array);
      return append_list(out, *list.values(), list.value_offset(row), list.value_offset(row + 1));
    }
    case Type::STRUCT:
      return append_struct(out, as<arrow::StructArray>(array), row);
    case Type::DICTIONARY: {
      const auto& coded = as<arrow::DictionaryArray>(array);
      return append_cell(out, *coded.dictionary(), coded.GetValueIndex(row));
    }
    default:  // dates, times, decimal numbers
      return append_text(out, require(array.GetScalar(row))->ToString());
  }
}

// The names of classes that Hugging Face's metadata keeps, by column.
Names class_names(const arrow::Schema& schema) {
  Names names;
  if (schema.metadata() == nullptr) return names;
  const arrow::Result<std::string> kept = schema.metadata()->Get("huggingface");
  if (!kept.ok()) return names;
  const auto about = nlohmann::json::parse(*kept, nullptr, false);
  if (!about.is_object()) return names;
  const auto info = about.value("info", nlohmann::json::object());
  if (!info.is_object()) return names;
  const auto features = info.value("features", nlohmann::json::object());
  if (!features.is_object()) return names;
  for (const auto& [column, feature] : features.items()) {
    if (!feature.is_object() || feature.value("_type", nlohmann::json()) != "ClassLabel") continue;
    const auto list = feature.value("names", nlohmann::json::array());
    if (!list.is_array()) continue;
    std::vector<std::string>& own = names[column];
    for (const auto& name : list)
      own.push_back(name.is_string() ? name.get<std::string>() : name.dump());
  }
  return names;
}

void append_class(std::string& out, const std::vector<std::string>& names, const Array& array,
                  int64_t row) {
  if (array.IsNull(row)) {
    out += "null";
    return;
  }
  std::string number;
  append_cell(number, array, row);
  int64_t index = -2;
  const auto [end, failed] = std::from_chars(number.data(), number.data() + number.size(), index);
  const bool whole = failed == std::errc() && end == number.data() + number.size();
  if (index == -1) return append_text(out, "-1");  // a row without a label
  if (!whole || index < 0 || index >= static_cast<int64_t>(names.size()))
    throw Failed(number + " is the number of none of " + std::to_string(names.size()) + " classes");
  append_text(out, names[static_cast<size_t>(index)]);
}

void write_rows(const char* file, CompressParquetWrite write, void* to) {
  std::shared_ptr<arrow::io::RandomAccessFile> input = require(arrow::io::ReadableFile::Open(file));
  std::unique_ptr<parquet::arrow::FileReader> reader =
      require(parquet::arrow::OpenFile(input, arrow::default_memory_pool()));
  reader->set_batch_size(4096);
  reader->set_use_threads(false);
  const auto batches = require(reader->GetRecordBatchReader());
  const Names names = class_names(*batches->schema());
  int64_t row = 0;
  std::string out;
  for (;;) {
    std::shared_ptr<arrow::RecordBatch> batch;
    require(batches->ReadNext(&batch));
    if (batch == nullptr) return;
    std::vector<std::string> keys;
    std::vector<const std::vector<std::string>*> classes;
    for (const auto& field : batch->schema()->fields()) {
      append_text(keys.emplace_back(), field->name());
      const auto known = names.find(field->name());
      classes.push_back(known == names.end() ? nullptr : &known->second);
    }
    out.clear();
    for (int64_t i = 0; i < batch->num_rows(); ++i) {
      ++row;
      try {
        out += '{';
        for (int c = 0; c < batch->num_columns(); ++c) {
          if (c > 0) out += ", ";
          (out += keys[static_cast<size_t>(c)]) += ": ";
          const Array& column = *batch->column(c);
          if (classes[static_cast<size_t>(c)] != nullptr)
            append_class(out, *classes[static_cast<size_t>(c)], column, i);
          else
            append_cell(out, column, i);
        }
      } catch (const Failed& failed) {
        throw Failed("row " + std::to_string(row) + ": " + failed.what());
      }
      out += "}\n";
    }
    if (write(to, out.data(), out.size()) != 0) return;
  }
}

}  // namespace

extern "C" int compress_parquet_rows(const char* file, CompressParquetWrite write, void* to,
                                     char* why, size_t room) {
  std::string told;
  try {
    write_rows(file, write, to);
    return 0;
  } catch (const std::exception& error) {
    told = error.what();
  }
  const size_t count = std::min(told.size(), room - 1);
  std::memcpy(why, told.data(), count);
  why[count] = '\0';
  return 1;
}
